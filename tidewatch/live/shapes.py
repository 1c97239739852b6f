"""Distributions by site, merged from the sketches of windows: what the value looks like now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from schemas.results import WindowSummary
from schemas.units import UNITS
from streams.sketches.codes import decode_many, quantiles_many
from streams.sketches.mapping import LogMapping

LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


class Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The distribution of one quantity at one site over some windows.

    ``quantiles`` belong to ``LEVELS`` and carry the relative accuracy ``alpha``. ``edges`` and ``counts`` are its histogram: the
    bins of the sketch that hold something, ascending, as (lower, upper) and the number of readings.
    """

    pipeline: str
    site: str
    quantity: str
    unit: str
    start: int
    end: int
    count: int
    alpha: float
    quantiles: tuple[float, ...]
    edges: tuple[tuple[float, float], ...]
    counts: tuple[int, ...]


@dataclass(slots=True)
class _Bins:
    """Merged content of the windows of one site that end at the same time; counts add, so the order is of no matter."""

    start: int
    alpha: float
    counts: Counter[int] = field(default_factory=Counter)
    low: float = np.inf
    high: float = -np.inf


class Shapes:
    """Windows by (pipeline, site, quantity), the newest ``keep`` ends of each, merged over all sensors.

    ``keep`` bounds the memory. A window that was published again replaces nothing here: pass only first revisions.
    """

    def __init__(self, keep: int = 60) -> None:
        self._keep = keep
        self._held: dict[tuple[str, str, str], dict[int, _Bins]] = {}
        self._made: dict[tuple[str, str, str], dict[tuple[int, int], Shape | None]] = {}
        self._mappings: dict[float, LogMapping] = {}

    def take(self, summaries: Iterable[WindowSummary]) -> None:
        """Merge windows into those of their sites.

        Raises:
            ValueError: a sketch is of another version.
        """
        by_alpha: dict[float, list[WindowSummary]] = {}
        for summary in summaries:
            by_alpha.setdefault(summary.alpha, []).append(summary)
        for alpha, some in by_alpha.items():
            self._take(self._mapping(alpha), some)

    @property
    def keys(self) -> list[tuple[str, str, str]]:
        """What is held: (pipeline, site, quantity), sorted."""
        return sorted(self._held)

    def shape(self, key: tuple[str, str, str], newest: int, skip: int = 0) -> Shape | None:
        """Merge the ``newest`` windows of a key, leaving out the ``skip`` last ones; ``None`` where there is none.

        The very same shape is given until a window changes it, so views can tell by identity what to draw anew.
        """
        made = self._made.setdefault(key, {})
        if (newest, skip) not in made:
            made[newest, skip] = self._merged(key, newest, skip)
        return made[newest, skip]

    def _merged(self, key: tuple[str, str, str], newest: int, skip: int) -> Shape | None:
        held = self._held.get(key, {})
        ends = sorted(held)[: len(held) - skip][-newest:]
        if not ends:
            return None
        merged = _Bins(held[ends[0]].start, held[ends[0]].alpha)
        for end in ends:
            merged.counts.update(held[end].counts)
            merged.low, merged.high = min(merged.low, held[end].low), max(merged.high, held[end].high)
        return self._shape(key, merged, ends[-1])

    def _take(self, mapping: LogMapping, summaries: Sequence[WindowSummary]) -> None:
        indptr, codes, counts = decode_many(mapping, [summary.sketch for summary in summaries])
        cuts, codes_, counts_ = indptr.tolist(), codes.tolist(), counts.tolist()
        for row, summary in enumerate(summaries):
            labels = summary.labels
            key = summary.pipeline, labels.get("site", ""), labels.get("quantity", "")
            windows = self._held.setdefault(key, {})
            self._made.pop(key, None)
            bins = windows.get(summary.end)
            if bins is None:
                bins = windows[summary.end] = _Bins(summary.start, summary.alpha)
                if len(windows) > self._keep:
                    del windows[min(windows)]
            here = slice(cuts[row], cuts[row + 1])
            for code, count in zip(codes_[here], counts_[here], strict=True):
                bins.counts[code] += count
            bins.low, bins.high = min(bins.low, summary.min), max(bins.high, summary.max)

    def _shape(self, key: tuple[str, str, str], bins: _Bins, end: int) -> Shape:
        mapping = self._mapping(bins.alpha)
        codes = np.array(sorted(bins.counts), np.int32)
        counts = np.array([bins.counts[code] for code in codes.tolist()], np.int64)
        low, high = np.array([bins.low]), np.array([bins.high])
        rows = np.array([0, len(codes)])
        quantiles = quantiles_many(mapping, rows, codes, counts, low, high, np.array(LEVELS))
        lower, upper = mapping.bounds
        # Outermost bins reach no further than the values themselves.
        edges = zip(
            np.maximum(lower[codes], bins.low).tolist(),
            np.minimum(upper[codes], bins.high).tolist(),
            strict=True,
        )
        pipeline, site, quantity = key
        return Shape(
            pipeline=pipeline,
            site=site,
            quantity=quantity,
            unit=UNITS[quantity].unit if quantity in UNITS else "",
            start=bins.start,
            end=end,
            count=int(counts.sum()),
            alpha=bins.alpha,
            quantiles=tuple(quantiles[0].tolist()),
            edges=tuple(edges),
            counts=tuple(counts.tolist()),
        )

    def _mapping(self, alpha: float) -> LogMapping:
        return self._mappings.setdefault(alpha, LogMapping(alpha))
