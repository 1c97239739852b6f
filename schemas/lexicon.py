"""The texts met in label columns, each with a number of its own, found again from their bytes without Python objects."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas import lexicon_kernel as kernel
from schemas.columns import Int32s
from schemas.packed import Packed, address_of
from schemas.partitioning import partition_of

Accepts = Callable[[str], bool]


class Texts(list[str]):
    """The texts of one label by code. Grows only at its end, so what was worked out for a code stays right."""

    def __init__(self) -> None:
        super().__init__()
        self._marks: dict[Hashable, NDArray[np.uint8]] = {}
        self._homes: dict[int, Int32s] = {}

    def marks(self, judgement: Hashable, judge: Callable[[str], int]) -> NDArray[np.uint8]:
        """Return what ``judge`` says of each text, asking only about those that are new to ``judgement``."""
        known = self._marks.get(judgement, np.empty(0, np.uint8))
        if len(known) < len(self):
            new = np.array([judge(self[i]) for i in range(len(known), len(self))], np.uint8)
            known = self._marks[judgement] = np.concatenate([known, new])
        return known

    def homes(self, partitions: int) -> Int32s:
        """Return the partition of each text as a key, hashing only those that are new."""
        known = self._homes.get(partitions, np.empty(0, np.int32))
        if len(known) < len(self):
            new = partition_of([text.encode() for text in self[len(known) :]], partitions)
            known = self._homes[partitions] = np.concatenate([known, new])
        return known


def homes_of(texts: Sequence[str], partitions: int) -> Int32s:
    """Return the partition, shape (n,), of each text as a key."""
    if isinstance(texts, Texts):
        return texts.homes(partitions)
    return partition_of([text.encode() for text in texts], partitions)


class Lexicon:
    """Codes for the texts of several labels, given out in order of first appearance.

    One that is kept from batch to batch gives the same code for the same text, which spares those who use the codes to
    look at the texts again. ``accepts[label]`` may refuse texts; those and bytes that are no UTF-8 are marked ``bad``.
    Not safe for use by two threads at once.
    """

    def __init__(self, accepts: Sequence[Accepts | None]) -> None:
        self._accepts = accepts
        self.texts = [Texts() for _ in accepts]
        self.any_bad = False
        self._bad = np.zeros(64, bool)
        self._slots = np.full(256, -1, np.int32)
        self._hashes = np.zeros(64, np.int64)
        self._labels = np.zeros(64, np.uint8)
        self._codes = np.zeros(64, np.int32)
        self._stop = np.zeros(65, np.int64)
        self._data = np.zeros(1024, np.uint8)
        self._counts = np.zeros(max(len(accepts), 1), np.int64)
        self._table = np.zeros(kernel.TABLE, np.int64)
        self._known = 0
        self._point()

    def __len__(self) -> int:
        return int(self._table[kernel.USED])

    @property
    def table(self) -> int:
        """The address of the kernel's table, right until the next call of a method."""
        return address_of(self._table)

    def reserve(self, texts: int, size: int) -> None:
        """Make room for so many more texts of so many bytes in all."""
        wanted = len(self) + texts
        bytes_wanted = int(self._stop[len(self)]) + size
        if wanted <= len(self._codes) and 2 * wanted <= len(self._slots) and bytes_wanted <= len(self._data):
            return
        if wanted > len(self._codes):
            room = max(wanted, 2 * len(self._codes))
            self._hashes, self._labels, self._codes, self._bad = (
                _grown(array, room) for array in (self._hashes, self._labels, self._codes, self._bad)
            )
            self._stop = _grown(self._stop, room + 1)
        if 2 * wanted > len(self._slots):
            self._slots = np.full(1 << (4 * wanted - 1).bit_length(), -1, np.int32)
            kernel.rehash(self._slots, self._hashes, len(self))
        if bytes_wanted > len(self._data):
            self._data = _grown(self._data, max(bytes_wanted, 2 * len(self._data)))
        self._point()

    def _point(self) -> None:
        arrays: tuple[NDArray[Any], ...] = (
            self._slots,
            self._hashes,
            self._labels,
            self._codes,
            self._stop,
            self._data,
            self._counts,
        )
        places = (
            kernel.SLOTS, kernel.HASHES, kernel.LABELS, kernel.CODES, kernel.STOP, kernel.TEXTS, kernel.COUNTS,
        )  # fmt: skip
        for place, array in zip(places, arrays, strict=True):
            self._table[place] = address_of(array)
        self._table[kernel.MASK] = len(self._slots) - 1

    def learn(self) -> None:
        """Read the texts that a kernel has added."""
        first, self._known = self._known, len(self)
        if first == self._known:
            return
        labels, stops = (
            self._labels[first : self._known].tolist(),
            self._stop[first : self._known + 1].tolist(),
        )
        data, found = self._data[stops[0] : stops[-1]].tobytes(), []
        for label, (begin, end) in zip(labels, pairwise(stops), strict=True):
            try:
                text = data[begin - stops[0] : end - stops[0]].decode()
                accepts = self._accepts[label]
                bad = accepts is not None and not accepts(text)
            except UnicodeDecodeError:
                text, bad = "", True
            self.texts[label].append(text)
            found.append(bad)
        self._bad[first : self._known] = found
        self.any_bad |= any(found)

    def bad_codes(self, label: int) -> NDArray[np.bool_]:
        """Return which codes of a label are bad."""
        mine = self._labels[: len(self)] == label
        return np.asarray(self._bad[: len(self)][mine])

    def codes(self, label: int, texts: Sequence[str]) -> Int32s:
        """Return the codes, shape (n,), of texts, giving out new ones where needed."""
        return self.codes_of(label, Packed.of([text.encode() for text in texts]))

    def codes_of(self, label: int, texts: Packed) -> Int32s:
        """Return the codes, shape (n,), of texts as UTF-8."""
        self.reserve(len(texts), int(texts.size.sum()))
        codes = np.empty(len(texts), np.int32)
        kernel.find_or_add(texts.address, texts.start, texts.size, label, codes, self.table)
        self.learn()
        return codes


def _grown(array: NDArray[Any], size: int) -> NDArray[Any]:
    grown = np.zeros(size, array.dtype)
    grown[: len(array)] = array
    return grown
