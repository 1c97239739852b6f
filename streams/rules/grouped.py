"""What every rule with per-group state shares: its declaration, arrays, book of alerts and snapshots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, TypeVar

import numpy as np

from streams.rules.base import WITHDRAWN, Declaration, Source, Transition
from streams.rules.book import NEVER, Book
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

    def withdraw(self, time: int, cause: int) -> list[Transition]:
        """Close every open alert because the rule is taken away."""
        closings = []
        for group in np.flatnonzero(self._state["level"] > 0).tolist():
            change = self._book.move(-1, -1, group, 0, time)
            closings.append(
                Transition(
                    cause=cause,
                    group=group,
                    state=change.state,
                    severity=self._declared.severity,
                    revision=change.revision,
                    opened_at=change.opened_at,
                    time=time,
                    value=None,
                    threshold=None,
                    message=WITHDRAWN,
                )
            )
        return closings

    def openings(self) -> dict[int, int]:
        """Return when each group's newest alert opened."""
        opened_at = self._state["opened_at"]
        return {group: int(opened_at[group]) for group in np.flatnonzero(opened_at != NEVER).tolist()}

    def inherit(self, openings: Mapping[int, int]) -> None:
        """Let alerts open later than those of an earlier rule of this name, so that their ids differ."""
        groups = np.array(sorted(openings), np.int32)
        self._state.cover(groups)
        self._state["opened_at"][groups] = [openings[group] for group in groups.tolist()]

    def snapshot(self) -> bytes:
        """Return the whole state, the same bytes for the same samples."""
        return self._state.pack()

    def restore(self, state: bytes) -> None:
        """Take over a snapshot; ``b""`` is the empty state. Raises ValueError for bytes of another layout."""
        self._state.unpack(state)
