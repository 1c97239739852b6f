"""Per-group state of a rule in contiguous arrays that grow with the groups, and its binary form."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_HEADER = struct.Struct("<4sHHQ")
_MAGIC = b"TWRS"


class GroupState:
    """Named arrays with one element a group, indexed by group code.

    ``fields`` gives each array's little-endian dtype and the value of a group never seen. The size is one
    more than the largest code seen, so that the binary form depends on the samples alone. ``layout``
    numbers the meaning of the arrays: a snapshot of another layout is refused.
    """

    def __init__(self, layout: int, fields: Mapping[str, tuple[str, float]]) -> None:
        self._layout = layout
        self._fields = {name: (np.dtype(dtype), default) for name, (dtype, default) in fields.items()}
        self.size = 0
        self._arrays = {name: np.empty(0, dtype=dtype) for name, (dtype, _) in self._fields.items()}

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name][: self.size]

    def cover(self, groups: NDArray[np.int32]) -> None:
        """Make room for the given group codes."""
        if len(groups):
            self._resize(int(groups.max()) + 1)

    def _resize(self, size: int) -> None:
        if size <= self.size:
            return
        for name, (dtype, default) in self._fields.items():
            held = self._arrays[name]
            if size > len(held):
                held = np.full(max(size, 2 * len(held)), default, dtype=dtype)
                held[: self.size] = self[name]
                self._arrays[name] = held
        self.size = size

    def pack(self) -> bytes:
        """Return all arrays, little-endian, behind a header of magic, layout, number of arrays and size."""
        header = _HEADER.pack(_MAGIC, self._layout, len(self._fields), self.size)
        return header + b"".join(self[name].tobytes() for name in self._fields)

    def unpack(self, state: bytes) -> None:
        """Take over what ``pack`` returned; ``b""`` is the empty state.

        Raises ValueError for bytes of another layout or of a wrong length.
        """
        if not state:
            self.size = 0
            self._arrays = {name: np.empty(0, dtype=dtype) for name, (dtype, _) in self._fields.items()}
            return
        if len(state) < _HEADER.size:
            raise ValueError("rule state is truncated")
        magic, layout, count, size = _HEADER.unpack_from(state)
        if (magic, layout, count) != (_MAGIC, self._layout, len(self._fields)):
            raise ValueError(f"rule state has layout {layout}, not {self._layout}")
        if len(state) != _HEADER.size + size * sum(dtype.itemsize for dtype, _ in self._fields.values()):
            raise ValueError("rule state has a wrong length")
        at = _HEADER.size
        for name, (dtype, _) in self._fields.items():
            self._arrays[name] = np.frombuffer(state, dtype, size, at).copy()
            at += size * dtype.itemsize
        self.size = size
