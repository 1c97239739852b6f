"""The task of a pipeline: windows, late rows and rules, as a function of the record sequence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from schemas.panes import PaneRows
from streams.blocks import Changes, Runs, cut, joined
from streams.burial import rejected
from streams.contributions import Contributions
from streams.exact import ExactWindow
from streams.extras import Extras
from streams.frames import Frames, TumblingFrames
from streams.groups import Groups
from streams.hopping import HoppingFrames
from streams.pipeline import Hopping, Pipeline, Session
from streams.sessions import SessionFrames
from streams.sketches.fixed_point import Resolution
from streams.sketches.mapping import LogMapping
from streams.summaries import Summaries
from streams.task import Blocks, Output
from streams.trace import Trace
from streams.watch import Watch
from streams.watermark import BEGINNING, SILENT, watermarks
from streams.windows import Window

STATE_FORMAT = 4
_READABLE = (3, 4)  # the third has no rows, only groups

Bools = NDArray[np.bool_]


class WindowTask:
    """Implements ``streams.task.Task`` for a pipeline.

    A window fires at the row whose watermark passes its end, in order of (end, group): revision 0. If rows came later but within
    the allowed lateness, those groups are published once more, as revision 1, when the watermark passes end + lateness.
    """

    def __init__(self, pipeline: Pipeline, partition: int = 0) -> None:
        self._pipeline = pipeline
        self._mapping = LogMapping(pipeline.alpha)
        self._groups = Groups(pipeline.group_by, pipeline.keep)
        self._frames: Frames = frames_of(pipeline)
        self._summaries = Summaries(pipeline.name, self._groups, self._mapping, pipeline.levels)
        self._watch = Watch(pipeline.name, pipeline.rules, self._groups, self._mapping)
        self._watermark = BEGINNING if pipeline.begins_ms is None else pipeline.begins_ms
        self._max_time = BEGINNING
        self._partition = partition
        self._extras = extras_of(pipeline)
        self._rollups = Contributions(pipeline, self._groups, self._mapping, partition, self._extras)
        self._changes = Changes()
        self._window_runs, self._extra_runs = Runs("window"), Runs("extra")
        self._small: dict[str, bytes] = {}  # what is taken over as a whole on arrival

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
        trace = Trace()
        self.take(columns, trace)
        return rejected(columns) + trace.outputs

    def take(self, columns: Columns, trace: Trace) -> None:
        """Take the next rows and add what they cause, without the letters of rejected records."""
        if len(columns):
            numbers = dict(columns.numbers) | {d.name: d.compute(columns) for d in self._pipeline.derived}
            value = numbers[self._pipeline.value]
            after = watermarks(self._watermark, columns.event_time, self._pipeline.out_of_orderness_ms)
            moved = np.concatenate([[self._watermark], after])
            begin = 0
            while begin < len(columns):
                begin = self._segment(columns, value, moved, begin, trace)

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the watermark because the partition was idle, as if just before the record at ``position``."""
        trace = Trace()
        if watermark > self._watermark:
            self._watermark = watermark
            moved = np.array([watermark])
            self._fire(moved, self._rollups.went_idle(watermark), 0, trace)
            self._watch.advance(watermark)
            trace.add(0, self._watch.alerts(np.array([position]), self._partition, moved)[1])
            trace.add(0, self._turn(position))
        return trace.outputs

    def change_rules(self, text: str) -> None:
        """Let other rules hold from the next window boundary on, as if told just before the next record.

        ``text`` has their specs by name, in JSON, on top of those declared.

        Raises:
            RuleError: they are wrong; then nothing changes.
        """
        self._watch.plan(text, self._boundary())
        if self._watermark <= SILENT:
            self._watch.turn(self._watermark, 0, self._partition)

    @property
    def rules_text(self) -> str:
        """The specs, in force or planned, on top of the rules declared."""
        return self._watch.latest

    def _boundary(self) -> int:
        """Return the end of the window that the watermark is in; sessions have none, so any later watermark will do."""
        window = self._pipeline.window
        if isinstance(window, Session):
            return self._watermark + 1
        return (
            (self._watermark - window.size_ms) // window.every_ms * window.every_ms
            + window.every_ms
            + window.size_ms
        )

    def _turn(self, offset: int) -> list[Output]:
        """Put planned rules in force if the watermark has passed their boundary."""
        boundary = self._watch.boundary
        if boundary is None or self._watermark < boundary:
            return []
        return self._watch.turn(self._watermark, offset, self._partition)

    # --- rows

    def _segment(
        self,
        columns: Columns,
        value: NDArray[np.float64],
        moved: NDArray[np.int64],
        begin: int,
        trace: Trace,
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
        if self._watch.boundary is not None:
            n = min(n, int(np.searchsorted(moved[begin + 1 :], self._watch.boundary)) + 1)
        rows = slice(begin, begin + n)
        before, after, time = before[:n], moved[begin + 1 : begin + n + 1], columns.event_time[rows]
        here = columns.take(rows, columns.start, columns.next)
        keep = self._kept(here)
        late, counts = self._frames.judge(time, before, partial(self._groups.find, here))
        if (
            self._pipeline.begins_ms is not None
        ):  # lateness allowed reaches into windows that the other topic owns
            foreign = time < self._pipeline.begins_ms
            late, counts = late | foreign, counts & ~foreign
        self._late(here, late & keep, before, begin, trace)
        used = np.flatnonzero(keep & counts)
        self._use(here, value[rows], time, before, after, used)
        progress = self._rollups.progress(self._watermark, after)
        self._watermark = int(after[-1])
        self._max_time = max(self._max_time, int(time.max()))
        self._fire(after, progress, begin, trace)
        causes, alerts = self._watch.alerts(columns.offset[rows], columns.partition, after)
        trace.add_each([begin + cause for cause in causes], alerts)
        trace.add(begin + n - 1, self._turn(int(columns.offset[begin + n - 1])))
        return begin + n

    def _kept(self, columns: Columns) -> Bools:
        keep = np.ones(len(columns), bool)
        for condition in self._pipeline.filters:
            keep &= condition.keep(columns)
        if self._pipeline.ends_ms is not None:
            keep &= columns.event_time < self._pipeline.ends_ms
        return keep

    def _late(
        self, columns: Columns, late: Bools, before: NDArray[np.int64], begin: int, trace: Trace
    ) -> None:
        for row in np.flatnonzero(late).tolist():
            key, raw = columns.raw(row)
            fields = {
                "tidewatch.late.partition": columns.partition,
                "tidewatch.late.offset": columns.offset[row],
                "tidewatch.late.row": columns.row[row],
                "tidewatch.late.time": columns.event_time[row],
                "tidewatch.late.watermark": before[row],
            }
            headers = tuple((k, str(int(v)).encode()) for k, v in fields.items())
            trace.add(begin + row, [Output("late", key, raw, headers)])

    def _use(
        self,
        columns: Columns,
        value: NDArray[np.float64],
        time: NDArray[np.int64],
        before: NDArray[np.int64],
        after: NDArray[np.int64],
        used: NDArray[np.intp],
    ) -> None:
        if not len(used):
            return
        if len(used) < len(columns):
            columns = columns.take(used, columns.start, columns.next)
            value, time, before = value[used], time[used], before[used]
        group = self._groups.encode(columns)
        if columns.panes is not None:
            self._merge(columns.panes, group, value, time, before)
            return
        self._frames.add(group, value, time, self._mapping.index(value), before)
        self._extras.add(group, columns)
        self._watch.rows(group, time, value, used.astype(np.int64), after[used])

    def _merge(
        self,
        panes: PaneRows,
        group: NDArray[np.int32],
        value: NDArray[np.float64],
        time: NDArray[np.int64],
        before: NDArray[np.int64],
    ) -> None:
        """Add rows and panes; pipelines that take panes have neither extras nor rules that look at rows."""
        rows, made = np.flatnonzero(panes.index < 0), np.flatnonzero(panes.index >= 0)
        if len(rows):
            self._frames.add(
                group[rows], value[rows], time[rows], self._mapping.index(value[rows]), before[rows]
            )
        if len(made):
            self._frames.merge(
                group[made], panes.table, panes.index[made].astype(np.intp), time[made], before[made]
            )

    def _fire(
        self, after: NDArray[np.int64], progress: list[tuple[int, Output]], begin: int, trace: Trace
    ) -> None:
        """Publish what the watermark has made due; ``after`` is the watermark after each row from ``begin`` on.

        ``progress`` is what roll-ups are to know, by the row after whose windows it goes out.
        """
        for firing in self._frames.due(self._watermark):
            cause = np.searchsorted(after, firing.when)
            self._watch.windows(firing, cause, after[cause])
            summaries = self._summaries.of(firing, extras=self._extras.values(firing))
            trace.add_each((begin + cause).tolist(), summaries)
            while progress and progress[0][0] < cause[0]:
                row, output = progress.pop(0)
                trace.add(begin + row, [output])
            trace.add(begin + int(cause[0]), self._rollups.of(firing))
        for row, output in progress:
            trace.add(begin + row, [output])
        self._extras.drop(self._watermark)

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        header = [STATE_FORMAT, self._watermark, self._max_time, self._rollups.idle]
        small = {"header": msgspec.msgpack.encode(header)}
        small |= cut("frames", self._frames.pack()) | cut("rule", self._watch.pack())
        blocks = self._changes.since(small, full=full)
        for number, rows in self._groups.save(full=full).items():
            blocks[f"groups/{number:06d}"] = rows
        for runs, kept in ((self._window_runs, self._frames), (self._extra_runs, self._extras)):
            blocks |= runs.since(kept.save(full=full), kept.alive(), full=full)
        return blocks

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state.

        Raises ValueError for state of another format.
        """
        if blocks:
            self.follow(blocks, ())
            self.arrive()

    @property
    def follows(self) -> bool:
        """Whether it can be kept as a copy: not with what is small in bytes and large in memory, or packed as a whole."""
        return not self._pipeline.extras and not isinstance(self._pipeline.window, Session)

    @property
    def nbytes(self) -> int:
        """About how many bytes of memory the state takes."""
        small = sum(map(len, self._small.values()))
        return small + self._groups.nbytes + self._frames.nbytes

    def follow(self, changed: Mapping[str, bytes], gone: Collection[str]) -> None:
        """Take over blocks that another task has saved since it was last followed, and let go of those that are gone.

        Raises ValueError for state of another format.
        """
        self._small = {name: data for name, data in self._small.items() if name not in gone}
        self._small |= {name: data for name, data in changed.items() if _is_small(name)}
        if "header" in changed:
            self._read_header()
        groups = {name.split("/")[1]: data for name, data in changed.items() if name.startswith("groups/")}
        self._groups.load({int(number): rows for number, rows in groups.items()})
        dropped, windows = self._window_runs.follow(changed, gone)
        self._check_end(windows)
        self._frames.load(windows, dropped)
        self._extras.load(self._extra_runs.follow(changed, gone)[1])

    def arrive(self) -> None:
        """Go on from the state that was taken over."""
        self._read_header()
        self._frames.unpack(joined(self._small, "frames"))
        self._watch.unpack(joined(self._small, "rule"))
        self._changes.begin(self._small)
        self._small = {}

    def _read_header(self) -> None:
        form, *rest = msgspec.msgpack.decode(self._small["header"])
        if form not in _READABLE:
            raise ValueError(f"its windows have format {form}, not {STATE_FORMAT}")
        self._watermark, self._max_time, self._rollups.idle = rest

    def _check_end(self, windows: Iterable[str]) -> None:
        """Refuse an end that rows already counted lie behind, as another topic would count them again."""
        ends = self._pipeline.ends_ms
        if ends is not None and any(int(start) >= ends for start in windows):
            raise ValueError(
                f"rows from {ends} on have been counted already; let the pipeline end at a later window"
            )


def _is_small(block: str) -> bool:
    """Whether a block is written by what it holds, rather than by what was added."""
    return not block.startswith(("groups/", "window/", "extra/"))


def extras_of(pipeline: Pipeline) -> Extras:
    """Return the empty optional aggregates of a pipeline's task."""
    window = pipeline.window
    size, every = (1, 1) if isinstance(window, Session) else (window.size_ms, window.every_ms)
    return Extras(pipeline.extras, size, every, pipeline.allowed_lateness_ms)


def frames_of(pipeline: Pipeline) -> Frames:
    """Return the empty windows of a pipeline's task."""
    window, lateness = pipeline.window, pipeline.allowed_lateness_ms
    if isinstance(window, Session):
        return SessionFrames(window.gap_ms)
    make: Callable[[int], Window] = Window
    if pipeline.resolution is not None:
        make = partial(ExactWindow, resolution=Resolution(pipeline.resolution))
    if isinstance(window, Hopping):
        return HoppingFrames(window.size_ms, window.hop_ms, lateness, make)
    return TumblingFrames(window.size_ms, lateness, make)
