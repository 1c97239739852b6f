"""What joins send between their phases, and what they publish."""

from __future__ import annotations

import msgspec

from schemas.contributions import Progress

Fields = dict[str, str | float | None]


class SideRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of one input on its way to the partition of its join key; ``offset`` and ``row`` say where it was on its source."""

    offset: int
    row: int
    time: int
    key: str
    fields: Fields


class Shuffled(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row (to the partition of its key) or progress (to every partition) of one partition of one input of a join.

    ``side`` is 0 for the left input and 1 for the right one.
    """

    join: str
    side: int
    partition: int
    row: SideRow | None = None
    progress: Progress | None = None


class Joined(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of rows that belong together.

    ``id`` is ``join|left partition-offset-row|right partition-offset-row`` and the same after any crash; ``time`` is the later
    of both event times, in milliseconds. A left row that found nothing in the table has no ``right``.
    """

    id: str
    join: str
    key: str
    time: int
    left_time: int
    right_time: int | None
    left: Fields
    right: Fields | None
