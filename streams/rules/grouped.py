"""What every rule with per-group state shares: its declaration, arrays, book of alerts and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

from streams.rules.base import Declaration, Source, Transition
from streams.rules.book import Book
from streams.rules.state import GroupState

Declared = TypeVar("Declared", bound=Declaration)


class GroupedRule(Generic[Declared]):
    """A declared rule over all groups of a partition, less the judging of samples."""

    def __init__(self, declared: Declared, layout: int, fields: Mapping[str, tuple[str, float]]) -> None:
        self._declared = declared
        self._state = GroupState(layout, fields)
        self._book = Book(self._state)

    @property
    def name(self) -> str:
        """The rule's name, unique in its pipeline."""
        return self._declared.name

    @property
    def kind(self) -> str:
        """What sort of rule it is."""
        return self._declared.kind

    @property
    def source(self) -> Source:
        """What it samples."""
        return self._declared.source

    def advance(self, watermark: int, cause: int) -> list[Transition]:  # noqa: ARG002
        """Return nothing: unless a rule says otherwise, time alone changes no alert."""
        return []

    def snapshot(self) -> bytes:
        """Return the whole state, the same bytes for the same samples."""
        return self._state.pack()

    def restore(self, state: bytes) -> None:
        """Take over a snapshot; ``b""`` is the empty state. Raises ValueError for bytes of another layout."""
        self._state.unpack(state)
