"""The contract of an alert rule: samples in, transitions out, state as bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from schemas.results import AlertState, Severity

Source = Literal["row", "count", "sum", "mean", "variance", "min", "max", "first", "last", "sketch", "alert"]


WITHDRAWN = "withdrawn: the rule was changed or taken away"


@dataclass(frozen=True, slots=True)
class Samples:
    """Samples in processing order, all arrays of shape (n,).

    For a rule on rows a sample is a row that is not late; for a rule on windows it is a closed window, in
    (end, group) order. ``group`` holds the task's persistent group codes in ``[0, n_groups)``. ``time`` is
    the event time of the row or the window's end, in milliseconds. ``cause`` is the index of the causing
    row in the batch and never decreases. ``watermark`` is the watermark after the causing row.
    """

    n_groups: int
    group: NDArray[np.int32]
    time: NDArray[np.int64]
    value: NDArray[np.float64]
    cause: NDArray[np.int64]
    watermark: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Transition:
    """An alert opens, changes severity or closes for a group, caused by row ``cause`` of the batch."""

    cause: int
    group: int
    state: AlertState
    severity: Severity
    revision: int
    opened_at: int
    time: int
    value: float | None
    threshold: float | None
    message: str
    evidence: dict[str, float | int | str | None] = field(default_factory=dict)


class Rule(Protocol):
    """A rule over all groups of a partition at once; deterministic, and batch boundaries do not matter."""

    @property
    def name(self) -> str:
        """The rule's name, unique in its pipeline."""

    @property
    def kind(self) -> str:
        """What sort of rule it is, such as ``threshold``."""

    @property
    def source(self) -> Source:
        """What it samples: rows or one aggregate of the closed windows."""

    def update(self, samples: Samples) -> list[Transition]:
        """Take the next samples and return the transitions in order of (cause, group)."""

    def advance(self, watermark: int, cause: int) -> list[Transition]:
        """Take a watermark that moved without a row (an idle partition), as caused by row index ``cause``."""

    def withdraw(self, time: int, cause: int) -> list[Transition]:
        """Close every open alert because the rule is taken away."""

    def openings(self) -> dict[int, int]:
        """Return when each group's newest alert opened."""

    def inherit(self, openings: Mapping[int, int]) -> None:
        """Let alerts open later than those of an earlier rule of this name, so that their ids differ."""

    def snapshot(self) -> bytes:
        """Return the whole state in a versioned binary form, the same bytes for the same state."""

    def restore(self, state: bytes) -> None:
        """Take over a snapshot; ``b""`` is the empty state."""


class Declaration(Protocol):
    """What a pipeline states about a rule; frozen, and shared by the tasks that each build their own rule."""

    @property
    def name(self) -> str:
        """The rule's name, unique in its pipeline."""

    @property
    def kind(self) -> str:
        """What sort of rule it is, such as ``threshold``."""

    @property
    def source(self) -> Source:
        """What the rule samples."""

    @property
    def severity(self) -> Severity:
        """How bad its alerts are."""

    def build(self) -> Rule:
        """Return a rule in its empty state."""

    def signature(self) -> str:
        """Return stable text that changes whenever the rule's decisions could change."""


def signature_of(declaration: Any, version: int) -> str:
    """Return ``kind/version(field=value, ...)`` of a dataclass declaration, fields in their order."""
    stated = ", ".join(f"{f.name}={getattr(declaration, f.name)!r}" for f in fields(declaration))
    return f"{declaration.kind}/{version}({stated})"
