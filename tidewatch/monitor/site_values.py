"""Window results by site: the sketches of a site's sensors merged, for the newest window that all partitions have passed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import add

import numpy as np

from schemas.results import WindowSummary
from streams.sketches.codes import decode_many, quantiles_many
from streams.sketches.mapping import LogMapping

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
# Upper edges of the buckets that a heatmap shows, in any quantity's canonical unit.
EDGES = (
    *(-50.0, -20.0, -10.0, -5.0, 0.0, 2.0, 5.0, 10.0, 15.0, 20.0, 25.0),
    *(30.0, 40.0, 50.0, 75.0, 100.0, 150.0, 200.0, 300.0, 500.0, 1_000.0, float("inf")),
)
WINDOWS_KEPT = 4
FORGOTTEN_AFTER = 30  # windows by which a partition may trail before it no longer holds up the others

Series = tuple[str, str, str]
Start = int


@dataclass(frozen=True, slots=True)
class SiteValue:
    """A site's quantity over one window.

    ``quantiles`` are at ``LEVELS``, ``cumulative`` counts the readings up to each of ``EDGES``; both within the sketch's relative
    accuracy.
    """

    end: int
    count: int
    mean: float
    quantiles: tuple[float, ...]
    cumulative: tuple[int, ...]


@dataclass(slots=True)
class _Pipeline:
    """The newest window end that each partition of a pipeline has published, and the windows' length."""

    newest: dict[int, int] = field(default_factory=dict)
    size: int = 0

    def complete_until(self) -> int:
        """The end of the newest window that every partition has passed, those left far behind excepted."""
        latest = max(self.newest.values())
        return min(end for end in self.newest.values() if end > latest - FORGOTTEN_AFTER * self.size)


class SiteValues:
    """Take window results in any order and say the latest complete values of each (pipeline, site, quantity).

    A result replaces one with the same window and group whose revision is not higher. At most ``budget`` series are held;
    ``dropped`` counts the results of others. Groups that carry no ``site`` or ``quantity`` label belong to no series.
    """

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._windows: dict[Series, dict[Start, dict[str, WindowSummary]]] = {}
        self._pipelines: dict[str, _Pipeline] = defaultdict(_Pipeline)
        self._merged: dict[Series, SiteValue] = {}
        self._changed: set[tuple[Series, Start]] = set()
        self.dropped = 0

    def add(self, summary: WindowSummary, partition: int) -> None:
        """Take a result that was read from ``partition``."""
        progress = self._pipelines[summary.pipeline]
        progress.size = summary.end - summary.start
        progress.newest[partition] = max(progress.newest.get(partition, summary.end), summary.end)
        site, quantity = summary.labels.get("site"), summary.labels.get("quantity")
        if not site or not quantity:
            return
        series = (summary.pipeline, site, quantity)
        if series not in self._windows and len(self._windows) >= self._budget:
            self.dropped += 1
            return
        windows = self._windows.setdefault(series, {})
        held = windows.setdefault(summary.start, {})
        before = held.get(summary.group)
        if before is None or before.revision <= summary.revision:
            held[summary.group] = summary
            self._changed.add((series, summary.start))
        while len(windows) > WINDOWS_KEPT:
            oldest = min(windows)
            del windows[oldest]
            self._changed.discard((series, oldest))

    def latest(self) -> dict[Series, SiteValue]:
        """Return the values of each series over its newest complete window."""
        for series, windows in self._windows.items():
            until = self._pipelines[series[0]].complete_until()
            ends = {next(iter(held.values())).end: start for start, held in windows.items()}
            newest = max((end for end in ends if end <= until), default=None)
            if newest is None:
                continue
            start, known = ends[newest], self._merged.get(series)
            if known is None or known.end != newest or (series, start) in self._changed:
                self._merged[series] = merged(windows[start].values())
                self._changed.discard((series, start))
        return dict(self._merged)


def merged(summaries: Iterable[WindowSummary]) -> SiteValue:
    """Return the value of one window over several groups: counts add, sketches add bin by bin.

    Raises ValueError where sketches have different accuracies.
    """
    held = list(summaries)
    mapping = _mapping(held[0].alpha)
    _, codes, counts = decode_many(mapping, [summary.sketch for summary in held])
    bins, inverse = np.unique(codes, return_inverse=True)
    totals = np.zeros(len(bins), np.int64)
    np.add.at(totals, inverse, counts)
    low = np.array([min(summary.min for summary in held)])
    high = np.array([max(summary.max for summary in held)])
    count = sum(summary.count for summary in held)
    quantiles = quantiles_many(
        mapping, np.array([0, len(bins)]), bins, totals, low, high, np.array(LEVELS)
    )[0]  # fmt: skip
    mean = sum(summary.sum for summary in held) / count
    lower, upper = mapping.bounds
    middle = (np.maximum(lower[bins], low) + np.minimum(upper[bins], high)) / 2
    below = [int(totals[middle <= edge].sum()) for edge in EDGES]
    return SiteValue(held[0].end, count, mean, tuple(quantiles.tolist()), tuple(below))


def by_quantity(latest: Mapping[Series, SiteValue]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return the cumulative counts of each (pipeline, quantity) over all sites that have its newest window."""
    newest: dict[tuple[str, str], int] = {}
    for (pipeline, _, quantity), value in latest.items():
        newest[pipeline, quantity] = max(newest.get((pipeline, quantity), value.end), value.end)
    together = dict.fromkeys(newest, (0,) * len(EDGES))
    for (pipeline, _, quantity), value in latest.items():
        if value.end == newest[pipeline, quantity]:
            before = together[pipeline, quantity]
            together[pipeline, quantity] = tuple(map(add, before, value.cumulative))
    return together


@lru_cache(maxsize=16)
def _mapping(alpha: float) -> LogMapping:
    return LogMapping(alpha)  # its table of edges is costly to make
