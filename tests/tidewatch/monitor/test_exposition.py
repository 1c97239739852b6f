"""Families write the same as the client library would, whatever the labels hold, and only what was shown last."""

from __future__ import annotations

import urllib.request

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from schemas.metrics import MONITOR_LAG, MONITOR_LOOKS, counter
from tidewatch.monitor.exposition import Exposition, Family, serve

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
numbers = st.floats(allow_nan=False) | st.integers(-(10**9), 10**9)


def samples(text: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels[name] for name in MONITOR_LAG.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@settings(deadline=None)
@given(st.dictionaries(st.tuples(texts, texts, texts), numbers, max_size=6))
def test_it_writes_what_the_client_library_writes(values: dict[tuple[str, str, str], float]) -> None:
    registry = CollectorRegistry()
    family = Family(MONITOR_LAG, registry)
    family.show({("gone", "t", "0"): 1.0}.items())
    family.show(values.items())
    library = generate_latest(registry).decode()
    assert (
        samples(family.text())
        == samples(library)
        == {labels: float(value) for labels, value in values.items()}
    )
    assert family.text().startswith(library[: library.index(" gauge")])


def test_what_has_no_value_and_what_is_gone_is_not_shown() -> None:
    family = Family(MONITOR_LAG, CollectorRegistry())
    family.show([(("g", "t", "0"), 1), (("g", "t", "1"), None)])
    family.show([(("g", "t", "2"), float("nan")), (("g", "t", "3"), float("inf"))])
    assert samples(family.text())[("g", "t", "3")] == float("inf")
    assert len(samples(family.text())) == 2


def test_the_server_shows_families_and_all_else() -> None:
    registry = Exposition()
    family, looks = Family(MONITOR_LAG, registry), counter(MONITOR_LOOKS, registry)
    family.show([(("g", "t", "0"), 5)])
    looks.labels("failed").inc()
    server, thread = serve(registry, "127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    server.shutdown()
    server.server_close()
    thread.join(10)
    assert 'kafka_consumergroup_lag{consumergroup="g",partition="0",topic="t"} 5.0' in text
    assert 'tidewatch_monitor_looks_total{outcome="failed"} 1.0' in text
    assert (
        registry.get_sample_value(
            "kafka_consumergroup_lag", {"consumergroup": "g", "topic": "t", "partition": "0"}
        )
        == 5
    )


def test_only_gauges_are_families() -> None:
    with pytest.raises(ValueError, match="declared as a counter"):
        Family(MONITOR_LOOKS, CollectorRegistry())
