"""The arithmetic of the latency run: intended times, warm-up, missing alerts, windows by when they were due."""

from __future__ import annotations

import pytest

from benchmarks.latency import HOT, Pace, Seen, percentiles, report
from benchmarks.peers.latency_worker import OUT_OF_ORDERNESS

pytestmark = pytest.mark.slow

PACE = Pace(rate=100, seconds=10, warm_up=5)


def test_percentiles_are_order_statistics() -> None:
    assert percentiles(range(1, 101)) == {"count": 100, "p50": 50.0, "p99": 99.0, "max": 100.0}
    assert percentiles([]) == {"count": 0}


def test_latency_counts_from_the_intended_time_and_after_the_warm_up() -> None:
    probes = {"early": (HOT, 4_999), "hot": (HOT, 5_000), "quiet": (1, 6_000), "lost": (2, 7_000)}
    seen = Seen(
        {"early": 9_999.0, "hot": 5_080.0, "quiet": 6_010.0}, {(1, 7_000): 7_000.0 + OUT_OF_ORDERNESS + 30}
    )
    found = report(PACE, 0.0, probes, seen)
    assert found["alerts_ms"] == {"count": 2, "p50": 10.0, "p99": 80.0, "max": 80.0}
    assert found["alerts_hot_ms"]["max"] == 80.0
    assert found["alerts_quiet_ms"]["max"] == 10.0
    assert found["alerts_missing"] == 1
    assert found["windows_ms"]["max"] == 30.0


@pytest.mark.kafka
def test_a_short_run_sees_every_alert_and_windows() -> None:
    from benchmarks.latency import measure

    found = measure(Pace(rate=500, seconds=6, warm_up=10, probes=10), lambda _: None)
    assert found["alerts_missing"] == 0
    assert found["alerts_ms"]["count"] >= 50
    assert found["windows_ms"]["count"] > 0
    assert found["windows_ms"]["p50"] > 0  # earlier than due would mean that event time ran ahead
    assert 0 < found["commits_share_of_worker_cpu"] < 1
