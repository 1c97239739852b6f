"""The first phase of roll-ups: a partition's windows added up by the roll-up's groups, and its watermark."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.contributions import Contribution, Partial, Progress
from streams.extras import Extras
from streams.frames import Firing, Ints
from streams.groups import Groups, name_of
from streams.merging import reduced, selected
from streams.pipeline import Pipeline, RollUp, Session
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from streams.task import Output


class Contributions:
    """What one partition sends to the roll-ups of a pipeline; nothing where there are none.

    A window's partial sums go out when it fires and again, whole, when late rows have changed them. The watermark goes out at
    every row at which it passes the end of a window or of its allowed lateness, after the partial sums which that row caused.
    """

    def __init__(
        self, pipeline: Pipeline, groups: Groups, mapping: LogMapping, partition: int, extras: Extras
    ) -> None:
        self._pipeline, self._partition, self._mapping = pipeline, partition, mapping
        self._extras, self._groups = extras, groups
        self._levels = [_Level(rollup, groups) for rollup in pipeline.rollups]
        self._encode = msgspec.json.Encoder().encode
        self._together = {rollup.name: rollup.together for rollup in pipeline.rollups}
        self.idle = False

    def of(self, firing: Firing) -> list[Output]:
        """Return the partial sums of one window for every roll-up, in order of its groups' first appearance."""
        return [self._output(partial) for level in self._levels for partial in self._partials(level, firing)]

    def progress(self, before: int, after: Ints) -> list[tuple[int, Output]]:
        """Return (row, watermark) for the rows at which it passes a window; ``before`` is the watermark before the first."""
        if not self._levels:
            return []
        window = self._pipeline.window
        assert not isinstance(window, Session)
        moved = np.concatenate([[before], after])
        passed = np.zeros(len(after), bool)
        for wait in {0, self._pipeline.allowed_lateness_ms}:
            passed |= np.diff((moved - window.size_ms - wait) // window.every_ms) > 0
        if self.idle:
            passed[0], self.idle = True, False
        return [(row, self._progress(int(after[row]))) for row in np.flatnonzero(passed).tolist()]

    def went_idle(self, watermark: int) -> list[tuple[int, Output]]:
        """Return (0, watermark) that says that nobody need wait for this partition."""
        if not self._levels:
            return []
        self.idle = True
        return [(0, self._progress(watermark))]

    def _partials(self, level: _Level, firing: Firing) -> Iterator[Partial]:
        closed = firing.closed
        codes = level.codes(closed.group)
        if firing.revision[0]:
            touched, closed = codes, firing.whole()
            codes = level.codes(closed.group)
            rows = np.flatnonzero(np.isin(codes, touched))
            closed, codes = selected(closed, rows), codes[rows]
        if self._pipeline.resolution is not None:
            # The order in which groups first came must not show in floating sums over them.
            order = np.array(
                sorted(range(len(codes)), key=lambda row: self._groups.names[closed.group[row]]), np.intp
            )
            closed, codes = selected(closed, order), codes[order]
        total = reduced(closed, codes)
        sketches = encode_many(self._mapping, total.indptr, total.codes, total.counts)
        floats, times, whole = total.floats, total.times, total.whole
        for row, code in enumerate(total.group.tolist()):
            labels = level.labels[code]
            yield Partial(
                rollup=level.name,
                group=name_of(labels),
                labels=dict(zip(level.by, labels, strict=True)),
                start=int(firing.start[0]),
                end=int(firing.end[0]),
                revision=int(firing.revision[0]),
                count=int(total.count[row]),
                sum=float(floats["sum"][row]),
                mean=float(floats["shift"][row]),
                squares=float(floats["squares"][row]),
                min=float(floats["min"][row]),
                max=float(floats["max"][row]),
                first=float(floats["first"][row]),
                last=float(floats["last"][row]),
                first_time=int(times["first_time"][row]),
                last_time=int(times["last_time"][row]),
                sketch=sketches[row],
                extras=self._packed(int(firing.start[0]), closed.group[codes == code].tolist()),
                whole=msgspec.UNSET if whole is None else [str(whole.total[row]), str(whole.squares[row])],
            )

    def _packed(self, start: int, groups: list[int]) -> list[bytes]:
        """Return the optional aggregates of a window over some of the pipeline's groups, in their order."""
        declared = self._pipeline.extras
        states = [self._extras.states(start, group) for group in groups] if declared else []
        return [extra.pack(extra.merge([held[i] for held in states])) for i, extra in enumerate(declared)]

    def _output(self, partial: Partial) -> Output:
        contribution = Contribution(pipeline=self._pipeline.name, partition=self._partition, partial=partial)
        return Output(
            "partial", _key(self._together[partial.rollup], partial), self._encode(contribution), to="key"
        )

    def _progress(self, watermark: int) -> Output:
        progress = Progress(watermark=watermark, idle=self.idle)
        contribution = Contribution(
            pipeline=self._pipeline.name, partition=self._partition, progress=progress
        )
        return Output("partial", None, self._encode(contribution), to="all")


def _key(together: tuple[str, ...], contribution: Partial) -> bytes:
    """Return what decides the partition of a partial window."""
    if not together:
        return contribution.group.encode()
    return name_of(tuple(contribution.labels[label] for label in together)).encode()


class _Level:
    """One roll-up's groups, numbered as they first appear in the order of the pipeline's groups."""

    def __init__(self, rollup: RollUp, groups: Groups) -> None:
        self.name, self.by, self._groups = rollup.name, rollup.by, groups
        self.labels: list[tuple[str, ...]] = []
        self._known: dict[tuple[str, ...], int] = {}
        self._codes = np.empty(0, np.int32)

    def codes(self, group: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return the roll-up's group of each of the pipeline's groups."""
        fresh = range(len(self._codes), len(self._groups))
        if fresh:
            self._codes = np.concatenate([self._codes, np.array([self._code(g) for g in fresh], np.int32)])
        return self._codes[group]

    def _code(self, group: int) -> int:
        all_labels = self._groups.labels(group)
        labels = tuple(all_labels[name] for name in self.by)
        if labels not in self._known:
            self._known[labels] = len(self.labels)
            self.labels.append(labels)
        return self._known[labels]
