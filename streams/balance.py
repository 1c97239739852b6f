"""When the loads of a running group have drifted so far apart that partitions should be shared out anew."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from streams.membership import Joining
from streams.placement import share_out

SETTLED = 120.0  # seconds for which loads have to be apart, without a pause
AT_MOST_EVERY = 600.0  # seconds between two sharings-out for this reason
MATTERS = 0.3  # cores: a member that needs less has room whatever the others need


class Note(msgspec.Struct, frozen=True):
    """What an owner notes with a committed position: who it is, and how many cores the partition needs, if it knows."""

    worker: str = ""
    cost: float | None = None


def encode_note(note: Note) -> str:
    """Return the text that goes with a committed position.

    It ends in a NUL: confluent-kafka 2.16 takes the metadata of offsets for a C string, though it is none, and reads beyond it.
    """
    return msgspec.json.encode(note).decode() + "\0"


def decode_note(text: str | None) -> Note:
    """Read such a text, with or without its end; of members of older builds there is none."""
    try:
        return msgspec.json.decode((text or "").rstrip("\0").encode(), type=Note)
    except (msgspec.MsgspecError, UnicodeError):
        return Note()


class Balance:
    """Watch what the partitions of all workers cost, for the one worker that should give some up.

    Only that one acts, by the same placement that the leader will use, so that a sharing-out is asked for once and moves something.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._apart_since: float | None = None
        self._not_before = float("-inf")

    def begin(self) -> None:
        """Start anew after an assignment."""
        self._apart_since = None

    def observe(self, now: float, notes: Mapping[int, Note]) -> bool:
        """Take what the owners of all partitions noted; say whether to ask the group to share out anew."""
        if not self._should_give(notes):
            self._apart_since = None
            return False
        if self._apart_since is None:
            self._apart_since = now
        if now - self._apart_since < SETTLED or now < self._not_before:
            return False
        self._apart_since, self._not_before = None, now + AT_MOST_EVERY
        return True

    def _should_give(self, notes: Mapping[int, Note]) -> bool:
        if any(not note.worker or note.cost is None for note in notes.values()):
            return False
        owned: dict[str, dict[int, float | None]] = {}
        for partition, note in notes.items():
            owned.setdefault(note.worker, {})[partition] = note.cost
        mine = owned.get(self._worker, {})
        if sum(cost or 0.0 for cost in mine.values()) < MATTERS:
            return False
        shares = share_out(notes, {worker: Joining(worker, 1, costs) for worker, costs in owned.items()})
        return not mine.keys() <= set(shares[self._worker].partitions)
