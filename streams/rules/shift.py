"""A distribution that has moved away from its own reference."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.results import Severity
from streams.rules.base import Samples, Source, Transition, signature_of
from streams.rules.book import BOOK_FIELDS, Change, Limits, Marks, severity_of
from streams.rules.grouped import GroupedRule
from streams.rules.segments import Segments
from streams.sketches.mapping import LogMapping
from streams.windows import Closed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class QuantileShift:
    """Alert when a window's distribution is surely further than ``raise_at`` from the group's own reference.

    The reference is the sum of the sketches of the group's first windows: at least ``reference_windows`` of them and
    ``reference_count`` values. The distance is in the value's unit: the Wasserstein-1 distance, or with ``measure="quantile"`` the
    largest difference at ``levels``. What judges is the distance less its bound, so that the sketches' own error never opens an
    alert: alpha (E|X| + E|Y|) for W1, alpha (|Q_X| + |Q_Y|) for a quantile, plus the width of the zero bin.

    Raises ValueError for levels out of order or parameters out of their ranges.
    """

    name: str
    raise_at: float
    clear_at: float | None = None
    critical_at: float | None = None
    measure: Literal["w1", "quantile"] = "w1"
    levels: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    reference_windows: int = 30
    reference_count: int = 100
    for_samples: int = 1
    severity: Severity = "warning"
    source: Source = "sketch"
    kind = "quantile_shift"

    def __post_init__(self) -> None:
        if self.source != "sketch":
            raise ValueError(f"rule {self.name!r}: it can only watch the sketch")
        if self.raise_at < 0 or min(self.reference_windows, self.reference_count, self.for_samples) < 1:
            raise ValueError(
                f"rule {self.name!r}: raise_at must not be negative, reference_windows, reference_count and for_samples at least 1"
            )
        if not self.levels or not all(0 < level < 1 for level in self.levels):
            raise ValueError(f"rule {self.name!r}: levels must be between 0 and 1")
        try:
            self.limits()
        except ValueError as error:
            raise ValueError(f"rule {self.name!r}: {error}") from None

    def limits(self) -> Limits:
        """Return the limits of the distance less its bound."""
        clear = self.raise_at if self.clear_at is None else self.clear_at
        return Limits(self.raise_at, clear, np.inf if self.critical_at is None else self.critical_at)

    def build(self) -> ShiftRule:
        """Return a rule in its empty state."""
        return ShiftRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


class _Reference(msgspec.Struct, array_like=True):
    windows: int
    codes: list[int]
    counts: list[int]


class ShiftRule(GroupedRule[QuantileShift]):
    """A ``QuantileShift`` over all groups of a partition."""

    def __init__(self, declared: QuantileShift) -> None:
        super().__init__(declared, 1, BOOK_FIELDS)
        self._limits = declared.limits()
        self._references: dict[int, _Reference] = {}

    def update(self, samples: Samples) -> list[Transition]:  # noqa: ARG002
        """Return nothing: numbers alone are no distribution."""
        return []

    def update_sketches(self, samples: Samples, closed: Closed, mapping: LogMapping) -> list[Transition]:
        """Take closed windows, one sample each, and return the transitions in order of (cause, group)."""
        distance, bound = np.full(len(samples.group), np.nan), np.zeros(len(samples.group))
        for row, group in enumerate(samples.group.tolist()):
            here = slice(closed.indptr[row], closed.indptr[row + 1])
            codes, counts = closed.codes[here], closed.counts[here]
            if not self._learn(group, codes, counts):
                distance[row], bound[row] = self._distance(self._references[group], codes, counts, mapping)
        segments = Segments.of(samples.group, ~np.isnan(distance))
        if not len(segments):
            return []
        self._state.cover(segments.groups)
        marks = Marks.by_score((distance - bound)[segments.order], self._limits)
        changes = self._book.step(samples, segments, marks, self._declared.for_samples)
        return [self._transition(samples, change, distance, bound) for change in changes]

    def snapshot(self) -> bytes:
        """Return the whole state, the same bytes for the same samples."""
        return msgspec.msgpack.encode([super().snapshot(), sorted(self._references.items())])

    def restore(self, state: bytes) -> None:
        """Take over a snapshot; ``b""`` is the empty state. Raises ValueError for bytes of another layout."""
        self._references = {}
        if state:
            kind = tuple[bytes, list[tuple[int, _Reference]]]
            state, references = msgspec.msgpack.decode(state, type=kind)
            self._references = dict(references)
        super().restore(state)

    def _learn(self, group: int, codes: NDArray[np.int32], counts: Ints) -> bool:
        """Add a window to the group's reference if that is not complete yet, and say so."""
        reference = self._references.setdefault(group, _Reference(0, [], []))
        enough = reference.windows >= self._declared.reference_windows
        if enough and sum(reference.counts) >= self._declared.reference_count:
            return False
        merged = dict(zip(reference.codes, reference.counts, strict=True))
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            merged[code] = merged.get(code, 0) + count
        reference.windows += 1
        reference.codes = sorted(merged)
        reference.counts = [merged[code] for code in reference.codes]
        return True

    def _distance(
        self, reference: _Reference, codes: NDArray[np.int32], counts: Ints, mapping: LogMapping
    ) -> tuple[float, float]:
        known = np.array(reference.codes), np.array(reference.counts)
        if self._declared.measure == "w1":
            return w1(mapping, known, (codes, counts))
        return quantile_distance(mapping, known, (codes, counts), np.array(self._declared.levels))

    def _transition(self, samples: Samples, change: Change, distance: Floats, bound: Floats) -> Transition:
        declared, row = self._declared, change.sample
        limit = declared.raise_at if change.state != "close" else self._limits.clear_at
        verb = "is back near" if change.state == "close" else "has moved from"
        reference = self._references[change.group]
        return Transition(
            cause=int(samples.cause[row]),
            group=change.group,
            state=change.state,
            severity=severity_of(change.level, declared.severity),
            revision=change.revision,
            opened_at=change.opened_at,
            time=int(samples.time[row]),
            value=float(distance[row]),
            threshold=limit,
            message=f"the distribution {verb} its reference: {declared.measure} {distance[row]:g} ± {bound[row]:.2g}",
            evidence={
                "distance": float(distance[row]),
                "bound": float(bound[row]),
                "measure": declared.measure,
                "reference_windows": reference.windows,
                "reference_count": sum(reference.counts),
            },
        )


