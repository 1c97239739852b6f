"""Answers that are rows of numbers, each of which a system must give once: judged alike for all scenarios but the plain one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

from benchmarks.scenario import Read

Row = tuple[Any, ...]


class Rows:
    """The rows of an answer; a system must give each as often, in whatever order. Floats agree to six decimals.

    Results that hold ``closing``, a text, are of what only closes windows, and do not count.
    """

    def __init__(self, rows: Sequence[Row], closing: str | None = None) -> None:
        self._rows, self._closing = rows, None if closing is None else closing.encode()

    def __len__(self) -> int:
        return len(self._rows)

    def wanted(self, value: bytes) -> bool:
        """Tell whether a result counts."""
        return self._closing is None or self._closing not in value

    @cached_property
    def _counts(self) -> Counter[Row]:
        return Counter(map(_plain, self._rows))

    def judge(self, read: Read, values: Iterable[bytes], *, sketch: bool) -> list[str]:  # noqa: ARG002
        """Return what is missing and what is too much; ``read`` gives the rows of a result."""
        found = Counter(_plain(row) for value in values for row in read(value))
        missing, more = self._counts - found, found - self._counts
        return [
            f"{sum(rows.values())} of {len(self)} rows are {how}, such as {next(iter(rows))}"
            for rows, how in ((missing, "missing"), (more, "wrong"))
            if rows
        ]


def _plain(row: Row) -> Row:
    return tuple(round(part, 6) if isinstance(part, float) else part for part in row)
