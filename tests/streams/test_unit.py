"""What a unit leaves behind, without Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from schemas.columns import RawBatch
from streams.checkpoint import Restored
from streams.config import EngineConfig
from streams.errors import PositionLostError, UnreadableError
from streams.fetcher import Delivery, Fetcher
from streams.intake import Failure
from streams.metrics import Metrics
from streams.runner import StageRunner
from streams.unit import Unit
from tests.streams.counting import stage
from tests.streams.test_runner import restored


def unit(clock: Callable[[], float] = time.monotonic) -> Unit:
    config = EngineConfig("app", {"bootstrap.servers": "127.0.0.1:1", "log_level": 0}, monotonic=clock)
    nothing = Fetcher(config, lambda _: None, lambda _: None, lambda _: None)
    metrics = Metrics(CollectorRegistry())
    return Unit(0, 1, [stage("t"), stage("u")], config, nothing, metrics, lambda *_: None)


def test_a_unit_that_is_still_replaying_leaves_no_state_behind() -> None:
    """Topic u is past its replay and has outputs that are not committed; t is not, so nothing can be committed."""
    revoked = unit()
    revoked._runners = {
        "t": StageRunner.restored(stage("t"), 0, restored(b"2 3", at=2, committed=4), 0),
        "u": StageRunner.restored(stage("u"), 0, Restored(), 7),
    }
    revoked.ready.set()
    revoked._finish()
    assert revoked.parked is None


def test_a_partition_read_as_fast_as_it_is_written_is_not_idle() -> None:
    """Every delivery reaches the end of the log; only where none has brought a record for the timeout does event time go on."""
    now = 100.0
    reading = unit(lambda: now)
    quiet = replace(stage("t"), idle_timeout_ms=1_000)
    runner = StageRunner.restored(quiet, 0, Restored(), 0)
    runner.task.max_event_time = 5_000  # type: ignore[misc]
    reading._runners, reading._tickets = {"t": runner}, {"t": 1}

    def deliver(records: int) -> list[bytes | None]:
        offsets = np.arange(records) + runner.position
        batch = RawBatch(
            "t", 0, runner.position, runner.position + records, offsets, offsets, [None] * records, [b"1"] * records
        )  # fmt: skip
        reading._take(Delivery(1, batch, 1, at_end=True))
        reading._wait_idly()
        return [placed.output.value for placed in reading._pending if placed.output.kind == "alert"]

    for _ in range(5):
        now += 0.625
        assert deliver(1) == []
    now += 0.625
    assert deliver(0) == []
    now += 0.625
    assert deliver(0) == [b"idle 5 6250"]


CUT = Failure(("t", 0), "its log was cut back to offset 10", cut_at=10)


def _told(failure: Failure, *, accept_loss: bool) -> tuple[Unit, StageRunner]:
    reading = unit()
    reading._config = replace(reading._config, accept_loss=accept_loss)
    runner = StageRunner.restored(stage("t"), 0, Restored(), 15)
    reading._runners, reading._tickets = {"t": runner}, {"t": 1}
    reading._commit = lambda **_: None  # type: ignore[method-assign]
    nothing = np.empty(0, np.int64)
    reading._take(Delivery(1, RawBatch("t", 0, 15, 15, nothing, nothing, [], []), 0, error=failure))
    return reading, runner


def test_where_loss_is_accepted_reading_goes_on_where_the_log_was_cut() -> None:
    reading, runner = _told(CUT, accept_loss=True)
    assert (runner.position, runner.committed) == (10, 10)
    assert reading._metrics.lost_records._value.get() == 5
    assert reading._dirty


def test_a_cut_log_stops_the_partition_where_loss_is_not_accepted() -> None:
    with pytest.raises(PositionLostError, match=r"5 records that were processed are gone.*tidewatch reset"):
        _told(CUT, accept_loss=False)


def test_what_is_met_again_whenever_it_is_read_stops_the_partition() -> None:
    with pytest.raises(UnreadableError, match=r"t\[0\] cannot be read at 15: broken\. Repair the topic"):
        _told(Failure(("t", 0), "broken", final=True), accept_loss=True)
