"""The contract of a task: the pure part of a pipeline on one partition."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Literal, Protocol, runtime_checkable

import msgspec

from schemas.columns import Columns

OutputKind = Literal["result", "alert", "late", "dead", "partial", "barycenter", "forecast"]
Reach = Literal["same", "key", "all"]
Blocks = dict[str, bytes | None]

PRIOR_FITTED: Final = "prior-fitted"
"""The name under which a task counts fits of its prior."""


class Output(msgspec.Struct, frozen=True, gc=False):
    """One record to publish; the engine maps ``kind`` to a topic and ``to`` to a partition.

    ``same`` is the partition of the task itself, ``key`` that of the key by murmur2, ``all`` is every partition.
    """

    kind: OutputKind
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    to: Reach = "same"


class Task(Protocol):
    """A deterministic function of the partition's record sequence, never of batch boundaries or the wall clock.

    The outputs of ``process(a + b)`` are those of ``process(a)`` followed by ``process(b)``, byte for byte and kind by kind,
    and restoring a snapshot anywhere in between changes nothing.
    """

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, before which nothing more is expected."""

    @property
    def max_event_time(self) -> int:
        """The largest event time seen, in milliseconds."""

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return what they cause, in order."""

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the watermark because the partition was idle, as if just before the record at ``position``."""

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks of at most 512 kB: all of them, or those changed since the last call (None: gone).

        What ``restore`` took over counts as a call: from there on, changes to it are enough.
        """

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""


@runtime_checkable
class FollowingTask(Task, Protocol):
    """A task that can be kept as a copy of another: by what the other saves, step by step, until it goes on in its place.

    To follow all that was ever saved, in its order, and then to arrive is to restore the newest state.
    """

    @property
    def follows(self) -> bool:
        """Whether this one can: its pipeline may ask for what cannot."""

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the state takes."""

    def follow(self, changed: Mapping[str, bytes], gone: Collection[str]) -> None:
        """Take over the blocks that a state transaction wrote, and let go of those that it listed no more.

        ``changed`` may come in several goes, ascending and with all pieces of what is cut, ``gone`` with the first of them.
        """

    def arrive(self) -> None:
        """Go on from the state that was taken over, of which there must be some."""


@runtime_checkable
class TallyingTask(Task, Protocol):
    """A task that counts what it did for people to watch; the counts are no part of its state."""

    def drain(self) -> Mapping[str, int]:
        """Return the counts since the last call, each under one of its stage's ``tallies``."""


@runtime_checkable
class RuledTask(Task, Protocol):
    """A task whose rules change while it runs: at a window boundary, which depends on the record sequence alone."""

    @property
    def rules_text(self) -> str:
        """The specs, in force or announced, on top of the rules declared."""

    def change_rules(self, text: str) -> None:
        """Announce other specs, as if just before the next record."""
