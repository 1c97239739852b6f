"""Byte strings of a batch laid end to end in one buffer, so that loops over them need no Python object each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def address_of(array: NDArray[Any]) -> int:
    """Return where an array's elements are in memory, for compiled loops; right as long as the array lives."""
    return int(array.__array_interface__["data"][0])


class Packed(Sequence[bytes | None]):
    """A sequence of byte strings, some of which may be absent, kept as one buffer.

    ``data`` holds them in order, perhaps with other bytes between. String ``i`` begins at ``start[i]`` and has ``size[i]`` bytes,
    -1 where it is absent (None).
    """

    __slots__ = ("data", "size", "start")

    def __init__(self, data: Bytes, start: Int64s, size: Int64s) -> None:
        self.data, self.start, self.size = data, start, size

    @classmethod
    def of(cls, values: Sequence[bytes | None]) -> Packed:
        """Copy byte strings into one buffer."""
        if isinstance(values, Packed):
            return values
        size = np.fromiter((-1 if value is None else len(value) for value in values), np.int64, len(values))
        stop = np.cumsum(np.maximum(size, 0))
        data = np.frombuffer(b"".join(value for value in values if value), np.uint8)
        return cls(data, stop - np.maximum(size, 0), size)

    @property
    def address(self) -> int:
        """Where the bytes are in memory, for compiled loops, as long as this object lives."""
        return address_of(self.data)

    def part(self, begin: int, end: int) -> Packed:
        """Return the strings ``[begin, end)``, in the same buffer."""
        return Packed(self.data, self.start[begin:end], self.size[begin:end])

    def __len__(self) -> int:
        return len(self.size)

    @overload
    def __getitem__(self, index: int) -> bytes | None: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes | None]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes | None] | None:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        size = int(self.size[index])
        start = int(self.start[index])
        return None if size < 0 else self.data[start : start + size].tobytes()

    def __iter__(self) -> Iterator[bytes | None]:
        for start, size in zip(self.start.tolist(), self.size.tolist(), strict=True):
            yield None if size < 0 else self.data[start : start + size].tobytes()
