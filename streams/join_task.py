"""Joins in two phases: rows go to the partition of their key, and are joined there in one order whatever their interleaving."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from schemas.columns import Columns
from schemas.contributions import Progress
from schemas.errors import ErrorCode
from schemas.joins import Fields, Joined, Shuffled, SideRow
from streams.blocks import Runs
from streams.burial import buried, rejected
from streams.held_rows import Held, HeldRows
from streams.task import Blocks, Output
from streams.watermark import BEGINNING, watermarks

STATE_FORMAT = 2


class ForwardTask:
    """Implements ``streams.task.Task`` for one input of a join: sends its rows and its watermark on.

    The watermark goes to every partition after the row at which it passes a multiple of ``step``.
    """

    def __init__(
        self,
        join: str,
        side: int,
        on: str,
        fields: tuple[str, ...],
        out_of_orderness: int,
        step: int,
        partition: int,
    ) -> None:
        self._join, self._side, self._on, self._fields = join, side, on, fields
        self._out_of_orderness, self._step, self._partition = out_of_orderness, step, partition
        self._watermark = self._max_time = BEGINNING
        self._idle = False
        self._encode = msgspec.json.Encoder().encode

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, before which nothing more is expected."""
        return self._watermark

    @property
    def max_event_time(self) -> int:
        """The largest event time seen, in milliseconds."""
        return self._max_time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return what they cause, in order."""
        outputs = rejected(columns)
        if not len(columns):
            return outputs
        after = watermarks(self._watermark, columns.event_time, self._out_of_orderness)
        passed = np.diff(np.concatenate([[self._watermark], after]) // self._step) > 0
        passed[0] |= self._idle
        self._idle = False
        for row, (watermark, due) in enumerate(zip(after.tolist(), passed.tolist(), strict=True)):
            side_row = self._row(columns, row)
            outputs.append(self._output(side_row.key.encode(), row=side_row))
            if due:
                outputs.append(self._progress(watermark))
        self._watermark = int(after[-1])
        self._max_time = max(self._max_time, int(columns.event_time.max()))
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:  # noqa: ARG002
        """Say that nobody need wait for this partition, since it is idle."""
        if watermark <= self._watermark:
            return []
        self._watermark, self._idle = watermark, True
        return [self._progress(watermark)]

    def snapshot(self, *, full: bool) -> Blocks:  # noqa: ARG002
        """Return the state as one block."""
        return {"header": msgspec.msgpack.encode([self._watermark, self._max_time, self._idle])}

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state; none at all is the empty state."""
        if blocks:
            self._watermark, self._max_time, self._idle = msgspec.msgpack.decode(blocks["header"])

    def _row(self, columns: Columns, row: int) -> SideRow:
        fields: Fields = {}
        for name in self._fields:
            if name in columns.labels:
                fields[name] = columns.labels[name].values[columns.labels[name].codes[row]]
            else:
                number = float(columns.numbers[name][row])
                fields[name] = None if np.isnan(number) else number
        key = columns.labels[self._on]
        return SideRow(
            offset=int(columns.offset[row]), row=int(columns.row[row]), time=int(columns.event_time[row]),
            key=key.values[key.codes[row]], fields=fields,
        )  # fmt: skip

    def _output(
        self, key: bytes | None, row: SideRow | None = None, progress: Progress | None = None
    ) -> Output:
        shuffled = Shuffled(
            join=self._join, side=self._side, partition=self._partition, row=row, progress=progress
        )
        return Output("partial", key, self._encode(shuffled), to="all" if key is None else "key")

    def _progress(self, watermark: int) -> Output:
        return self._output(None, progress=Progress(watermark=watermark, idle=self._idle))


