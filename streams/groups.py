"""Group codes: each distinct combination of labels gets the next number when it is first seen."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns

_ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "|": "%7C"})


class Groups:
    """The persistent dictionary from label values to codes, in order of first appearance."""

    def __init__(self, by: tuple[str, ...], keep: tuple[str, ...]) -> None:
        self._by, self._keep = by, keep
        self._codes: dict[tuple[str, ...], int] = {}
        self.kept: list[tuple[str, ...]] = []
        self.keys: list[bytes] = []
        self.names: list[str] = []

    def __len__(self) -> int:
        return len(self.kept)

    def encode(self, columns: Columns) -> NDArray[np.int32]:
        """Return each row's group code."""
        parts = [columns.labels[name] for name in self._by]
        combined = parts[0].codes.astype(np.int64)
        for part in parts[1:]:
            combined = combined * len(part.values) + part.codes
        _, first, inverse = np.unique(combined, return_index=True, return_inverse=True)
        codes = np.empty(len(first), np.int32)
        for at in np.argsort(first, kind="stable").tolist():
            row = int(first[at])
            key = tuple(part.values[part.codes[row]] for part in parts)
            code = self._codes.get(key)
            codes[at] = self._add(key, columns, row) if code is None else code
        return codes[inverse]

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
        return dict(zip(self._by + self._keep, self.kept[code], strict=True))

    def rows(self, start: int) -> list[tuple[str, ...]]:
        """Return the labels of the groups from ``start`` on, for a snapshot."""
        return self.kept[start : start + 1024]

    def load(self, rows: list[tuple[str, ...]]) -> None:
        """Add groups read from a snapshot, in order."""
        for row in rows:
            self._append(tuple(row[: len(self._by)]), tuple(row))

    def _add(self, key: tuple[str, ...], columns: Columns, row: int) -> int:
        extra = tuple(columns.labels[name].values[columns.labels[name].codes[row]] for name in self._keep)
        return self._append(key, key + extra)

    def _append(self, key: tuple[str, ...], labels: tuple[str, ...]) -> int:
        code = self._codes[key] = len(self.kept)
        self.kept.append(labels)
        self.keys.append(key[0].encode() if key else b"all")
        self.names.append(name_of(key))
        return code


def name_of(labels: tuple[str, ...]) -> str:
    """Return the name of a group, its labels joined by slashes; of the group without labels, ``all``."""
    return "/".join(part.translate(_ESCAPES) for part in labels) or "all"
