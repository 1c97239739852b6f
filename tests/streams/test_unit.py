"""What a unit leaves behind, without Kafka."""

from __future__ import annotations

from prometheus_client import CollectorRegistry

from streams.checkpoint import Restored
from streams.config import EngineConfig
from streams.fetcher import Fetcher
from streams.metrics import Metrics
from streams.runner import StageRunner
from streams.unit import Unit
from tests.streams.counting import stage
from tests.streams.test_runner import restored


def unit() -> Unit:
    config = EngineConfig("app", {"bootstrap.servers": "127.0.0.1:1", "log_level": 0})
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