class JoinTask:
    """Implements ``streams.task.Task`` for a join, on one partition of its shuffled rows.

    Rows wait until the watermarks of all upstream partitions that are not idle have passed them (if all are idle, until the
    furthest has), and are taken in order of (event time, topic, partition, offset). So results do not depend on how the inputs
    interleave. What comes after its time has been taken is late. A windowed join lets go of rows once nothing can find them any
    more; a lookup join keeps the newest right row of each key.
    """

    def __init__(
        self,
        name: str,
        topics: tuple[str, str],
        within: int | None,
        partitions: int,
        window: int | None = None,
    ) -> None:
        self._name, self._topics, self._window = name, topics, window
        self._within = within if window is None else window - 1
        self._upstream = {
            (side, number): (BEGINNING, False) for side in (0, 1) for number in range(partitions)
        }
        self._watermark = BEGINNING
        self._rows = HeldRows(self._within)
        self._decoder, self._encode = msgspec.json.Decoder(Shuffled), msgspec.json.Encoder().encode
        self._runs = Runs("rows")

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, up to which rows have been joined."""
        return self._watermark

    @property
    def max_event_time(self) -> int:
        """The watermark: what waits has not happened yet here."""
        return self._watermark

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and watermarks and return what they cause, in order."""
        outputs: list[Output] = []
        for i in range(len(columns)):
            key, value = columns.raw(i)
            try:
                shuffled = self._decoder.decode(value)
            except msgspec.MsgspecError as error:
                outputs.append(buried(columns, i, ErrorCode.MALFORMED, str(error), "decode"))
                continue
            if shuffled.join != self._name:
                continue
            if shuffled.row is not None:
                outputs += self._wait(shuffled, shuffled.row, key, value)
            if shuffled.progress is not None:
                outputs += self._come_to(shuffled, shuffled.progress)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:  # noqa: ARG002
        """Return nothing: upstream tasks say what is idle."""
        return []

    def _wait(self, shuffled: Shuffled, row: SideRow, key: bytes | None, value: bytes) -> list[Output]:
        if row.time < self._watermark:
            headers = (
                ("tidewatch.late.watermark", b"%d" % self._watermark),
                ("tidewatch.late.time", b"%d" % row.time),
            )
            return [Output("late", key, value, headers)]
        topic = self._topics[shuffled.side]
        place = (shuffled.partition, row.offset, row.row)
        self._rows.wait(Held(row.time, topic, *place, shuffled.side, row.key, row.fields))
        return []

    def _come_to(self, shuffled: Shuffled, progress: Progress) -> list[Output]:
        self._upstream[shuffled.side, shuffled.partition] = progress.watermark, progress.idle
        reached = [watermark for watermark, _ in self._upstream.values()]
        waited_for = [watermark for watermark, idle in self._upstream.values() if not idle]
        watermark = BEGINNING if min(reached) == BEGINNING else min(waited_for, default=max(reached))
        if watermark <= self._watermark:
            return []
        self._watermark = watermark
        outputs = [output for held in self._rows.ready(watermark) for output in self._match(held)]
        self._rows.forget(watermark)
        return outputs

    def _match(self, held: Held) -> list[Output]:
        others = self._rows.others(held)
        if self._within is None:
            if held.side == 1:
                self._rows.keep(held)
                return []
            return [self._joined(held, others[-1] if others else None)]
        self._rows.keep(held)
        near = [other for other in others if self._near(held, other)]
        return [self._joined(held, other) if held.side == 0 else self._joined(other, held) for other in near]

    def _near(self, held: Held, before: Held) -> bool:
        if self._window is not None:
            return held.time // self._window == before.time // self._window
        return held.time - before.time <= (self._within or 0)

    def _joined(self, left: Held, right: Held | None) -> Output:
        pair = Joined(
            id=f"{self._name}|{left.place}|{'' if right is None else right.place}",
            join=self._name,
            key=left.key,
            time=left.time if right is None else max(left.time, right.time),
            left_time=left.time,
            right_time=None if right is None else right.time,
            left=left.fields,
            right=None if right is None else right.fields,
        )
        return Output("result", left.key.encode(), self._encode(pair))

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        upstream = [[*place, *state] for place, state in self._upstream.items()]
        blocks: Blocks = {"header": msgspec.msgpack.encode([STATE_FORMAT, self._watermark, upstream])}
        return blocks | self._runs.since(self._rows.save(full=full), self._rows.alive(), full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state.

        Raises ValueError for state of another format.
        """
        if not blocks:
            return
        form, *rest = msgspec.msgpack.decode(blocks["header"])
        if form != STATE_FORMAT:
            raise ValueError(f"the join's rows do not have format {STATE_FORMAT}")
        self._watermark, upstream = rest
        self._upstream = {(side, number): (watermark, idle) for side, number, watermark, idle in upstream}
        self._rows.load(self._runs.read(blocks), self._watermark)
