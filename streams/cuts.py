"""Cutting a batch of columns in two without losing a row or a rejected record."""

from __future__ import annotations

import numpy as np

from schemas.columns import Columns


def cut_at_offset(columns: Columns, offset: int) -> tuple[Columns, Columns]:
    """Split into what lies before ``offset`` and what lies from it on; ``start <= offset <= next``."""
    i = int(np.searchsorted(columns.offset, offset))
    before = tuple(r for r in columns.rejected if r.offset < offset)
    after = tuple(r for r in columns.rejected if r.offset >= offset)
    head = columns.take(slice(0, i), columns.start, offset, before)
    tail = columns.take(slice(i, None), offset, columns.next, after)
    return head, tail


def cut_at_row(columns: Columns, row: int) -> tuple[Columns, Columns]:
    """Split before the row with index ``row``; rejected records go with the rows around them."""
    if row >= len(columns):
        return columns, columns.take(slice(0, 0), columns.next, columns.next)
    key = (int(columns.offset[row]), int(columns.row[row]))
    before = tuple(r for r in columns.rejected if (r.offset, r.row) < key)
    after = tuple(r for r in columns.rejected if (r.offset, r.row) >= key)
    head = columns.take(slice(0, row), columns.start, key[0], before)
    tail = columns.take(slice(row, None), key[0], columns.next, after)
    return head, tail


def without_rows(columns: Columns, skipped: set[tuple[int, int]]) -> Columns:
    """Leave out the rows named by (offset, row)."""
    if not skipped:
        return columns
    keep = [i for i in range(len(columns)) if (int(columns.offset[i]), int(columns.row[i])) not in skipped]
    return columns.take(np.array(keep, np.intp), columns.start, columns.next, columns.rejected)
