"""State as named blocks: cut to size, put together again, and only those that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Set
from dataclasses import dataclass, field
from itertools import groupby

import msgspec

from streams.task import Blocks

BLOCK = 400_000
TOGETHER = 8
"""So many small changes in a row are written as one."""


def cut(kind: str, parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return blocks ``kind/name/number`` of at most ``BLOCK`` bytes."""
    return {
        f"{kind}/{name}/{i:06d}": data[at : at + BLOCK]
        for name, data in parts.items()
        for i, at in enumerate(range(0, max(len(data), 1), BLOCK))
    }


def joined(blocks: Mapping[str, bytes], kind: str) -> dict[str, bytes]:
    """Return the parts of a kind, as given to ``cut``."""
    whole: dict[str, list[bytes]] = {}
    for block in sorted(name for name in blocks if name.startswith(f"{kind}/")):
        whole.setdefault(block.split("/")[1], []).append(blocks[block])
    return {name: b"".join(pieces) for name, pieces in whole.items()}


@dataclass(frozen=True, slots=True)
class Saved:
    """What is to be kept of an entry of the state: ``whole``, in place of all before, or what to add to that; in order."""

    parts: list[bytes]
    whole: bool


class Runs:
    """Entries of the state as blocks ``kind/entry/run-piece``: what changes is appended, never what it changes rewritten.

    A run holds one or more parts. Of small ones ``TOGETHER`` make a larger one, those another, so that there are few blocks and a
    part is written about once for each power of ``TOGETHER`` in their number.
    """

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, _Entry] = {}

    def since(self, saved: Mapping[str, Saved], alive: Iterable[str], *, full: bool) -> Blocks:
        """Return the blocks to write (None: gone) for what was saved; only entries that are ``alive`` are kept."""
        blocks: Blocks = {}
        if full:
            self._entries = {}
        for name in self._entries.keys() - set(alive):
            blocks |= dict.fromkeys(self._entries.pop(name).blocks)
        for name, what in saved.items():
            entry = self._entries.get(name)
            first = 0
            if entry is not None and what.whole:
                blocks |= dict.fromkeys(entry.blocks)
                first = entry.next  # by which those who follow know that it begins anew
                entry = None
            if entry is None:
                entry = self._entries[name] = _Entry(f"{self._kind}/{name}", next=first)
            for part in what.parts:
                blocks |= entry.append(part)
        return blocks

    def read(self, blocks: Mapping[str, bytes]) -> dict[str, list[bytes]]:
        """Take the blocks there are for known, and return the parts of each entry in their order."""
        self._entries = {}
        return self.follow(blocks, ())[1]

    def follow(
        self, changed: Mapping[str, bytes], gone: Collection[str]
    ) -> tuple[list[str], dict[str, list[bytes]]]:
        """Take over what ``since`` of another has returned: which entries to let go of first, and the parts to add, in order.

        ``changed`` may come in several goes, ascending and with each run whole, ``gone`` with the first of them.
        """
        dropped = [name for name, names in self._by_entry(gone).items() if self._let_go(name, set(names))]
        parts: dict[str, list[bytes]] = {}
        for name, blocks in self._by_entry(changed).items():
            entry = self._entries.setdefault(name, _Entry(f"{self._kind}/{name}"))
            parts[name] = []
            for number, run in groupby(blocks, _number):
                pieces = list(run)
                found = _DECODE(b"".join(changed[block] for block in pieces))
                parts[name] += found[entry.take(number, len(found), pieces) :]
        return dropped, parts

    def _by_entry(self, blocks: Iterable[str]) -> dict[str, list[str]]:
        mine: dict[str, list[str]] = {}
        for block in sorted(name for name in blocks if name.startswith(f"{self._kind}/")):
            mine.setdefault(block.split("/")[1], []).append(block)
        return mine

    def _let_go(self, name: str, blocks: Set[str]) -> bool:
        """Forget blocks of an entry; return whether all of it is gone."""
        entry = self._entries.get(name)
        if entry is None:
            return False
        entry.blocks = [block for block in entry.blocks if block not in blocks]
        if not entry.blocks:
            del self._entries[name]
        return not entry.blocks


_DECODE = msgspec.msgpack.Decoder(list[bytes]).decode


def _number(block: str) -> int:
    """Return the number of the run that a block belongs to."""
    return int(block.rsplit("/", 1)[1].split("-", maxsplit=1)[0])


@dataclass(slots=True)
class _Run:
    number: int
    level: int
    parts: list[bytes]
    blocks: list[str] = field(default_factory=list)

    @property
    def small(self) -> bool:
        return sum(map(len, self.parts)) <= BLOCK // TOGETHER


@dataclass(slots=True)
class _Entry:
    """The runs of one entry; ``_open`` are the latest ones, which are still small enough to be put together.

    ``_taken`` says how many parts each run had that was taken over from another.
    """

    name: str
    blocks: list[str] = field(default_factory=list)
    next: int = 0
    _open: list[_Run] = field(default_factory=list)
    _taken: dict[int, int] = field(default_factory=dict)

    def take(self, number: int, parts: int, blocks: Iterable[str]) -> int:
        """Note a run that another has written, and return how many of its parts are known from the runs it was made of."""
        known = sum(count for run, count in self._taken.items() if run >= number)
        self._taken = {run: count for run, count in self._taken.items() if run < number} | {number: parts}
        self.blocks += set(blocks).difference(self.blocks)
        self.next = max(self.next, number + 1)
        return known

    def append(self, part: bytes) -> Blocks:
        run = _Run(self.next, 0, [part])
        self.next += 1
        blocks: Blocks = {}
        while run.small and len(before := self._alike(run)) == TOGETHER - 1:
            del self._open[-len(before) :]
            gone = [block for each in before for block in each.blocks]
            blocks |= dict.fromkeys(gone)
            self.blocks = [block for block in self.blocks if block not in set(gone)]
            run = _Run(before[0].number, run.level + 1, [p for each in (*before, run) for p in each.parts])
        # What comes after a run that stays as it is must not be put before it.
        self._open = [*self._open, run] if run.small else []
        data = msgspec.msgpack.encode(run.parts)
        pieces = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
        run.blocks = [f"{self.name}/{run.number:08d}-{i:04d}" for i in range(len(pieces))]
        self.blocks += run.blocks
        return blocks | dict(zip(run.blocks, pieces, strict=True))

    def _alike(self, run: _Run) -> list[_Run]:
        """Return the latest runs of the same level, at most as many as are put together with it."""
        latest = self._open[-(TOGETHER - 1) :]
        return [each for each in latest if each.level == run.level]


class Changes:
    """Remembers what each block was, by digest, and says which have changed since."""

    def __init__(self) -> None:
        self._digests: dict[str, bytes] = {}

    def since(self, blocks: Mapping[str, bytes], *, full: bool) -> Blocks:
        """Return all blocks, or those changed since the last call (None: gone)."""
        before, self._digests = self._digests, _digests(blocks)
        if full:
            return dict(blocks)
        changed: Blocks = {
            name: data for name, data in blocks.items() if before.get(name) != self._digests[name]
        }
        return changed | dict.fromkeys(before.keys() - blocks.keys())

    def begin(self, blocks: Mapping[str, bytes]) -> None:
        """Take restored blocks for known."""
        self._digests = _digests(blocks)


def _digests(blocks: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name: hashlib.blake2b(data, digest_size=16).digest() for name, data in blocks.items()}
