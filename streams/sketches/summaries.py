"""Summaries of Apache DataSketches behind one protocol: distinct counts, quantiles by rank, frequent items.

They merge but do not subtract. Their bytes are those of the DataSketches libraries in C++, Java and others, so that either
side reads the other's.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, Self

import datasketches as ds
import numpy as np
from numpy.typing import ArrayLike

from streams.sketches.errors import CorruptSketchError, EmptySketchError, SketchError
from streams.sketches.mapping import Floats


class Summary(Protocol):
    """What every summary can do; ``query`` answers the one question that it is kept for."""

    def update(self, values: Any) -> None:
        """Add values."""

    def merge(self, other: Self) -> None:
        """Add all that another summary of the same kind has seen."""

    def to_bytes(self) -> bytes:
        """Return the DataSketches image."""

    def query(self, *question: Any) -> Any:
        """Answer, with bounds."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with bounds at two standard errors, about 95%."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class RankQuantiles:
    """Quantiles and by how much their ranks may be off: with 99% confidence (KLL), or by three standard errors (REQ)."""

    values: Floats
    rank_error: float


@dataclass(frozen=True, slots=True)
class Frequent:
    """An item with its estimated count and bounds that certainly hold."""

    item: str
    estimate: int
    lower: int
    upper: int


class _Distinct:
    """What HLL and Theta share: items are strings, whole numbers or floats, hashed as DataSketches does for each type."""

    _sketch: Any

    def update(self, values: Iterable[str | int | float]) -> None:
        """Add items; equal ones count once."""
        for value in np.asarray(values).tolist() if isinstance(values, np.ndarray) else values:
            self._sketch.update(value)

    def query(self) -> Estimate:
        """Return how many different items there were."""
        s = self._sketch
        return Estimate(s.get_estimate(), s.get_lower_bound(2), s.get_upper_bound(2))


class DistinctHLL(_Distinct):
    """HyperLogLog of 2^lg_k registers: relative standard error about 1.04 / 2^(lg_k / 2)."""

    def __init__(self, lg_k: int = 12) -> None:
        if not 4 <= lg_k <= 21:
            raise SketchError("lg_k of HyperLogLog must be from 4 to 21")
        self._sketch = ds.hll_sketch(lg_k, ds.tgt_hll_type.HLL_8)

    def merge(self, other: DistinctHLL) -> None:
        """Add the other's items; the coarser of both decides the accuracy."""
        union = ds.hll_union(self._sketch.lg_config_k)
        union.update(self._sketch)
        union.update(other._sketch)
        self._sketch = union.get_result(ds.tgt_hll_type.HLL_8)

    def to_bytes(self) -> bytes:
        """Return the compact image, HLL_8."""
        return bytes(self._sketch.serialize_compact())

    @classmethod
    def from_bytes(cls, data: bytes) -> DistinctHLL:
        """Read an image of any HLL type."""
        read = cls()
        read._sketch = _read(ds.hll_sketch, data)
        return read


class DistinctTheta(_Distinct):
    """Theta sketch of 2^lg_k hashes, which also tells the size of intersections and differences."""

    def __init__(self, lg_k: int = 12) -> None:
        if not 5 <= lg_k <= 26:
            raise SketchError("lg_k of Theta must be from 5 to 26")
        self._lg_k = lg_k
        self._sketch = ds.update_theta_sketch(lg_k)

    def update(self, values: Iterable[str | int | float]) -> None:
        """Add items; equal ones count once."""
        if not isinstance(self._sketch, ds.update_theta_sketch):
            more = DistinctTheta(self._lg_k)
            more.update(values)
            self.merge(more)
            return
        super().update(values)

    def merge(self, other: DistinctTheta) -> None:
        """Add the other's items."""
        union = ds.theta_union(self._lg_k)
        union.update(self._sketch)
        union.update(other._sketch)
        self._sketch = union.get_result()

    def shared(self, other: DistinctTheta) -> Estimate:
        """Return how many different items both have seen."""
        both = ds.theta_intersection()
        both.update(self._sketch)
        both.update(other._sketch)
        return _estimate(both.get_result())

    def only_here(self, other: DistinctTheta) -> Estimate:
        """Return how many different items the other has not seen."""
        return _estimate(ds.theta_a_not_b().compute(self._sketch, other._sketch))

    def to_bytes(self) -> bytes:
        """Return the compact image."""
        s = self._sketch
        return bytes((s.compact() if isinstance(s, ds.update_theta_sketch) else s).serialize())

    @classmethod
    def from_bytes(cls, data: bytes, lg_k: int = 12) -> DistinctTheta:
        """Read a compact image; ``lg_k`` is for what will be added."""
        read = cls(lg_k)
        read._sketch = _read(ds.compact_theta_sketch, data)
        return read


