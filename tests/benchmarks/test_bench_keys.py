"""What a worker says of itself, and a tiny run of the benchmark of many keys on a real broker."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.asked import asked, read
from benchmarks.keys import Plan, measure
from streams.metrics import Metrics


def test_a_workers_metrics_are_read() -> None:
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    metrics.events_processed.inc(30)
    metrics.checkpoint_bytes.inc(600)
    metrics.restored(2, {"source": 17})
    for seconds in (0.0002, 0.03, 0.004):
        metrics.loop_lag.observe(seconds)
    metrics.restore_seconds.observe(0.5)
    said = read(text_string_to_metric_families(generate_latest(registry).decode()))
    assert (said.processed, said.checkpoint_bytes, said.positions) == (30, 600, {2: 17})
    assert (said.restored, said.restore_seconds) == (1, 0.5)
    assert said.longest_block == 0.05


def test_a_worker_that_is_not_there_says_nothing(tmp_path: Path) -> None:
    assert asked(tmp_path / "log") is None
    (tmp_path / "log").write_text("metrics on http://127.0.0.1:1/metrics\n")
    assert asked(tmp_path / "log") is None


@pytest.mark.kafka
@pytest.mark.slow
def test_a_tiny_run_is_right_also_after_a_kill() -> None:
    report = measure(Plan(keys=2_000, few=100, events=8_000, start_up=1_000), lambda _: None)
    assert report["cost"]["many"]["faults"] == []
    assert report["cost"]["few"]["faults"] == []
    assert (
        report["cost"]["many"]["checkpoint_bytes_an_event"] > 0
    )  # how often state is written, the clock decides
    assert report["restore"]["faults"] == []
    assert 0 < report["restore"]["answered"] <= report["restore"]["restored"] <= report["restore"]["went_on"]
