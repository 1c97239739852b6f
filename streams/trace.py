"""Outputs together with the rows that caused them."""

from __future__ import annotations

from collections.abc import Sequence

from streams.task import Output


class Trace:
    """Outputs in order, and for each the index of the row of the batch that caused it."""

    def __init__(self) -> None:
        self.outputs: list[Output] = []
        self.rows: list[int] = []

    def add(self, row: int, outputs: Sequence[Output]) -> None:
        """Add outputs that one row caused."""
        self.outputs += outputs
        self.rows += [row] * len(outputs)

    def add_each(self, rows: Sequence[int], outputs: Sequence[Output]) -> None:
        """Add outputs, each with its row."""
        self.outputs += outputs
        self.rows += rows
