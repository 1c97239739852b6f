"""Optional aggregates of windows: distinct values, most frequent values, shares of rows, largest rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import gcd
from typing import Any, Protocol

import msgspec
import numpy as np
from datasketches import (
    frequent_items_error_type,
    frequent_strings_sketch,
    hll_sketch,
    hll_union,
    tgt_hll_type,
)
from numpy.typing import NDArray

from schemas.columns import Columns
from streams.blocks import Saved
from streams.frames import Firing, Ints

Value = float | dict[str, int | float]
Place = tuple[int, int]  # pane, group
_HLL = tgt_hll_type.HLL_8
# Larger maps pick what to forget from a sample of their slots, whose order a restored map need not share.
_LARGEST_MAP = 10
_PART = 100_000


class Extra(Protocol):
    """What a pipeline declares: how rows make states, and states a value. States are merged in a fixed order."""

    @property
    def name(self) -> str:
        """The name of the value in the summary."""

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""

    def take(self, states: dict[Place, Any], places: Ints, of: Sequence[Place], columns: Columns) -> None:
        """Add rows, in record order, to the states; row ``i`` belongs to ``of[places[i]]``."""

    def merge(self, states: Sequence[Any]) -> Any:
        """Return the sum of states, none of which is changed."""

    def value(self, state: Any) -> Value:
        """Return what the summary says."""

    def pack(self, state: Any) -> bytes:
        """Return a state as bytes."""

    def unpack(self, data: bytes) -> Any:
        """Return the state of packed bytes."""


@dataclass(frozen=True)
class Distinct:
    """The number of distinct values of a label, by HyperLogLog (Flajolet et al. 2007) with 2**``lg_k`` registers.

    The relative standard error is about 1.04 / sqrt(2**lg_k): 1.6% at the default of 12.

    Raises ValueError for lg_k outside 4 to 21.
    """

    name: str
    label: str
    lg_k: int = 12

    def __post_init__(self) -> None:
        if not 4 <= self.lg_k <= 21:
            raise ValueError(f"{self.name!r}: lg_k must be between 4 and 21")

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return repr(self)

    def take(self, states: dict[Place, Any], places: Ints, of: Sequence[Place], columns: Columns) -> None:
        """Add rows; a value that a sketch has seen changes nothing, so each goes in once, where it first appears."""
        label = columns.labels[self.label]
        _, first = np.unique(places * len(label.values) + label.codes, return_index=True)
        for row in np.sort(first).tolist():
            place = of[places[row]]
            if place not in states:
                states[place] = hll_sketch(self.lg_k, _HLL)
            states[place].update(label.values[label.codes[row]])

    def merge(self, states: Sequence[Any]) -> Any:
        """Return the union of sketches."""
        if len(states) == 1:
            return states[0]
        union = hll_union(self.lg_k)
        for state in states:
            union.update(state)
        return union.get_result(_HLL)

    def value(self, state: Any) -> Value:
        """Return the estimated number."""
        return float(state.get_estimate())

    def pack(self, state: Any) -> bytes:
        """Return the sketch as bytes."""
        return bytes(state.serialize_compact())

    def unpack(self, data: bytes) -> Any:
        """Return the sketch of packed bytes."""
        return hll_sketch.deserialize(data)


@dataclass(frozen=True)
class Top:
    """The ``k`` most frequent values of a label with their counts, by frequent items (Misra and Gries 1982, Anderson et al. 2017).

    Counts are exact while a window has at most 3/4 * 2**``lg_size`` distinct values, else they are estimates that are off by at
    most 3.5 / 2**lg_size of the rows. Ties go by value.

    Raises ValueError for k < 1 or lg_size outside 3 to 10.
    """

    name: str
    label: str
    k: int = 10
    lg_size: int = _LARGEST_MAP

    def __post_init__(self) -> None:
        if self.k < 1 or not 3 <= self.lg_size <= _LARGEST_MAP:
            raise ValueError(f"{self.name!r}: k must be positive, lg_size between 3 and {_LARGEST_MAP}")

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return repr(self)

    def take(self, states: dict[Place, Any], places: Ints, of: Sequence[Place], columns: Columns) -> None:
        """Add rows one by one, since what is forgotten depends on their order."""
        label = columns.labels[self.label]
        for place, code in zip(places.tolist(), label.codes.tolist(), strict=True):
            state = states.get(of[place])
            if state is None:
                state = states[of[place]] = frequent_strings_sketch(self.lg_size)
            state.update(label.values[code])

    def merge(self, states: Sequence[Any]) -> Any:
        """Return the sum of sketches."""
        if len(states) == 1:
            return states[0]
        total = frequent_strings_sketch(self.lg_size)
        for state in states:
            total.merge(state)
        return total

    def value(self, state: Any) -> Value:
        """Return counts by value, the most frequent first."""
        found = state.get_frequent_items(frequent_items_error_type.NO_FALSE_NEGATIVES, 0)
        ranked = sorted(((item[0], int(item[1])) for item in found), key=lambda pair: (-pair[1], pair[0]))
        return dict(ranked[: self.k])

    def pack(self, state: Any) -> bytes:
        """Return the sketch as bytes."""
        return bytes(state.serialize())

    def unpack(self, data: bytes) -> Any:
        """Return the sketch of packed bytes."""
        return frequent_strings_sketch.deserialize(data)


@dataclass(frozen=True)
class Share:
    """The share of rows that meet a condition; ``name`` stands for the function in the pipeline's hash."""

    name: str
    condition: Callable[[Columns], NDArray[np.bool_]]

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return f"Share({self.name!r})"

    def take(self, states: dict[Place, Any], places: Ints, of: Sequence[Place], columns: Columns) -> None:
        """Count rows, and those that meet the condition."""
        rows = np.bincount(places, minlength=len(of)).tolist()
        hits = np.bincount(places[self.condition(columns)], minlength=len(of)).tolist()
        for place, count, hit in zip(of, rows, hits, strict=True):
            before = states.get(place, (0, 0))
            states[place] = (before[0] + hit, before[1] + count)

    def merge(self, states: Sequence[Any]) -> Any:
        """Return the sums of both counts."""
        return sum(hit for hit, _ in states), sum(count for _, count in states)

    def value(self, state: Any) -> Value:
        """Return the share."""
        return float(state[0] / state[1])

    def pack(self, state: Any) -> bytes:
        """Return both counts as bytes."""
        return msgspec.msgpack.encode(state)

    def unpack(self, data: bytes) -> Any:
        """Return the counts of packed bytes."""
        return msgspec.msgpack.decode(data, type=tuple[int, int])


