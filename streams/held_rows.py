"""The rows that a join holds: those that wait for its watermark, and those that later rows may still find."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from schemas.joins import Fields
from streams.blocks import Saved

_TABLE = "table"
_SPAN_MS = (
    60_000  # of event time, of rows that wait for a lookup: they are saved together and let go together
)
_AT_ONCE = 1_000

Order = tuple[int, str, int, int, int]


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A row in the join; ordered by (time, topic, partition, offset, row)."""

    time: int
    topic: str
    partition: int
    offset: int
    row: int
    side: int
    key: str
    fields: Fields

    @property
    def order(self) -> Order:
        """What decides which of two rows is joined first."""
        return self.time, self.topic, self.partition, self.offset, self.row

    @property
    def place(self) -> str:
        """What tells the row from all others of its side."""
        return f"{self.partition}-{self.offset}-{self.row}"


_decode = msgspec.msgpack.Decoder(list[Held]).decode


class HeldRows:
    """Rows by key and side that come within ``within`` ms of one another; for a lookup (None) the newest of side 1.

    Rows are taken in order once the watermark has passed them, and found and forgotten without a look at the others. They are
    saved by spans of event time, each row once; a span goes when nothing can find its rows any more.
    """

    def __init__(self, within: int | None) -> None:
        self._within = within
        self._span = _SPAN_MS if within is None else within // 4 + 1
        self._waiting: list[tuple[Order, Held]] = []
        self._kept: tuple[dict[str, deque[Held]], dict[str, deque[Held]]] = ({}, {})
        self._in_order: deque[Held] = deque()
        self._spans: set[int] = set()
        self._fresh: list[Held] = []
        self._newest: dict[str, Held] = {}  # rows of the table that changed

    def wait(self, held: Held) -> None:
        """Take a row that the watermark has not passed."""
        heapq.heappush(self._waiting, (held.order, held))
        self._spans.add(held.time // self._span)
        self._fresh.append(held)

    def ready(self, watermark: int) -> Iterator[Held]:
        """Take out the rows that a watermark has passed, in order."""
        while self._waiting and self._waiting[0][1].time < watermark:
            yield heapq.heappop(self._waiting)[1]

    def keep(self, held: Held) -> None:
        """Let later rows find a row, all before it in order being kept already."""
        if self._within is None:
            self._kept[held.side][held.key] = deque([held])
            self._newest[held.key] = held
        else:
            self._kept[held.side].setdefault(held.key, deque()).append(held)
            self._in_order.append(held)

    def others(self, held: Held) -> Sequence[Held]:
        """Return the kept rows of the other side with the same key, in order."""
        return self._kept[1 - held.side].get(held.key, ())

    def forget(self, watermark: int) -> None:
        """Let go of rows that nothing at or after the watermark can find."""
        before = watermark - (self._within or 0)
        while self._in_order and self._in_order[0].time < before:
            held = self._in_order.popleft()
            mine = self._kept[held.side][held.key]
            mine.popleft()
            if not mine:
                del self._kept[held.side][held.key]
        self._spans = {span for span in self._spans if (span + 1) * self._span > before}

    def alive(self) -> Iterable[str]:
        """Return the names of what is held."""
        return [*map(str, self._spans), _TABLE]

    def save(self, *, full: bool) -> dict[str, Saved]:
        """Return all rows, or those that came since the last call, by span, and the table's rows that changed."""
        fresh, newest = self._fresh, list(self._newest.values())
        if full:
            fresh = [held for _, held in self._waiting] + list(self._in_order)
            newest = [row for rows in self._kept[1].values() for row in rows] if self._within is None else []
        self._fresh, self._newest = [], {}
        spans: dict[str, list[Held]] = {}
        for held in sorted(fresh, key=lambda held: held.order):
            if held.time // self._span in self._spans:
                spans.setdefault(str(held.time // self._span), []).append(held)
        if newest:
            spans[_TABLE] = sorted(newest, key=lambda held: held.key)
        return {name: Saved(_packed(rows), whole=full) for name, rows in spans.items()}

    def load(self, entries: Mapping[str, Sequence[bytes]], watermark: int) -> None:
        """Take over the rows saved when the watermark was here."""
        rows = {name: [row for part in parts for row in _decode(part)] for name, parts in entries.items()}
        for held in rows.pop(_TABLE, []):
            self.keep(held)
        for held in sorted((held for span in rows.values() for held in span), key=lambda held: held.order):
            if held.time >= watermark:
                self.wait(held)
            elif self._within is not None and held.time >= watermark - self._within:
                self._spans.add(held.time // self._span)
                self.keep(held)
        self._spans |= set(map(int, rows))
        self._fresh, self._newest = [], {}


def _packed(rows: Sequence[Held]) -> list[bytes]:
    return [msgspec.msgpack.encode(rows[at : at + _AT_ONCE]) for at in range(0, len(rows), _AT_ONCE)]
