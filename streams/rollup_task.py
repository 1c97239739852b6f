"""The second phase of roll-ups: partial windows of all upstream partitions, added up when all have come far enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from schemas.columns import Columns
from schemas.contributions import Contribution, Partial, Progress
from schemas.errors import ErrorCode
from streams.blocks import Changes, cut, joined
from streams.burial import buried
from streams.extras import Value, values_of
from streams.frames import Firing
from streams.groups import Groups
from streams.merging import reduced
from streams.pipeline import Pipeline, RollUp
from streams.sketches.codes import decode_many
from streams.sketches.fixed_point import Resolution
from streams.sketches.mapping import LogMapping
from streams.summaries import Summaries
from streams.task import Blocks, Output
from streams.watch import Watch
from streams.watermark import BEGINNING
from streams.whole import Whole
from streams.windows import Closed

STATE_FORMAT = 1

Place = tuple[str, int, int]  # roll-up, start, end


@dataclass(slots=True)
class _Window:
    """The partial sums of one window by group and upstream partition, and what was published of it.

    ``on_time`` holds what each partition had at the window's end, ``newest`` its latest word.
    """

    on_time: dict[str, dict[int, Partial]] = field(default_factory=dict)
    newest: dict[str, dict[int, Partial]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)


class RollUpTask:
    """Implements ``streams.task.Task`` for the roll-ups of a pipeline, on one partition of their topic.

    The watermark is the minimum over all upstream partitions that are not idle; if all are, the maximum. A window closes when it
    passes the end (revision 0, of what each partition had when the window ended there), and once more at end + lateness for the
    groups that late rows have changed. What comes later, until the window is let go, is published at once. A partial sum replaces
    the one of its upstream partition before it, and they are added up in the order of partitions: so the sums do not depend on
    how the partitions' records interleave.
    """

    def __init__(self, pipeline: Pipeline, partitions: int, partition: int) -> None:
        self._pipeline, self._partition = pipeline, partition
        self._mapping = LogMapping(pipeline.alpha)
        self._views = {r.name: _View(pipeline, r, self._mapping) for r in pipeline.rollups}
        self._upstream = [(BEGINNING, False)] * partitions
        self._windows: dict[Place, _Window] = {}
        self._watermark = BEGINNING
        self._decoder = msgspec.json.Decoder(Contribution)
        self._changes = Changes()

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, before which nothing more is expected."""
        return self._watermark

    @property
    def max_event_time(self) -> int:
        """The watermark: contributions have no event time of their own."""
        return self._watermark

    def process(self, columns: Columns) -> list[Output]:
        """Take the next contributions and return what they cause, in order."""
        outputs: list[Output] = []
        for row in range(len(columns)):
            key, value = columns.raw(row)
            try:
                contribution = self._decoder.decode(value)
            except msgspec.MsgspecError as error:
                outputs.append(buried(columns, row, ErrorCode.MALFORMED, str(error), "decode"))
                continue
            if contribution.pipeline != self._pipeline.name:
                continue
            offset, upstream = int(columns.offset[row]), contribution.partition
            if contribution.partial is not None:
                outputs += self._take(upstream, contribution.partial, offset, key, value)
            if contribution.progress is not None:
                outputs += self._come_to(upstream, contribution.progress, offset)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:  # noqa: ARG002
        """Return nothing: upstream tasks say what is idle."""
        return []

    # --- contributions

    def _take(
        self, upstream: int, partial: Partial, offset: int, key: bytes | None, value: bytes
    ) -> list[Output]:
        view = self._views.get(partial.rollup)
        if view is None:
            return []
        if partial.end + self._keep_ms(view.rollup) <= self._watermark:
            fields = {"partition": upstream, "offset": offset, "watermark": self._watermark}
            headers = tuple((f"tidewatch.late.{name}", b"%d" % number) for name, number in fields.items())
            return [Output("late", key, value, headers)]
        place = partial.rollup, partial.start, partial.end
        window = self._windows.setdefault(place, _Window())
        window.newest.setdefault(partial.group, {})[upstream] = partial
        closed = partial.end <= self._watermark
        if not closed and partial.revision == 0:
            window.on_time.setdefault(partial.group, {})[upstream] = partial
            return []
        window.touched.add(partial.group)
        if partial.end + self._pipeline.allowed_lateness_ms > self._watermark:
            return []
        window.touched.discard(partial.group)
        return self._publish(place, window.newest, [partial.group], offset)

    def _come_to(self, upstream: int, progress: Progress, offset: int) -> list[Output]:
        self._upstream[upstream] = progress.watermark, progress.idle
        reached = [watermark for watermark, _ in self._upstream]
        waited_for = [watermark for watermark, idle in self._upstream if not idle]
        watermark = BEGINNING if min(reached) == BEGINNING else min(waited_for, default=max(reached))
        outputs: list[Output] = []
        if watermark > self._watermark:
            before, self._watermark = self._watermark, watermark
            outputs = self._fire(before, offset)
        return outputs

    def _fire(self, before: int, offset: int) -> list[Output]:
        """Publish the windows that the watermark has passed, in order of (due, roll-up, start), and drop those that are over."""
        waits = {0, self._pipeline.allowed_lateness_ms}
        due = [
            (place[2] + wait, place, wait == 0)
            for place in self._windows
            for wait in waits
            if before < place[2] + wait <= self._watermark
        ]
        outputs: list[Output] = []
        for _, place, first in sorted(due):
            window = self._windows[place]
            if first:
                outputs += self._publish(place, window.on_time, window.on_time, offset)
                window.on_time = {}
            else:
                outputs += self._publish(place, window.newest, window.touched, offset)
                window.touched = set()
        for place in [p for p in self._windows if self._over(p)]:
            del self._windows[place]
        return outputs

    def _over(self, place: Place) -> bool:
        return place[2] + self._keep_ms(self._views[place[0]].rollup) <= self._watermark

    def _keep_ms(self, rollup: RollUp) -> int:
        return self._pipeline.allowed_lateness_ms + rollup.retain_ms

    def _publish(
        self, place: Place, parts: Mapping[str, dict[int, Partial]], groups: Iterable[str], offset: int
    ) -> list[Output]:
        """Publish the given groups of a window in order of their names."""
        names = sorted(groups)
        if not names:
            return []
        window, view = self._windows[place], self._views[place[0]]
        revisions = [window.revisions.get(name, -1) + 1 for name in names]
        window.revisions.update(zip(names, revisions, strict=True))
        chosen = [parts[name] for name in names]
        return view.outputs(place, chosen, revisions, self._watermark, offset, self._partition)

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        header = [STATE_FORMAT, self._watermark, self._upstream]
        blocks = {"header": msgspec.msgpack.encode(header)}
        windows = {f"{name}|{start}|{end}": w for (name, start, end), w in sorted(self._windows.items())}
        blocks |= cut("window", {name: _packed(window) for name, window in windows.items()})
        for name, view in self._views.items():
            blocks |= cut(f"view-{name}", view.pack())
        return self._changes.since(blocks, full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        _, self._watermark, upstream = msgspec.msgpack.decode(blocks["header"])
        self._upstream = [(watermark, idle) for watermark, idle in upstream]
        for name, packed in joined(blocks, "window").items():
            rollup, start, end = name.split("|")
            self._windows[rollup, int(start), int(end)] = _unpacked(packed)
        for name, view in self._views.items():
            view.unpack(joined(blocks, f"view-{name}"))
        self._changes.begin(blocks)


class _View:
    """One roll-up: its groups, rules and summaries. Groups are numbered as they are first published."""

    def __init__(self, pipeline: Pipeline, rollup: RollUp, mapping: LogMapping) -> None:
        self.rollup, self._mapping, self._extras = rollup, mapping, pipeline.extras
        self._resolution = None if pipeline.resolution is None else Resolution(pipeline.resolution)
        name = f"{pipeline.name}:{rollup.name}"
        self._groups = Groups(rollup.by, ())
        self._summaries = Summaries(name, self._groups, mapping, pipeline.levels)
        self._watch = Watch(name, rollup.rules, self._groups, mapping)

    def outputs(
        self,
        place: Place,
        parts: list[dict[int, Partial]],
        revisions: list[int],
        watermark: int,
        offset: int,
        partition: int,
    ) -> list[Output]:
        """Return summaries and alerts of one window, given each group's partial sums by upstream partition."""
        flat = [(row, part[number]) for row, part in enumerate(parts) for number in sorted(part)]
        rows = np.array([row for row, _ in flat], np.int32)
        closed = closed_of(self._mapping, [partial for _, partial in flat], self._resolution)
        total = reduced(closed, rows)
        codes = [
            self._groups.code(tuple(_any(part).labels[name] for name in self.rollup.by)) for part in parts
        ]
        total = replace(total, group=np.array(codes, np.int32))
        _, start, end = place
        n, revision = len(parts), np.array(revisions, np.int64)
        when, begin = np.full(n, end, np.int64), np.full(n, start, np.int64)
        firing = Firing(when, begin, when, revision, revision == 0, total, lambda: total)
        outputs = self._summaries.of(firing, extras=self._values(parts))
        after = np.full(n, watermark)
        self._watch.windows(firing, np.zeros(n, np.int64), after)
        return outputs + self._watch.alerts(np.array([offset]), partition, after[:1])[1]

    def _values(self, parts: list[dict[int, Partial]]) -> list[dict[str, Value]] | None:
        """Return the optional aggregates of each group, merged in the order of upstream partitions."""
        if not self._extras:
            return None
        return [
            values_of(
                self._extras,
                [
                    extra.merge([extra.unpack(part[number].extras[i]) for number in sorted(part)])
                    for i, extra in enumerate(self._extras)
                ],
            )
            for part in parts
        ]

    def pack(self) -> dict[str, bytes]:
        """Return groups and rules as named parts."""
        rules = {f"rule-{name}": state for name, state in self._watch.pack().items()}
        return {"groups": msgspec.msgpack.encode(self._groups.kept), **rules}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over packed parts."""
        self._groups.load(msgspec.msgpack.decode(parts["groups"]))
        rules = {n.removeprefix("rule-"): state for n, state in parts.items() if n != "groups"}
        self._watch.unpack(rules)


def closed_of(mapping: LogMapping, partials: list[Partial], resolution: Resolution | None = None) -> Closed:
    """Return partial sums as a closed window, one row each and all in group 0; whole ones where a resolution is declared."""
    columns = ("sum", "min", "max", "first", "last", "squares")
    floats = {name: np.array([getattr(p, name) for p in partials], np.float64) for name in columns}
    floats |= {
        "shift": np.array([p.mean for p in partials], np.float64),
        "from_shift": np.zeros(len(partials)),
    }
    times = {
        name: np.array([getattr(p, name) for p in partials], np.int64) for name in ("first_time", "last_time")
    }
    count = np.array([p.count for p in partials], np.int64)
    indptr, codes, counts = decode_many(mapping, [p.sketch for p in partials])
    sums = [partial.whole for partial in partials if partial.whole is not msgspec.UNSET]
    whole = None
    if resolution is not None and len(sums) == len(partials):
        whole = Whole.of(resolution, [int(total) for total, _ in sums], [int(squares) for _, squares in sums])
    group = np.zeros(len(partials), np.int32)
    return Closed(partials[0].start, group, count, floats, times, indptr, codes, counts, whole)


def _any(part: Mapping[int, Partial]) -> Partial:
    return next(iter(part.values()))


_Parts = list[tuple[str, list[tuple[int, Partial]]]]


def _packed(window: _Window) -> bytes:
    parts = [
        [[name, sorted(part.items())] for name, part in sorted(held.items())]
        for held in (window.on_time, window.newest)
    ]
    return msgspec.msgpack.encode([*parts, sorted(window.revisions.items()), sorted(window.touched)])


def _unpacked(packed: bytes) -> _Window:
    kind = tuple[_Parts, _Parts, list[tuple[str, int]], list[str]]
    *parts, revisions, touched = msgspec.msgpack.decode(packed, type=kind)
    on_time, newest = ({name: dict(part) for name, part in held} for held in parts)
    return _Window(on_time, newest, dict(revisions), set(touched))