@dataclass(frozen=True)
class Largest:
    """The ``k`` rows with the largest values of a number: the value by the row's ``labels``, joined by ``|``, largest first.

    Exact. Of rows with equal labels the largest counts; of equal values those whose labels are first in order.

    Raises ValueError for k < 1 or no labels.
    """

    name: str
    by: str
    labels: tuple[str, ...]
    k: int = 1

    def __post_init__(self) -> None:
        if self.k < 1 or not self.labels:
            raise ValueError(f"{self.name!r}: k must be positive, and rows are named by at least one label")

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return repr(self)

    def take(self, states: dict[Place, Any], places: Ints, of: Sequence[Place], columns: Columns) -> None:
        """Add rows; only those that can be among the largest of their place are looked at one by one."""
        value = columns.numbers[self.by]
        order = np.lexsort((-value, places))
        first = np.flatnonzero(np.diff(places[order], prepend=-1))
        for begin, end in zip(first.tolist(), [*first[1:].tolist(), len(order)], strict=True):
            rows = order[begin:end]
            place = of[int(places[rows[0]])]
            held = dict(states.get(place, ()))
            worst = min(held.values()) if len(held) >= self.k else -np.inf
            candidates = rows[value[rows] >= worst]
            states[place] = self._best(held, self._named(columns, candidates, value))

    def _named(
        self, columns: Columns, rows: NDArray[np.intp], value: NDArray[np.float64]
    ) -> Iterator[tuple[str, float]]:
        """Yield rows from the largest on, until ``k`` different ones and all that equal the last of them are out."""
        labels = [columns.labels[name] for name in self.labels]
        seen: set[str] = set()
        last = -np.inf
        for row in rows.tolist():
            if len(seen) >= self.k and value[row] < last:
                return
            name = "|".join(label.values[label.codes[row]] for label in labels)
            if name not in seen:
                seen.add(name)
                last = float(value[row])
                yield name, last

    def _best(
        self, held: dict[str, float], more: Iterable[tuple[str, float]]
    ) -> tuple[tuple[str, float], ...]:
        for name, value in more:
            held[name] = max(value, held.get(name, -np.inf))
        return tuple(sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))[: self.k])

    def merge(self, states: Sequence[Any]) -> Any:
        """Return the largest of all."""
        held: dict[str, float] = {}
        for state in states:
            held = dict(self._best(held, state))
        return tuple(held.items())

    def value(self, state: Any) -> Value:
        """Return values by labels."""
        return dict(state)

    def pack(self, state: Any) -> bytes:
        """Return the rows as bytes."""
        return msgspec.msgpack.encode(state)

    def unpack(self, data: bytes) -> Any:
        """Return the rows of packed bytes."""
        return msgspec.msgpack.decode(data, type=tuple[tuple[str, float], ...])


