"""What members of a group tell their leader when they join, and what it tells each of them with its share.

Both travel as JSON in the user data of the group protocol. Members of older builds send a list of partitions, or nothing, and
ignore what they are told; whatever cannot be read counts as nothing said.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Joining(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a member holds: the partitions it owns, with what each costs in cores where that is known.

    ``round`` is the newest sharing-out it took part in, which tells a member that slept from one that owns. ``copies`` are the
    partitions whose state it keeps warm, ``moves`` how often a partition was taken from an owner that trailed, ``resting``
    the workers that were found trailing, with the seconds for which they are to be spared yet.
    """

    worker: str = ""
    round: int = 0
    owned: dict[int, float | None] = {}
    copies: list[int] = []
    moves: dict[int, int] = {}
    resting: dict[str, float] = {}


class Heirdom(msgspec.Struct, frozen=True):
    """A partition to take over should its owner trail: the owner, its other partitions, how often it was taken so far.

    ``fresh`` says that it has just come to its owner, who may still be restoring.
    """

    owner: str
    siblings: list[int] = []
    moves: int = 0
    fresh: bool = False


class Told(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a member is told beside its share: whom it inherits from, whose state to copy, who is spared."""

    round: int = 0
    heirdoms: dict[int, Heirdom] = {}
    copies: list[int] = []
    moves: dict[int, int] = {}
    resting: dict[str, float] = {}


class Member(Protocol):
    """The worker behind an assignor; called on the thread of the group's protocol."""

    @property
    def copies_wanted(self) -> int:
        """How many copies of each partition's state the group is to keep."""

    def joining(self) -> Joining:
        """Return what to tell the leader."""

    def heard(self, told: Told) -> None:
        """Take note of what the leader says; the assignment itself follows."""


def encode(said: Joining | Told) -> bytes:
    """Return user data."""
    return msgspec.json.encode(said)


def decode_joining(data: bytes) -> Joining:
    """Read what a member says, also one of a build that only lists its partitions."""
    try:
        return msgspec.json.decode(data, type=Joining)
    except msgspec.MsgspecError:
        pass
    try:
        return Joining(owned=dict.fromkeys(msgspec.json.decode(data, type=list[int])))
    except msgspec.MsgspecError:
        return Joining()


def decode_told(data: bytes) -> Told:
    """Read what the leader says; one of an older build says nothing."""
    try:
        return msgspec.json.decode(data, type=Told)
    except msgspec.MsgspecError:
        return Told()
