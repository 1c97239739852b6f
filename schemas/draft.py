"""Columns while they are being checked: rows of one wire form, of which some may be rejected."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Coded, Float64s, Int32s, Int64s
from schemas.errors import ErrorCode

Key = TypeVar("Key", bound=Hashable)
MAX_DETAIL = 200


@dataclass(frozen=True, slots=True)
class Failure:
    """Why one record or row is no event; ``detail`` is for people and cut to a bounded length."""

    code: ErrorCode
    detail: str

    def __post_init__(self) -> None:
        # A detail may quote the input, which need not be printable.
        printable = self.detail.encode("utf-8", "backslashreplace").decode().replace("\0", "\\0")
        object.__setattr__(self, "detail", printable[:MAX_DETAIL])


@dataclass(slots=True)
class Draft:
    """Rows in (record, row) order: ``record`` is the index in the raw batch, ``row`` that within the record.

    All arrays have shape (n,). ``times`` are the optional further times in ms as floats, NaN where absent.
    ``failures`` maps a row's index to the first check it failed.
    """

    record: Int64s
    row: Int32s
    log_time: Int64s
    event_time: Int64s
    numbers: dict[str, Float64s]
    labels: dict[str, Coded]
    failures: dict[int, Failure] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.record)

    def reject(self, bad: NDArray[np.bool_], code: ErrorCode, describe: Callable[[int], str]) -> None:
        """Mark the rows where ``bad``, unless an earlier check did; ``describe(i)`` words row ``i``."""
        if bad.any():
            for i in np.flatnonzero(bad).tolist():
                if i not in self.failures:
                    self.failures[i] = Failure(code, describe(i))

    def label(self, name: str, i: int) -> str:
        """Return the text of label ``name`` in row ``i``."""
        column = self.labels[name]
        return str(column.values[int(column.codes[i])])


class Vocabulary(Generic[Key]):
    """Distinct values in order of first appearance, and the codes that stand for them."""

    def __init__(self) -> None:
        # The factory hands out the next code in C, so that no Python code runs per row.
        self._codes: defaultdict[Key, int] = defaultdict(count().__next__)

    @property
    def values(self) -> list[Key]:
        """The value of each code."""
        return list(self._codes)

    def codes(self, keys: Iterable[Key], n: int) -> Int32s:
        """Return the codes, shape (n,), of ``n`` values, giving out new ones where needed."""
        return np.fromiter(map(self._codes.__getitem__, keys), np.int32, n)

    def code(self, key: Key) -> int:
        """Return the code of one value, giving out a new one where needed."""
        return self._codes[key]


def encode(keys: Collection[Key]) -> tuple[Int32s, list[Key]]:
    """Return codes of shape (n,) and the distinct values in order of first appearance."""
    vocabulary: Vocabulary[Key] = Vocabulary()
    return vocabulary.codes(keys, len(keys)), vocabulary.values


def compacted(column: Coded) -> Coded:
    """Return the column without the values that no row has, in order of first appearance."""
    codes, kept = encode(column.codes.tolist())
    return Coded(codes, [column.values[code] for code in kept])


def joined(columns: Sequence[Coded]) -> Coded:
    """Return the rows of all columns one after the other, over one list of values."""
    if len(columns) == 1:
        return columns[0]
    if all(column.values is columns[0].values for column in columns):
        return Coded(np.concatenate([column.codes for column in columns]), columns[0].values)
    vocabulary: Vocabulary[str] = Vocabulary()
    parts = [vocabulary.codes(column.values, len(column.values))[column.codes] for column in columns]
    return Coded(np.concatenate(parts), vocabulary.values)


def merged(drafts: Sequence[Draft]) -> Draft:
    """Return one draft with the rows of all, which declare the same columns, in (record, row) order."""
    drafts = [draft for draft in drafts if len(draft)] or drafts[:1]
    if len(drafts) == 1:
        return drafts[0]
    record = np.concatenate([draft.record for draft in drafts])
    row = np.concatenate([draft.row for draft in drafts])
    order = np.lexsort((row, record))
    labels = {name: joined([draft.labels[name] for draft in drafts]) for name in drafts[0].labels}
    result = Draft(
        record[order],
        row[order],
        np.concatenate([draft.log_time for draft in drafts])[order],
        np.concatenate([draft.event_time for draft in drafts])[order],
        {
            name: np.concatenate([draft.numbers[name] for draft in drafts])[order]
            for name in drafts[0].numbers
        },
        {name: Coded(column.codes[order], column.values) for name, column in labels.items()},
    )
    result.failures = _moved_failures(drafts, order)
    return result


def _moved_failures(drafts: Sequence[Draft], order: NDArray[np.intp]) -> dict[int, Failure]:
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    first = np.cumsum([0, *(len(draft) for draft in drafts)])
    return {
        int(place[start + i]): failure
        for start, draft in zip(first.tolist(), drafts, strict=False)
        for i, failure in draft.failures.items()
    }
