"""Which reports are counted: each once, with its latest version, until it is older than the horizon."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

from streams.blocks import Saved

Outcome = Literal["new", "changed", "retracted", "repeated", "unknown"]


class Content(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What is counted of one report: integer codes of its drugs and events, sorted, and of its stratum."""

    drugs: tuple[int, ...]
    events: tuple[int, ...]
    stratum: int = 0
    serious: bool = False


class Member(msgspec.Struct, array_like=True, gc=False):
    """One known report of a unit; ``content`` is None once it was entered in error."""

    version: int
    content: Content | None


class Unit(msgspec.Struct, array_like=True):
    """What counts as one: a report, a patient, or reports found to be of the same case."""

    time: int
    members: dict[str, Member]

    def content(self) -> Content | None:
        """Return all drugs and events of its live members, in the stratum of the first; None if there is none."""
        live = [member.content for member in self.members.values() if member.content is not None]
        if len(live) <= 1:
            return live[0] if live else None
        return Content(
            tuple(sorted({drug for content in live for drug in content.drugs})),
            tuple(sorted({event for content in live for event in content.events})),
            live[0].stratum,
            any(content.serious for content in live),
        )


class Change(msgspec.Struct, frozen=True, gc=False):
    """What a row did: the content of its unit before and after."""

    outcome: Outcome
    before: Content | None = None
    after: Content | None = None


_AT_ONCE = 1_000  # units that are packed together
_decode_part = msgspec.msgpack.Decoder(tuple[list[str], dict[str, Unit]]).decode


class Ledger:
    """The reports received within the horizon by (source, id), and the units they make up.

    Exact within ``horizon_ms`` before the largest time received. What is older stays counted but is forgotten, so that a
    repetition, correction or retraction of it can no longer be told from a first report. ``forgotten`` counts such reports since
    the start of the process.
    """

    def __init__(self, horizon_ms: int) -> None:
        self._horizon = horizon_ms
        self._units: dict[str, Unit] = {}
        self._unit_of: dict[str, str] = {}
        self._ages: list[tuple[int, str]] = []
        self.newest = -(1 << 62)
        self.forgotten = 0
        self._touched: dict[str, None] = {}  # units since the last save, in order
        self._gone: dict[str, None] = {}
        self._saved = False

    def __len__(self) -> int:
        return len(self._unit_of)

    @property
    def edge(self) -> int:
        """Return the time before which nothing is remembered."""
        return self.newest - self._horizon

    def knows(self, key: str) -> bool:
        """Return whether a report of this key is remembered."""
        return key in self._unit_of

    def unit_of(self, key: str) -> str:
        """Return the unit of a remembered report."""
        return self._unit_of[key]

    def put(self, key: str, unit: str, version: int, time: int, content: Content) -> Change:
        """Take a first report, which joins ``unit``, or a later version of a known one, which stays in its own."""
        unit = self._unit_of.get(key, unit)
        held = self._units.get(unit)
        if held is None:
            held = self._units[unit] = Unit(time, {key: Member(version, content)})
            self._unit_of[key] = unit
            self._touch(unit, held, time)
            return Change("new", None, content)
        member = held.members.get(key)
        if member is not None and version <= member.version:
            return Change("repeated")
        before = held.content()
        held.members[key] = Member(version, content)
        self._unit_of[key] = unit
        self._touch(unit, held, time)
        return Change("new" if member is None else "changed", before, held.content())

    def retract(self, key: str, version: int, time: int) -> Change:
        """Take back a report that was entered in error; a repeated retraction does nothing."""
        unit = self._unit_of.get(key)
        if unit is None:
            return Change("unknown")
        held = self._units[unit]
        member = held.members[key]
        if version < member.version or member.content is None:
            return Change("repeated")
        before = held.content()
        held.members[key] = Member(version, None)
        self._touch(unit, held, time)
        return Change("retracted", before, held.content())

    def advance(self, time: int) -> None:
        """Move to the time of a row and forget units none of whose members is within the horizon."""
        if time <= self.newest:
            return
        self.newest = time
        while self._ages and self._ages[0][0] < self.edge:
            at, unit = heapq.heappop(self._ages)
            held = self._units.get(unit)
            if held is not None and held.time == at:
                del self._units[unit]
                self._gone[unit] = None
                self._touched.pop(unit, None)
                self.forgotten += len(held.members)
                for key in held.members:
                    del self._unit_of[key]

    def _touch(self, unit: str, held: Unit, time: int) -> None:
        self._touched[unit] = None
        if time > held.time or len(held.members) == 1:
            held.time = max(held.time, time)
            heapq.heappush(self._ages, (held.time, unit))

    def save(self, *, full: bool) -> Saved:
        """Return all units, or those that changed since the last call."""
        whole = full or not self._saved
        units, gone = (self._units, []) if whole else (self._touched, list(self._gone))
        parts = list(self._parts(list(units), gone))
        self._touched, self._gone, self._saved = {}, {}, True
        return Saved(parts, whole=whole)

    def _parts(self, units: Sequence[str], gone: Sequence[str]) -> Iterator[bytes]:
        """Yield which units are gone, then units as they are now, some at a time."""
        for at in range(0, max(len(units), 1), _AT_ONCE):
            some = {unit: self._units[unit] for unit in units[at : at + _AT_ONCE]}
            if some or gone:
                yield msgspec.msgpack.encode([gone, some])
            gone = []

    def load(self, newest: int, parts: Iterable[bytes]) -> None:
        """Take over the parts that were saved, in their order, when the newest report was of this time."""
        self.newest = newest
        for part in parts:
            gone, units = _decode_part(part)
            for unit in gone:
                self._units.pop(unit, None)
            self._units |= units
        self._index()
        self._saved = True

    def load_packed(self, packed: bytes) -> None:
        """Take over a ledger that an earlier version packed as a whole; the next save gives all of it."""
        self.newest, self._units = msgspec.msgpack.decode(packed, type=tuple[int, dict[str, Unit]])
        self._index()

    def _index(self) -> None:
        self._unit_of = {key: unit for unit, held in self._units.items() for key in held.members}
        self._ages = sorted((held.time, unit) for unit, held in self._units.items())
