"""The second phase of roll-ups: partial windows of all upstream partitions, added up when all have come far enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import msgspec
import numpy as np

from schemas.columns import Columns
from schemas.contributions import Contribution, Partial, Progress
from schemas.errors import ErrorCode
from streams.blocks import Changes, Runs, Saved, cut, joined
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

STATE_FORMAT = 2

Place = tuple[str, int, int]  # roll-up, start, end
_ByPartition = list[tuple[int, Partial]]
_Row = tuple[str, _ByPartition, _ByPartition, int, bool]  # group, on time, newest, revision or -1, touched
_AT_ONCE = 100
_GROUPS = "groups"


@dataclass(slots=True)
class _Window:
    """The partial sums of one window by group and upstream partition, and what was published of it.

    ``on_time`` holds what each partition had at the window's end, ``newest`` its latest word. ``changed`` are the groups that
    differ from what was saved last, None where all may.
    """

    on_time: dict[str, dict[int, Partial]] = field(default_factory=dict)
    newest: dict[str, dict[int, Partial]] = field(default_factory=dict)
    revisions: dict[str, int] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    changed: set[str] | None = None

    def save(self, *, full: bool) -> Saved:
        """Return all groups, or those that changed since the last call."""
        whole = full or self.changed is None
        names, self.changed = sorted(self.newest if whole else self.changed or ()), set()
        parts = [names[at : at + _AT_ONCE] for at in range(0, len(names), _AT_ONCE)]
        return Saved(
            [msgspec.msgpack.encode([self._row(name) for name in part]) for part in parts], whole=whole
        )

    def load(self, part: bytes) -> None:
        """Take over groups as they were saved."""
        for name, on_time, newest, revision, touched in msgspec.msgpack.decode(part, type=list[_Row]):
            self.newest[name] = dict(newest)
            if on_time:
                self.on_time[name] = dict(on_time)
            if revision >= 0:
                self.revisions[name] = revision
            (self.touched.add if touched else self.touched.discard)(name)
        self.changed = set()

    def note(self, groups: Iterable[str]) -> None:
        """Remember that groups changed."""
        if self.changed is not None:
            self.changed.update(groups)

    def _row(self, name: str) -> _Row:
        on_time, newest = self.on_time.get(name, {}), self.newest[name]
        revision = self.revisions.get(name, -1)
        return name, sorted(on_time.items()), sorted(newest.items()), revision, name in self.touched


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
        self._changes, self._runs = Changes(), Runs("window")

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
        window.note([partial.group])
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
                window.on_time, window.changed = {}, None
            else:
                outputs += self._publish(place, window.newest, window.touched, offset)
                window.note(window.touched)
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
        small = {"header": msgspec.msgpack.encode(header)}
        for name, view in self._views.items():
            small |= cut(f"view-{name}", view.pack())
        windows = {_name(place): window for place, window in sorted(self._windows.items())}
        saved = {name: window.save(full=full) for name, window in windows.items()}
        blocks = self._changes.since(small, full=full) | self._runs.since(saved, windows, full=full)
        for name, view in self._views.items():
            for number, rows in view.groups.save(full=full).items():
                blocks[f"{_GROUPS}-{name}/{number:06d}"] = rows
        return blocks

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state.

        Raises ValueError for state of another format.
        """
        if not blocks:
            return
        form, self._watermark, upstream = msgspec.msgpack.decode(blocks["header"])
        if form != STATE_FORMAT:
            raise ValueError(f"its roll-ups have format {form}, not {STATE_FORMAT}")
        self._upstream = [(watermark, idle) for watermark, idle in upstream]
        for name, parts in self._runs.read(blocks).items():
            rollup, start, end = name.split("|")
            window = self._windows[rollup, int(start), int(end)] = _Window()
            for part in parts:
                window.load(part)
        for name, view in self._views.items():
            prefix = f"{_GROUPS}-{name}/"
            packed = {
                block.removeprefix(prefix): data for block, data in blocks.items() if block.startswith(prefix)
            }
            view.groups.load({int(number): rows for number, rows in packed.items()})
            view.unpack(joined(blocks, f"view-{name}"))
        kinds = ("window/", f"{_GROUPS}-")
        self._changes.begin({name: data for name, data in blocks.items() if not name.startswith(kinds)})


def _name(place: Place) -> str:
    return "|".join(map(str, place))


class _View:
    """One roll-up: its groups, rules and summaries. Groups are numbered as they are first published."""

    def __init__(self, pipeline: Pipeline, rollup: RollUp, mapping: LogMapping) -> None:
        self.rollup, self._mapping, self._extras = rollup, mapping, pipeline.extras
        self._resolution = None if pipeline.resolution is None else Resolution(pipeline.resolution)
        name = f"{pipeline.name}:{rollup.name}"
        self.groups = Groups(rollup.by, ())
        self._summaries = Summaries(name, self.groups, mapping, pipeline.levels)
        self._watch = Watch(name, rollup.rules, self.groups, mapping)

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
            self.groups.code(tuple(_any(part).labels[name] for name in self.rollup.by)) for part in parts
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
        """Return the rules as named parts."""
        return {f"rule-{name}": state for name, state in self._watch.pack().items()}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over packed parts."""
        self._watch.unpack({name.removeprefix("rule-"): state for name, state in parts.items()})


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
