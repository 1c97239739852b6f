"""What becomes of a partition whose unit has failed: let go, try again ever later, stay stopped, or end the app."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from prometheus_client import CollectorRegistry

from streams.config import EngineConfig
from streams.engine import Engine
from streams.errors import (
    BreakerOpenError,
    EngineError,
    FencedError,
    HandlerError,
    IncompatibleCheckpointError,
    OutputRefusedError,
    PartitionCountError,
    PositionLostError,
    UnreadableError,
)
from streams.fetcher import Fetcher
from streams.metrics import Metrics
from streams.unit import Unit
from tests.streams.counting import stage


class Clockwork:
    """Stands in for the event loop's clock: notes what is to be called when."""

    def __init__(self) -> None:
        self.waits: list[float] = []

    def call_later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        assert call
        assert arguments == (0,)
        self.waits.append(seconds)


class Bench:
    """An engine that owns partition 0, without Kafka."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.config = EngineConfig("app", {"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
        self.fatal: list[BaseException] = []
        self.engine = Engine(self.config, [stage("t")], 1, self.metrics, self.fatal.append)
        self.rejoined = 0
        self.engine.rejoin = self.rejoin
        self.clock = Clockwork()
        self.engine._loop = self.clock  # type: ignore[assignment]
        self.engine._owned = {0}

    def rejoin(self) -> None:
        self.rejoined += 1

    def fail(self, error: BaseException, *, ready: bool = False, current: bool = True) -> None:
        fetcher = Fetcher(self.config, lambda _: None, lambda _: None, lambda _: None)
        unit = Unit(0, 1, [stage("t")], self.config, fetcher, self.metrics, lambda *_: None)
        if ready:
            unit.ready.set()
        if current:
            self.engine._units[0] = unit
        self.engine._failed(unit, error)

    def metric(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_fenced_let_go_and_ask_the_group(bench: Bench) -> None:
    bench.fail(FencedError("another owner"))
    assert bench.rejoined == 1
    assert bench.engine._owned == set()
    assert bench.clock.waits == []
    assert bench.metric("tidewatch_fenced_total") == 1
    assert bench.metric("tidewatch_partition_stopped", partition="0") == 1


@pytest.mark.parametrize(
    "error", [KafkaException(KafkaError(KafkaError._TRANSPORT)), OutputRefusedError("no topic")]
)
def test_what_may_pass_is_tried_again_ever_later(bench: Bench, error: Exception) -> None:
    for _ in range(7):
        bench.fail(error)
        assert bench.metric("tidewatch_partition_stopped", partition="0") == 1
    assert bench.clock.waits == [1, 2, 4, 8, 16, 30, 30]
    bench.fail(error, ready=True)
    assert bench.clock.waits[-1] == 1
    assert bench.fatal == []


@pytest.mark.parametrize("kind", [BreakerOpenError, HandlerError, PositionLostError, UnreadableError])
def test_what_would_only_come_again_stays_stopped(
    bench: Bench, kind: type[EngineError], caplog: pytest.LogCaptureFixture
) -> None:
    bench.fail(kind("do this"))
    assert bench.clock.waits == []
    assert bench.fatal == []
    assert bench.metric("tidewatch_partition_stopped", partition="0") == 1
    assert "partition 0 is stopped: do this" in caplog.text


def test_an_error_of_the_program_stops_its_partition_alone(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fail(ZeroDivisionError("oops"))
    assert (bench.clock.waits, bench.fatal, bench.rejoined) == ([], [], 0)
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("kind", [IncompatibleCheckpointError, PartitionCountError])
def test_state_that_does_not_fit_ends_the_app(bench: Bench, kind: type[EngineError]) -> None:
    error = kind("remedy")
    bench.fail(error)
    assert bench.fatal == [error]


def test_the_end_of_an_abandoned_unit_means_nothing_any_more(bench: Bench) -> None:
    bench.fail(FencedError("taken over"), current=False)
    assert bench.rejoined == 0
    assert bench.engine._owned == {0}
    assert bench.metric("tidewatch_partition_stopped", partition="0") is None
