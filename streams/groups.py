"""Group codes: each distinct combination of labels gets the next number when it is first seen."""

from __future__ import annotations

import operator
import sys
from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Coded, Columns
from streams import groups_kernel as kernel

_TOGETHER = 1024
_BESIDES = 48  # bytes a group for its number, and for sizes rounded up by the allocator
_ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "|": "%7C"})


class Groups:
    """The persistent dictionary from label values to codes, in order of first appearance."""

    def __init__(self, by: tuple[str, ...], keep: tuple[str, ...]) -> None:
        self._by, self._keep, self.label_names = by, keep, by + keep
        self._codes: dict[tuple[str, ...], int] = {}
        self.kept: list[tuple[str, ...]] = []
        self.keys: list[bytes] = []
        self.names: list[str] = []
        self._combinations = _Combinations()
        self._saved = 0

    def __len__(self) -> int:
        return len(self.kept)

    def encode(self, columns: Columns) -> NDArray[np.int32]:
        """Return each row's group code."""
        parts = [columns.labels[name] for name in self._by]
        ids = self._combinations.ids(parts)
        codes = self._combinations.known[ids]
        missing = np.flatnonzero(codes < 0)
        if len(missing):
            first = np.sort(np.unique(ids[missing], return_index=True)[1])
            rows = missing[first]
            self._combinations.known[ids[rows]] = self._look_up(columns, rows)
            codes = self._combinations.known[ids]
        return codes

    def _look_up(self, columns: Columns, rows: NDArray[np.intp]) -> list[int]:
        """Return the groups of rows, new ones in their order."""
        columns_of = [columns.labels[name] for name in self.label_names]
        texts = [[column.values[code] for code in column.codes[rows].tolist()] for column in columns_of]
        known, depth = self._codes, len(self._by)
        found = []
        for labels in zip(*texts, strict=True):
            key = labels[:depth]
            code = known.get(key)
            found.append(self._append(key, labels) if code is None else code)
        return found

    def find(self, columns: Columns, row: int) -> int:
        """Return the code of a row's group, -1 if it has none yet."""
        parts = (columns.labels[name] for name in self._by)
        return self._codes.get(tuple(part.values[part.codes[row]] for part in parts), -1)

    def code(self, labels: tuple[str, ...]) -> int:
        """Return the code of a group given by its labels alone, a new one if it has none."""
        code = self._codes.get(labels)
        return self._append(labels, labels) if code is None else code

    def labels(self, code: int) -> dict[str, str]:
        """Return the labels of a group."""
        return dict(zip(self.label_names, self.kept[code], strict=True))

    def save(self, *, full: bool) -> dict[int, bytes]:
        """Return the groups by thousands: all of them, or those thousands that grew since the last call."""
        begin, self._saved = 0 if full else self._saved, len(self.kept)
        if begin == len(self.kept):
            return {}
        return {
            number: msgspec.msgpack.encode(self.kept[_TOGETHER * number : _TOGETHER * (number + 1)])
            for number in range(begin // _TOGETHER, -(-len(self.kept) // _TOGETHER))
        }

    def load(self, packed: Mapping[int, bytes]) -> None:
        """Add those of groups saved by thousands, in order, that there are not yet."""
        for number in sorted(packed):
            rows = msgspec.msgpack.decode(packed[number], type=list[tuple[str, ...]])
            self.add(rows[len(self.kept) - number * _TOGETHER :])
        self._saved = len(self.kept)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the groups take, by those of a few of them."""
        some = range(0, len(self.kept), max(len(self.kept) // 50, 1))
        sizes = [
            sum(map(sys.getsizeof, (self.keys[i], self.names[i], self.kept[i], *self.kept[i])))
            + sys.getsizeof(self.kept[i][: len(self._by)])
            for i in some
        ]
        lists = sum(map(sys.getsizeof, (self._codes, self.kept, self.keys, self.names)))
        return lists + len(self.kept) * (_BESIDES + sum(sizes) // max(len(sizes), 1))

    def add(self, rows: Sequence[tuple[str, ...]]) -> None:
        """Add new groups by all of their labels, in order."""
        depth, first = len(self._by), len(self.kept)
        keys = [row[:depth] for row in rows] if depth < len(self.label_names) else rows
        self._codes.update(zip(keys, range(first, first + len(rows)), strict=True))
        self.kept += rows
        self.keys += [row[0].encode() for row in rows] if depth else [_key_of(())] * len(rows)
        self.names += names_of(keys)

    def _append(self, key: tuple[str, ...], labels: tuple[str, ...]) -> int:
        code = self._codes[key] = len(self.kept)
        self.kept.append(labels)
        self.keys.append(_key_of(key))
        self.names.append(name_of(key))
        return code


def _key_of(labels: tuple[str, ...]) -> bytes:
    return labels[0].encode() if labels else b"all"


def name_of(labels: tuple[str, ...]) -> str:
    """Return the name of a group, its labels joined by slashes; of the group without labels, ``all``."""
    return "/".join(map(_escaped, labels)) or "all"


def names_of(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """Return the names of many groups with equally many labels."""
    if not keys or not keys[0]:
        return list(map(name_of, keys))
    names = list(map("/".join, keys))
    text = "\n".join(names)
    plain = "|" not in text and "%" not in text and text.count("/") == (len(keys[0]) - 1) * len(keys)
    return names if plain else list(map(name_of, keys))


def _escaped(label: str) -> str:
    special = "/" in label or "|" in label or "%" in label
    return label.translate(_ESCAPES) if special else label


class _Combinations:
    """Numbers for combinations of labels, by their codes alone as long as batches share their lists of values.

    ``known`` has the group of each number, -1 where nobody has looked it up.
    """

    def __init__(self) -> None:
        self._lists: list[Sequence[str]] = []
        self._pairs: list[_Pairs] = []
        self.known = np.empty(0, np.int32)

    def ids(self, parts: Sequence[Coded]) -> NDArray[np.int32]:
        """Return each row's number; forgets all when a list of values is another than before."""
        lists = [part.values for part in parts]
        if len(lists) != len(self._lists) or any(map(operator.is_not, lists, self._lists)):
            self._lists, self._pairs = lists, [_Pairs() for _ in parts[1:]]
            self.known = np.empty(0, np.int32)
        ids, count = parts[0].codes, len(lists[0])
        for part, pairs in zip(parts[1:], self._pairs, strict=True):
            ids = pairs.numbers(ids, part.codes)
            count = pairs.used
        if count > len(self.known):
            known = np.full(max(count, 2 * len(self.known)), -1, np.int32)
            known[: len(self.known)] = self.known
            self.known = known
        return ids


class _Pairs:
    """Numbers for pairs of codes, in order of first appearance."""

    def __init__(self) -> None:
        self.used = 0
        self._slots = np.full(256, -1, np.int32)
        self._pairs = np.empty(64, np.int64)

    def numbers(self, left: NDArray[np.int32], right: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the number of each pair."""
        wanted = self.used + len(left)
        if wanted > len(self._pairs):
            self._pairs = np.resize(self._pairs, max(wanted, 2 * len(self._pairs)))
        if 2 * wanted > len(self._slots):
            self._slots = np.full(1 << (4 * wanted - 1).bit_length(), -1, np.int32)
            kernel.refill(self._slots, self._pairs, self.used)
        out = np.empty(len(left), np.int32)
        self.used = kernel.number(left, right, self._slots, self._pairs, self.used, out)
        return out