class _Ranks(ABC):
    """What KLL and REQ share: quantiles of float64 or float32 values by rank."""

    _sketch: Any
    k: int

    def update(self, values: ArrayLike) -> None:
        """Add finite or infinite values; NaN is left out."""
        x = np.asarray(values, np.float64).ravel()
        self._sketch.update(x[~np.isnan(x)])

    def merge(self, other: Self) -> None:
        """Add the other's values."""
        self._sketch.merge(other._sketch)

    def to_bytes(self) -> bytes:
        """Return the image."""
        return bytes(self._sketch.serialize())

    def query(self, levels: ArrayLike, inclusive: bool = True) -> RankQuantiles:
        """Return quantiles at levels in [0, 1]; inclusive ones are the inverse CDF."""
        p = np.atleast_1d(np.asarray(levels, np.float64))
        if self._sketch.is_empty():
            raise EmptySketchError("an empty sketch has no quantiles")
        if not ((p >= 0) & (p <= 1)).all():
            raise SketchError("levels must be in [0, 1]")
        return RankQuantiles(np.array(self._sketch.get_quantiles(p, inclusive), np.float64), self._error())

    def rank(self, value: float, inclusive: bool = True) -> float:
        """Return the share of values up to one."""
        return float(self._sketch.get_rank(value, inclusive))

    @abstractmethod
    def _error(self) -> float:
        """Return how far ranks may be off."""


class QuantilesKLL(_Ranks):
    """KLL (Karnin, Lang and Liberty 2016): ranks off by about 1.33% at k = 200, whatever the values."""

    def __init__(self, k: int = 200) -> None:
        if not 8 <= k <= 65535:
            raise SketchError("k of KLL must be from 8 to 65535")
        self.k = k
        self._sketch = ds.kll_doubles_sketch(k)

    def _error(self) -> float:
        return float(self._sketch.normalized_rank_error(False))

    @classmethod
    def from_bytes(cls, data: bytes) -> QuantilesKLL:
        """Read an image of doubles."""
        read = cls()
        read._sketch = _read(ds.kll_doubles_sketch, data)
        read.k = read._sketch.k
        return read


class QuantilesREQ(_Ranks):
    """REQ (Cormode et al. 2021) of float32 values: errors of ranks shrink towards the top (or, ``high`` False, the bottom)."""

    def __init__(self, k: int = 12, *, high: bool = True) -> None:
        if not 4 <= k <= 1024 or k % 2:
            raise SketchError("k of REQ must be even and from 4 to 1024")
        self.k = k
        self._sketch = ds.req_floats_sketch(k, high)

    def _error(self) -> float:
        # The largest over all ranks; towards the favoured end it is far less.
        return 3 * 0.084 / self.k

    @classmethod
    def from_bytes(cls, data: bytes) -> QuantilesREQ:
        """Read an image of floats."""
        read = cls()
        read._sketch = _read(ds.req_floats_sketch, data)
        read.k = read._sketch.k
        return read


class FrequentItems:
    """Frequent strings (Misra-Gries as in Anderson et al. 2017): counts off by at most epsilon of all, 3.5 / 2^lg_max."""

    def __init__(self, lg_max: int = 10) -> None:
        if not 3 <= lg_max <= 26:
            raise SketchError("lg_max of frequent items must be from 3 to 26")
        self._lg_max = lg_max
        self._sketch = ds.frequent_strings_sketch(lg_max)

    def update(self, values: Iterable[str]) -> None:
        """Add items, each once."""
        for value in values:
            self._sketch.update(str(value), 1)

    def add(self, item: str, count: int) -> None:
        """Add an item a number of times."""
        if count < 0:
            raise SketchError("counts cannot be negative; frequent items do not subtract")
        self._sketch.update(item, count)

    def merge(self, other: FrequentItems) -> None:
        """Add the other's items."""
        self._sketch.merge(other._sketch)

    def to_bytes(self) -> bytes:
        """Return the image."""
        return bytes(self._sketch.serialize())

    @classmethod
    def from_bytes(cls, data: bytes) -> FrequentItems:
        """Read an image of strings."""
        read = cls()
        read._sketch = _read(ds.frequent_strings_sketch, data)
        return read

    @property
    def epsilon(self) -> float:
        """The share of all counts by which an estimate may be too high."""
        return float(self._sketch.epsilon)

    def query(self, *, all_candidates: bool = False) -> list[Frequent]:
        """Return items that are surely among the frequent, most frequent first, or all that may be."""
        kind = ds.frequent_items_error_type
        chosen = kind.NO_FALSE_NEGATIVES if all_candidates else kind.NO_FALSE_POSITIVES
        found = [
            Frequent(item, estimate, lower, upper) for item, estimate, lower, upper in self._items(chosen)
        ]
        return sorted(found, key=lambda f: (-f.estimate, f.item))

    def _items(self, kind: Any) -> Any:
        return self._sketch.get_frequent_items(kind)


def _estimate(sketch: Any) -> Estimate:
    return Estimate(sketch.get_estimate(), sketch.get_lower_bound(2), sketch.get_upper_bound(2))


def _read(kind: Any, data: bytes) -> Any:
    try:
        return kind.deserialize(data)
    except (RuntimeError, ValueError, IndexError, MemoryError) as error:
        raise CorruptSketchError(f"bytes are no DataSketches image of this kind: {error}") from error
