"""The task of a pipeline: windows, late rows and rules, as a function of the record sequence."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from schemas.deadletters import headers_for
from schemas.results import Alert, WindowSummary
from streams.frames import Firing, Frames, TumblingFrames
from streams.groups import Groups
from streams.hopping import HoppingFrames
from streams.pipeline import Hopping, Pipeline, Session
from streams.rules.base import Rule, Samples, Transition
from streams.sessions import SessionFrames
from streams.sketches.codes import encode_many, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.task import Blocks, Output
from streams.watermark import BEGINNING, watermarks

BLOCK = 400_000
STATE_FORMAT = 2

Bools = NDArray[np.bool_]


class WindowTask:
    """Implements ``streams.task.Task`` for a pipeline.

    A window fires at the row whose watermark passes its end, in order of (end, group): revision 0. If rows came later but within
    the allowed lateness, those groups are published once more, as revision 1, when the watermark passes end + lateness.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._mapping = LogMapping(pipeline.alpha)
        self._levels = np.array(pipeline.levels)
        self._level_names = [f"{level:g}" for level in pipeline.levels]
        self._groups = Groups(pipeline.group_by, pipeline.keep)
        self._frames: Frames = frames_of(pipeline)
        self._rules: list[Rule] = [declaration.build() for declaration in pipeline.rules]
        self._watermark = self._max_time = BEGINNING
        self._partition = 0
        self._encode = msgspec.json.Encoder().encode
        self._digests: dict[str, bytes] = {}

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
        outputs = [
            Output("dead", bad.key, bad.value, headers_for(bad, columns.topic, columns.partition, "decode"))
            for bad in columns.rejected
        ]
        if len(columns):
            numbers = dict(columns.numbers) | {d.name: d.compute(columns) for d in self._pipeline.derived}
            value = numbers[self._pipeline.value]
            after = watermarks(self._watermark, columns.event_time, self._pipeline.out_of_orderness_ms)
            moved = np.concatenate([[self._watermark], after])
            self._partition, begin = columns.partition, 0
            while begin < len(columns):
                begin = self._segment(columns, value, moved, begin, outputs)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the watermark because the partition was idle, as if just before the record at ``position``."""
        outputs: list[Output] = []
        if watermark > self._watermark:
            self._watermark = watermark
            moved = np.array([watermark])
            transitions = self._fire(np.array([0]), moved, outputs)
            for number, rule in enumerate(self._rules):
                transitions += [(number, t) for t in rule.advance(watermark, 0)]
            self._alert(transitions, np.array([position]), self._partition, outputs)
        return outputs

    # --- rows

    def _segment(
        self,
        columns: Columns,
        value: NDArray[np.float64],
        moved: NDArray[np.int64],
        begin: int,
        outputs: list[Output],
    ) -> int:
        """Process rows from ``begin`` to the first that belongs to a window fired on the way; return where to go on.

        ``moved`` is the watermark before each row and after the last, shape (n + 1,).
        """
        before = moved[begin:-1]
        n = self._frames.stop(
            columns.event_time[begin:],
            before,
            self._watermark,
            lambda row: self._groups.find(columns, begin + row),
        )
        rows = slice(begin, begin + n)
        before, after, time = before[:n], moved[begin + 1 : begin + n + 1], columns.event_time[rows]
        here = columns.take(rows, columns.start, columns.next)
        keep = self._kept(here)
        late, counts = self._frames.judge(time, before, partial(self._groups.find, here))
        self._late(here, late & keep, before, outputs)
        used = np.flatnonzero(keep & counts)
        transitions = self._use(here, value[rows], time, before, after, used)
        self._watermark = int(after[-1])
        self._max_time = max(self._max_time, int(time.max()))
        transitions += self._fire(np.arange(n), after, outputs)
        self._alert(transitions, columns.offset[rows], columns.partition, outputs)
        return begin + n

    def _kept(self, columns: Columns) -> Bools:
        keep = np.ones(len(columns), bool)
        for condition in self._pipeline.filters:
            keep &= condition.keep(columns)
        return keep

    def _late(self, columns: Columns, late: Bools, before: NDArray[np.int64], outputs: list[Output]) -> None:
        for row in np.flatnonzero(late).tolist():
            key, raw = columns.raw(row)
            fields = {
                "tidewatch.late.partition": columns.partition,
                "tidewatch.late.offset": columns.offset[row],
                "tidewatch.late.row": columns.row[row],
                "tidewatch.late.time": columns.event_time[row],
                "tidewatch.late.watermark": before[row],
            }
            outputs.append(
                Output("late", key, raw, tuple((k, str(int(v)).encode()) for k, v in fields.items()))
            )

    def _use(
        self,
        columns: Columns,
        value: NDArray[np.float64],
        time: NDArray[np.int64],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
        used: NDArray[np.intp],
    ) -> list[tuple[int, Transition]]:
        if not len(used):
            return []
        group = self._groups.encode(columns.take(used, columns.start, columns.next))
        value, time = value[used], time[used]
        self._frames.add(group, value, time, self._mapping.index(value), before[used])
        samples = Samples(len(self._groups), group, time, value, used.astype(np.int64), after[used])
        return [
            (number, transition)
            for number, rule in enumerate(self._rules)
            if rule.source == "row"
            for transition in rule.update(samples)
        ]

    # --- windows

    def _fire(
        self, rows: NDArray[np.int64], after: NDArray[np.int64], outputs: list[Output]
    ) -> list[tuple[int, Transition]]:
        """Publish what the watermark has made due; ``after`` is the watermark after each of ``rows``."""
        transitions: list[tuple[int, Transition]] = []
        for firing in self._frames.due(self._watermark):
            cause = rows[np.searchsorted(after, firing.when)]
            transitions += self._watch(firing, cause, after[np.searchsorted(after, firing.when)])
            self._publish(firing, outputs)
        return transitions

    def _watch(
        self, firing: Firing, cause: NDArray[np.int64], watermark: NDArray[np.int64]
    ) -> list[tuple[int, Transition]]:
        shown = firing.sampled
        if not shown.any():
            return []
        closed = firing.closed
        return [
            (number, transition)
            for number, rule in enumerate(self._rules)
            if rule.source != "row"
            for transition in rule.update(
                Samples(
                    len(self._groups), closed.group[shown], firing.end[shown], closed.column(rule.source)[shown],
                    cause[shown], watermark[shown],
                )
            )
        ]  # fmt: skip

    def _publish(self, firing: Firing, outputs: list[Output]) -> None:
        pipeline, groups, names, closed = self._pipeline, self._groups, self._level_names, firing.closed
        low, high = closed.floats["min"], closed.floats["max"]
        levels = quantiles_many(
            self._mapping, closed.indptr, closed.codes, closed.counts, low, high, self._levels
        ).tolist()
        sketches = encode_many(self._mapping, closed.indptr, closed.codes, closed.counts)
        aggregates = zip(
            firing.start.tolist(), firing.end.tolist(), firing.revision.tolist(), closed.group.tolist(),
            closed.count.tolist(), closed.floats["sum"].tolist(), closed.mean.tolist(),
            closed.variance.tolist(), low.tolist(), high.tolist(), closed.floats["first"].tolist(),
            closed.floats["last"].tolist(), strict=True,
        )  # fmt: skip
        for i, row in enumerate(aggregates):
            start, end, revision, group, count, total, mean, variance, lowest, highest, first, last = row
            name = groups.names[group]
            summary = WindowSummary(
                id=f"{pipeline.name}|{name}|{start}|{end}|{revision}",
                pipeline=pipeline.name,
                group=name,
                labels=groups.labels(group),
                start=start,
                end=end,
                revision=revision,
                count=count,
                sum=total,
                mean=mean,
                variance=variance,
                min=lowest,
                max=highest,
                first=first,
                last=last,
                quantiles=dict(zip(names, levels[i], strict=True)),
                alpha=pipeline.alpha,
                sketch=sketches[i],
            )
            outputs.append(Output("result", groups.keys[group], self._encode(summary)))

    # --- alerts

    def _alert(
        self,
        transitions: list[tuple[int, Transition]],
        offsets: NDArray[np.int64],
        partition: int,
        outputs: list[Output],
    ) -> None:
        pipeline, groups = self._pipeline, self._groups
        ordered = sorted(enumerate(transitions), key=lambda e: (e[1][1].cause, e[1][0], e[1][1].group, e[0]))
        for _, (number, t) in ordered:
            rule, name = self._rules[number], groups.names[t.group]
            alert_id = f"{pipeline.name}|{rule.name}|{name}|{t.opened_at}"
            alert = Alert(
                id=f"{alert_id}|{t.revision}",
                alert_id=alert_id,
                pipeline=pipeline.name,
                rule=rule.name,
                kind=rule.kind,
                group=name,
                labels=groups.labels(t.group),
                state=t.state,
                severity=t.severity,
                revision=t.revision,
                opened_at=t.opened_at,
                time=t.time,
                partition=partition,
                offset=int(offsets[t.cause]),
                value=t.value,
                threshold=t.threshold,
                message=t.message,
                evidence=t.evidence,
            )
            outputs.append(Output("alert", groups.keys[t.group], self._encode(alert)))

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        blocks: dict[str, bytes] = {}
        header = [STATE_FORMAT, self._watermark, self._max_time, self._partition]
        blocks["header"] = msgspec.msgpack.encode(header)
        for number, first in enumerate(range(0, len(self._groups), 1024)):
            blocks[f"groups/{number:06d}"] = msgspec.msgpack.encode(self._groups.rows(first))
        for name, packed in self._frames.pack().items():
            blocks |= _parts(f"window/{name}", packed)
        for number, rule in enumerate(self._rules):
            blocks |= _parts(f"rule/{number}", rule.snapshot())
        digests = {name: hashlib.blake2b(value, digest_size=16).digest() for name, value in blocks.items()}
        before, self._digests = self._digests, digests
        if full:
            return dict(blocks)
        changed: Blocks = {name: value for name, value in blocks.items() if before.get(name) != digests[name]}
        return changed | dict.fromkeys(before.keys() - blocks.keys())

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        _, self._watermark, self._max_time, self._partition = msgspec.msgpack.decode(blocks["header"])
        for name in sorted(n for n in blocks if n.startswith("groups/")):
            self._groups.load(msgspec.msgpack.decode(blocks[name]))
        self._frames.unpack(_joined(blocks, "window"))
        for name, packed in _joined(blocks, "rule").items():
            self._rules[int(name)].restore(packed)
        self._digests = {
            name: hashlib.blake2b(value, digest_size=16).digest() for name, value in blocks.items()
        }


def _parts(name: str, data: bytes) -> dict[str, bytes]:
    return {
        f"{name}/{i:06d}": data[at : at + BLOCK] for i, at in enumerate(range(0, max(len(data), 1), BLOCK))
    }


def _joined(blocks: Mapping[str, bytes], kind: str) -> dict[str, bytes]:
    whole: dict[str, bytes] = {}
    for block in sorted(name for name in blocks if name.startswith(f"{kind}/")):
        name = block.split("/")[1]
        whole[name] = whole.get(name, b"") + blocks[block]
    return whole


def frames_of(pipeline: Pipeline) -> Frames:
    """Return the empty windows of a pipeline's task."""
    window, lateness = pipeline.window, pipeline.allowed_lateness_ms
    if isinstance(window, Hopping):
        return HoppingFrames(window.size_ms, window.hop_ms, lateness)
    if isinstance(window, Session):
        return SessionFrames(window.gap_ms)
    return TumblingFrames(window.size_ms, lateness)
