"""Worker metrics: declared once, starting at zero, bounded labels, documented."""

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from schemas.columns import RawBatch, Rejected
from schemas.deadletters import headers_for
from schemas.errors import ErrorCode
from streams.metrics import Metrics
from streams.task import Output


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def batch(records: int, partition: int = 3) -> RawBatch:
    zeros = np.zeros(records, np.int64)
    return RawBatch("t", partition, 0, records, zeros, zeros, [None] * records, [b""] * records)


def dead(code: ErrorCode, stage: str = "decode") -> Output:
    rejected = Rejected(0, 0, code, "why", None, b"x")
    return Output("dead", None, b"x", headers_for(rejected, "t", 3, stage))


def test_the_first_error_of_each_code_is_a_rise_from_zero(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    del metrics
    for code in ErrorCode:
        assert registry.get_sample_value("tidewatch_dead_total", {"code": code}) == 0
        assert registry.get_sample_value("tidewatch_errors_total", {"stage": "decode", "code": code}) == 0


def test_a_batch_counts_events_and_what_they_caused(registry: CollectorRegistry, metrics: Metrics) -> None:
    outputs = [Output("result", b"k", b"v"), Output("late", b"k", b"v"), dead(ErrorCode.MALFORMED)]
    metrics.processed(batch(5), outputs, 1_700_000_000_500)
    value = registry.get_sample_value
    assert value("tidewatch_events_processed_total") == 5
    assert value("tidewatch_late_total") == 1
    assert value("tidewatch_dead_total", {"code": "malformed"}) == 1
    assert value("tidewatch_errors_total", {"stage": "decode", "code": "malformed"}) == 1
    assert [value("tidewatch_results_total", {"kind": k}) for k in ("result", "alert", "late", "dead")] == [
        1,
        0,
        1,
        1,
    ]
    labels = {"topic": "t", "partition": "3"}
    assert value("tidewatch_watermark_timestamp_seconds", labels) == 1_700_000_000.5


def test_a_record_that_holds_many_events_counts_as_many(
    registry: CollectorRegistry, metrics: Metrics
) -> None:
    metrics.processed(batch(1), [], 0, events=1000)
    assert registry.get_sample_value("tidewatch_events_processed_total") == 1000


def test_a_watermark_that_has_not_begun_is_not_shown(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.processed(batch(1), [], -(1 << 62))
    assert b"watermark_timestamp_seconds{" not in generate_latest(registry)


def test_foreign_codes_do_not_make_new_series(registry: CollectorRegistry, metrics: Metrics) -> None:
    before = len(generate_latest(registry).splitlines())
    metrics.error("surprise", "no such code")
    assert len(generate_latest(registry).splitlines()) == before
    labels = {"stage": "process", "code": "processing"}
    assert registry.get_sample_value("tidewatch_errors_total", labels) == 1


def test_a_commit_records_time_and_positions(registry: CollectorRegistry, metrics: Metrics) -> None:
    metrics.committed("state", 0.02, 0.005, 1, {"t": 77})
    assert registry.get_sample_value("tidewatch_position", {"topic": "t", "partition": "1"}) == 77
    assert registry.get_sample_value("tidewatch_checkpoint_seconds_count", {"kind": "state"}) == 1
    assert registry.get_sample_value("tidewatch_checkpoint_seconds_count", {"kind": "emission"}) == 0
    assert registry.get_sample_value("tidewatch_checkpoint_cpu_seconds_total", {"kind": "state"}) == 0.005
    assert registry.get_sample_value("tidewatch_checkpoint_cpu_seconds_total", {"kind": "emission"}) == 0


def test_series_of_a_partition_go_with_it(registry: CollectorRegistry, metrics: Metrics) -> None:
    for partition in (0, 1):
        metrics.committed("emission", 0.01, 0.002, partition, {"t": 5})
    metrics.stopped(1)
    metrics.owned([0])
    assert registry.get_sample_value("tidewatch_position", {"topic": "t", "partition": "1"}) is None
    assert registry.get_sample_value("tidewatch_position", {"topic": "t", "partition": "0"}) == 5
    assert registry.get_sample_value("tidewatch_partition_stopped", {"partition": "1"}) is None
    assert registry.get_sample_value("tidewatch_partition_stopped", {"partition": "0"}) == 0


def test_names_carry_prefix_and_base_units(registry: CollectorRegistry, metrics: Metrics) -> None:
    del metrics
    for family in registry.collect():
        assert family.name.startswith("tidewatch_")
        assert not family.name.endswith(("_ms", "_kb", "_minutes", "_total"))
        assert not family.unit or family.name.endswith(family.unit)
