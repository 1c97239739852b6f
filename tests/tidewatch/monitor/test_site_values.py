"""Values by site: exact merging of sketches, complete windows only, within the budget."""

from typing import Any

import numpy as np
import pytest

from schemas.results import WindowSummary
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from tidewatch.monitor.site_values import EDGES, LEVELS, SiteValues, by_quantity, merged


def summary(
    group: str, start: int, values: list[float], site: str = "north", **changes: Any
) -> WindowSummary:
    mapping = LogMapping(0.01)
    codes, counts = np.unique(mapping.index(np.array(values)), return_counts=True)
    (sketch,) = encode_many(mapping, np.array([0, len(codes)]), codes, counts)
    facts: dict[str, Any] = {
        "id": f"p|{group}|{start}", "pipeline": "p", "group": group, "start": start, "end": start + 10,
        "labels": {"site": site, "quantity": "temperature"}, "revision": 0, "count": len(values),
        "sum": sum(values), "mean": float(np.mean(values)), "variance": float(np.var(values)), "min": min(values),
        "max": max(values), "first": values[0], "last": values[-1], "quantiles": {}, "alpha": 0.01,
        "sketch": sketch,
    }  # fmt: skip
    return WindowSummary(**{**facts, **changes})


def test_merged_quantiles_are_those_of_all_values_together() -> None:
    rng = np.random.default_rng(1)
    parts = [rng.normal(20, 5, n).tolist() for n in (50, 200, 1)]
    value = merged([summary(f"s{i}", 0, part) for i, part in enumerate(parts)])
    pooled = np.sort(np.concatenate(parts))
    assert value.count == len(pooled)
    assert value.mean == pytest.approx(pooled.mean(), rel=1e-12)
    exact = np.quantile(pooled, LEVELS, method="inverted_cdf")
    np.testing.assert_allclose(value.quantiles, exact, rtol=2 * 0.01 / 0.99)


def test_buckets_count_the_readings_of_all_sites() -> None:
    values = SiteValues(budget=10)
    readings = {"x": [-30.0, 1.0, 12.0], "y": [12.0, 60.0, 5_000.0]}
    for site, of in readings.items():
        values.add(summary(site, 0, of, site=site), partition=0)
    (counts,) = by_quantity(values.latest()).values()
    pooled = np.array(readings["x"] + readings["y"])
    assert list(counts) == [int((pooled <= edge).sum()) for edge in EDGES]


def test_a_window_counts_when_every_partition_has_passed_it() -> None:
    values = SiteValues(budget=10)
    values.add(summary("a", 0, [1.0]), partition=0)
    values.add(summary("b", 0, [3.0]), partition=1)
    values.add(summary("a", 10, [5.0]), partition=0)
    (found,) = values.latest().values()
    assert (found.end, found.count, found.mean) == (10, 2, 2.0)
    values.add(summary("b", 10, [7.0]), partition=1)
    (found,) = values.latest().values()
    assert (found.end, found.count, found.mean) == (20, 2, 6.0)


def test_a_partition_left_far_behind_holds_up_nobody() -> None:
    values = SiteValues(budget=10)
    values.add(summary("b", 0, [3.0]), partition=1)
    for window in range(40):
        values.add(summary("a", 10 * window, [float(window)]), partition=0)
    (found,) = values.latest().values()
    assert found.end == 400


def test_a_revision_replaces_and_an_older_one_does_not() -> None:
    values = SiteValues(budget=10)
    values.add(summary("a", 0, [1.0, 2.0], revision=1), partition=0)
    values.add(summary("a", 0, [1.0], revision=0), partition=0)
    assert next(iter(values.latest().values())).count == 2


def test_the_budget_bounds_the_series() -> None:
    values = SiteValues(budget=2)
    for site in ("x", "y", "z", "z"):
        values.add(summary("a", 0, [1.0], site=site), partition=0)
    assert {series[1] for series in values.latest()} == {"x", "y"}
    assert values.dropped == 2