Sketch = tuple[NDArray[np.integer], NDArray[np.integer]]


@lru_cache(maxsize=16)
def middles(mapping: LogMapping) -> Floats:
    """Return a value for each bin that is within alpha of all values in it; overflow bins have their finite edge."""
    lower, upper = (np.abs(side) for side in mapping.bounds)
    with np.errstate(invalid="ignore"):
        middle = 2 * lower * upper / (lower + upper)
    middle[0], middle[-1] = upper[0], lower[-1]
    n = mapping.n_side
    middle[: n + 1] *= -1
    middle[n + 1] = 0.0
    return np.asarray(middle, np.float64)


def w1(mapping: LogMapping, x: Sketch, y: Sketch) -> tuple[float, float]:
    """Return the Wasserstein-1 distance of two sketches and the bound of its error, in the value's unit.

    W1 is the area between the distribution functions; moving every value to the middle of its bin moves each sketch by at most
    alpha E|X| (and the zero bin's width).
    """
    middle = middles(mapping)
    codes = np.union1d(x[0], y[0])
    shares = []
    for side in (x, y):
        share = np.zeros(len(codes))
        share[np.searchsorted(codes, side[0])] = side[1] / side[1].sum()
        shares.append(share)
    apart = np.abs(np.cumsum(shares[0] - shares[1]))[:-1]
    size = sum(float((share * np.abs(middle[codes])).sum()) for share in shares)
    alpha = mapping.alpha
    # |x| is at most the middle's size / (1 - alpha).
    return float((apart * np.diff(middle[codes])).sum()), alpha / (1 - alpha) * size + 2 * mapping.min_value


def quantile_distance(mapping: LogMapping, x: Sketch, y: Sketch, levels: Floats) -> tuple[float, float]:
    """Return the largest difference of two sketches' quantiles over the levels, and the bound of its error."""
    middle = middles(mapping)
    values = []
    for codes, counts in (x, y):
        total = np.cumsum(counts)
        at = np.searchsorted(total, np.ceil(levels * total[-1]), side="left")
        values.append(middle[codes[at]])
    gap = np.abs(values[0] - values[1])
    bound = (
        mapping.alpha / (1 - mapping.alpha) * (np.abs(values[0]) + np.abs(values[1])) + 2 * mapping.min_value
    )
    worst = int(np.argmax(gap - bound))
    return float(gap[worst]), float(bound[worst])
