"""Alerts made of alerts: several rules of one group at once, or within a time of one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.results import AlertState, Severity
from streams.rules.base import WITHDRAWN, Samples, Source, Transition, signature_of

NEVER = -(1 << 62)


@dataclass(frozen=True)
class Composite:
    """Alert when at least ``at_least`` of the rules ``of`` have an open alert for the same group; by default all of them.

    With ``within_ms`` an alert that closed no longer than that before another opened counts as well, and the composite closes
    when none of its parts is open any more. With ``for_ms`` the condition must have held for so long, by the watermark, before
    the composite opens. Times are event times. ``at_least=1`` means "or", the default "and".

    Raises ValueError for fewer than one part, repeated parts, or numbers out of range.
    """

    name: str
    of: tuple[str, ...]
    at_least: int | None = None
    within_ms: int = 0
    for_ms: int = 0
    severity: Severity = "critical"
    source: Source = "alert"
    kind = "composite"

    def __post_init__(self) -> None:
        if not self.of or len(set(self.of)) < len(self.of) or self.name in self.of:
            raise ValueError(f"rule {self.name!r}: of must name other rules, each once")
        if not 1 <= self.needed <= len(self.of):
            raise ValueError(f"rule {self.name!r}: at_least must be between 1 and {len(self.of)}")
        if min(self.within_ms, self.for_ms) < 0 or self.source != "alert":
            raise ValueError(
                f"rule {self.name!r}: within_ms and for_ms must not be negative, the source is alert"
            )

    @property
    def needed(self) -> int:
        """Return how many parts must be open."""
        return len(self.of) if self.at_least is None else self.at_least

    def build(self) -> CompositeRule:
        """Return a rule in its empty state."""
        return CompositeRule(self)

    def signature(self) -> str:
        """Return stable text for the pipeline's hash."""
        return signature_of(self, 1)


class _Group(msgspec.Struct, array_like=True):
    """What is known of one group: when each part closed last (None: it is open), since when the condition holds, the alert."""

    closed_at: list[int | None]
    since: int | None = None
    is_open: bool = False
    opened_at: int = NEVER
    revision: int = -1


class CompositeRule:
    """A ``Composite`` over all groups of a partition; it follows the transitions of its parts instead of samples."""

    def __init__(self, declared: Composite) -> None:
        self._declared = declared
        self._groups: dict[int, _Group] = {}
        self._waiting: set[int] = set()

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
        """What it follows."""
        return self._declared.source

    def update(self, samples: Samples) -> list[Transition]:  # noqa: ARG002
        """Return nothing: samples say nothing to it."""
        return []

    def advance(self, watermark: int, cause: int) -> list[Transition]:  # noqa: ARG002
        """Return nothing: ``follow`` is told the watermark."""
        return []

    def follow(self, found: Sequence[tuple[str, Transition]], after: NDArray[np.int64]) -> list[Transition]:
        """Take the transitions of other rules, by cause, and the watermark after each row; return this rule's own, by cause."""
        mine = [(name, t) for name, t in found if name in self._declared.of]
        if not mine and not self._waiting:
            return []
        outcome: list[Transition] = []
        begun: dict[int, int] = {}
        for name, t in mine:
            outcome += self._ripe(after, t.cause, begun)
            outcome += self._step(name, t)
            begun[t.group] = t.cause
        return outcome + self._ripe(after, len(after), begun)

    def withdraw(self, time: int, cause: int) -> list[Transition]:
        """Close every open alert because the rule is taken away."""
        opened = [group for group in sorted(self._groups) if self._groups[group].is_open]
        return [self._turn(group, cause, time, WITHDRAWN) for group in opened]

    def openings(self) -> dict[int, int]:
        """Return when each group's newest alert opened."""
        return {group: held.opened_at for group, held in self._groups.items() if held.opened_at != NEVER}

    def inherit(self, openings: Mapping[int, int]) -> None:
        """Let alerts open later than those of an earlier rule of this name, so that their ids differ."""
        for group, opened_at in openings.items():
            self._groups[group] = _Group([NEVER] * len(self._declared.of), opened_at=opened_at)

    def snapshot(self) -> bytes:
        """Return the whole state, the same bytes for the same transitions."""
        return msgspec.msgpack.encode(sorted(self._groups.items()))

    def restore(self, state: bytes) -> None:
        """Take over a snapshot; ``b""`` is the empty state."""
        pairs = msgspec.msgpack.decode(state, type=list[tuple[int, _Group]]) if state else []
        self._groups = dict(pairs)
        self._waiting = {group for group, held in pairs if held.since is not None and not held.is_open}

    def _step(self, name: str, t: Transition) -> list[Transition]:
        if t.state == "update":
            return []
        held = self._groups.setdefault(t.group, _Group([NEVER] * len(self._declared.of)))
        held.closed_at[self._declared.of.index(name)] = None if t.state == "open" else t.time
        if self._holds(held, t):
            if held.since is None:
                held.since = t.time
                self._waiting.add(t.group)
            if not held.is_open and not self._declared.for_ms:
                return [self._turn(t.group, t.cause, t.time, self._message(held))]
            return []
        held.since = None
        self._waiting.discard(t.group)
        return [self._turn(t.group, t.cause, t.time, "no longer together")] if held.is_open else []

    def _holds(self, held: _Group, t: Transition) -> bool:
        declared = self._declared
        opened = sum(at is None for at in held.closed_at)
        if held.since is not None and declared.within_ms:
            return opened > 0
        recent = sum(at is not None and at >= t.time - declared.within_ms for at in held.closed_at)
        return opened + (recent if declared.within_ms and t.state == "open" else 0) >= declared.needed

    def _ripe(self, after: NDArray[np.int64], until: int, begun: Mapping[int, int]) -> list[Transition]:
        """Open what has held long enough at a row before ``until``, but not before the row at which it began to hold."""
        ripe = []
        for group in sorted(self._waiting):
            held = self._groups[group]
            deadline = (held.since or 0) + self._declared.for_ms
            row = max(int(np.searchsorted(after, deadline)), begun.get(group, 0))
            if row < until and not held.is_open:
                ripe.append((row, group, deadline))
        return [
            self._turn(g, row, deadline, self._message(self._groups[g])) for row, g, deadline in sorted(ripe)
        ]

    def _message(self, held: _Group) -> str:
        opened = [name for name, at in zip(self._declared.of, held.closed_at, strict=True) if at is None]
        return f"{len(opened)} of {len(held.closed_at)} rules open: {', '.join(opened)}"

    def _turn(self, group: int, cause: int, time: int, message: str) -> Transition:
        """Open or close the composite's alert for a group."""
        held = self._groups[group]
        state: AlertState = "close" if held.is_open else "open"
        if held.is_open:
            held.revision += 1
        else:
            held.opened_at, held.revision = max(time, held.opened_at + 1), 0
            self._waiting.discard(group)
        held.is_open = not held.is_open
        parts = {
            name: "open" if at is None else None if at == NEVER else at
            for name, at in zip(self._declared.of, held.closed_at, strict=True)
        }
        evidence: dict[str, float | int | str | None] = dict(parts)
        return Transition(
            cause=cause,
            group=group,
            state=state,
            severity=self._declared.severity,
            revision=held.revision,
            opened_at=held.opened_at,
            time=time,
            value=float(sum(at is None for at in held.closed_at)),
            threshold=float(self._declared.needed),
            message=message,
            evidence=evidence,
        )
