"""The declared metrics: named after Prometheus' conventions, documented, and each one really exposed by some part."""

import re
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from schemas.metrics import BREAKER_OPEN, LATENCY_BUCKETS, all_metrics, counter, to_markdown

REPOSITORY = Path(__file__).parents[2]


def test_names_are_unique_prefixed_and_in_base_units() -> None:
    names = [metric.name for metric in all_metrics()]
    assert len(names) == len(set(names))
    for metric in all_metrics():
        # kafka_ names are those of kafka_exporter, so that its dashboards and rules fit.
        assert metric.name.startswith(("tidewatch_", "kafka_"))
        assert not metric.name.endswith(("_ms", "_kb", "_minutes", "_total"))
        assert not metric.unit or metric.name.endswith(metric.unit)
        assert metric.help.endswith(".")


def test_buckets_span_a_millisecond_to_five_minutes() -> None:
    assert (LATENCY_BUCKETS[0], LATENCY_BUCKETS[-1]) == (0.001, 300.0)
    assert list(LATENCY_BUCKETS) == sorted(LATENCY_BUCKETS)


def test_a_declaration_is_not_made_as_another_kind() -> None:
    with pytest.raises(ValueError, match="declared as a gauge"):
        counter(BREAKER_OPEN, CollectorRegistry())


def test_every_declared_metric_is_used_by_some_part() -> None:
    code = "".join(
        path.read_text()
        for package in ("producers", "streams", "sinks", "tidewatch")
        for path in (REPOSITORY / package).rglob("*.py")
    )
    constants = re.findall(
        r"^([A-Z_]+): Final = Metric", (REPOSITORY / "schemas/metrics.py").read_text(), re.M
    )
    assert len(constants) == len(all_metrics())
    assert [name for name in constants if name not in code] == []


def test_the_documentation_is_current() -> None:
    page = (REPOSITORY / "docs" / "metrics.md").read_text()
    assert page == to_markdown(), "run: python -m schemas.metrics > docs/metrics.md"