class Extras:
    """The states of a task's optional aggregates by pane and group, beside the windows; does nothing where there are none.

    Panes are of gcd(size, hop). A window's value is made when it fires, from its panes in their order.
    """

    def __init__(self, declared: Sequence[Extra], size: int, every: int, lateness: int) -> None:
        self._declared = declared
        self._pane, self._size, self._every, self._lateness = gcd(size, every), size, every, lateness
        self._states: list[dict[Place, Any]] = [{} for _ in declared]
        self._groups: dict[int, set[int]] = {}  # by pane
        self._changed: dict[int, set[int]] = {}  # since the last save

    def add(self, group: NDArray[np.int32], columns: Columns) -> None:
        """Add rows that count, in record order."""
        if not self._declared or not len(group):
            return
        pane = columns.event_time // self._pane * self._pane
        distinct, inverse = np.unique(np.stack([pane, group.astype(np.int64)]), axis=1, return_inverse=True)
        of = [(int(p), int(g)) for p, g in distinct.T.tolist()]
        for extra, states in zip(self._declared, self._states, strict=True):
            extra.take(states, inverse.reshape(-1).astype(np.int64), of, columns)
        for at, member in of:
            self._groups.setdefault(at, set()).add(member)
            self._changed.setdefault(at, set()).add(member)

    def states(self, start: int, group: int) -> list[Any]:
        """Return the state of each aggregate in one window of one group."""
        panes = range(start, start + self._size, self._pane)
        return [
            extra.merge([held[pane, group] for pane in panes if (pane, group) in held])
            for extra, held in zip(self._declared, self._states, strict=True)
        ]

    def values(self, firing: Firing) -> list[dict[str, Value]] | None:
        """Return the values by name for each group of a firing, ``None`` where none are declared."""
        if not self._declared:
            return None
        pairs = zip(firing.start.tolist(), firing.closed.group.tolist(), strict=True)
        return [values_of(self._declared, self.states(start, group)) for start, group in pairs]

    def drop(self, watermark: int) -> None:
        """Let go of panes whose last window is over."""
        over = watermark - self._lateness - self._size
        for pane in [pane for pane in self._groups if pane // self._every * self._every <= over]:
            for group in self._groups.pop(pane):
                for held in self._states:
                    del held[pane, group]
            self._changed.pop(pane, None)

    def alive(self) -> Iterable[str]:
        """Return the names of the panes that are held."""
        return map(str, self._groups)

    def save(self, *, full: bool) -> dict[str, Saved]:
        """Return each pane, or the states of its groups that changed since the last call, by its start."""
        chosen, self._changed = self._groups if full else self._changed, {}
        return {
            str(pane): Saved(list(self._parts(pane, sorted(chosen[pane]))), whole=full)
            for pane in sorted(chosen)
        }

    def load(self, panes: Mapping[str, Sequence[bytes]]) -> None:
        """Take over the parts of panes, in the order in which they were saved."""
        for name, parts in panes.items():
            for part in parts:
                for group, packed in msgspec.msgpack.decode(part, type=list[tuple[int, list[bytes]]]):
                    self._groups.setdefault(int(name), set()).add(group)
                    for extra, held, data in zip(self._declared, self._states, packed, strict=True):
                        held[int(name), group] = extra.unpack(data)

    def _parts(self, pane: int, groups: Sequence[int]) -> Iterator[bytes]:
        """Yield the states of groups, some 100 kB at a time."""
        rows: list[tuple[int, list[bytes]]] = []
        size = 0
        for group in groups:
            packed = [
                extra.pack(held[pane, group])
                for extra, held in zip(self._declared, self._states, strict=True)
            ]
            rows.append((group, packed))
            size += sum(map(len, packed))
            if size > _PART:
                yield msgspec.msgpack.encode(rows)
                rows, size = [], 0
        if rows:
            yield msgspec.msgpack.encode(rows)


def values_of(declared: Sequence[Extra], states: Sequence[Any]) -> dict[str, Value]:
    """Return the values of states by name."""
    return {extra.name: extra.value(state) for extra, state in zip(declared, states, strict=True)}
