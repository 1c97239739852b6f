"""Late rows folded into the windows they missed: additions, since summaries are linear."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas.columns import Columns
from schemas.results import WindowSummary
from streams.frames import Firing
from streams.groups import Groups
from streams.merging import merged
from streams.pipeline import Pipeline, Session
from streams.sketches.codes import decode_many
from streams.sketches.mapping import LogMapping
from streams.summaries import Summaries
from streams.task import Output
from streams.windows import Closed, Window

Place = tuple[str, int, int]  # group, start, end


@dataclass(frozen=True)
class LateRow:
    """A row that missed windows: where it was on its source, its time and value, and the windows that it missed."""

    partition: int
    offset: int
    row: int
    time: int
    value: float
    labels: Mapping[str, str]
    starts: tuple[int, ...]


@dataclass(frozen=True)
class View:
    """What late rows are folded into: a pipeline's own windows, or those of one of its roll-ups."""

    name: str
    by: tuple[str, ...]
    keep: tuple[str, ...]


def late_rows(
    pipeline: Pipeline, columns: Columns, watermarks: Sequence[int], places: Sequence[tuple[int, int, int]]
) -> list[LateRow]:
    """Return the rows of letters with the windows that each missed.

    ``watermarks`` are those before the rows and ``places`` their (partition, offset, row) on the source.

    Raises:
        ValueError: the pipeline has session windows, to which a late row cannot simply be added.
    """
    window = pipeline.window
    if isinstance(window, Session):
        raise ValueError(
            "late rows cannot be added to session windows: they could join sessions already published"
        )
    numbers = dict(columns.numbers) | {d.name: d.compute(columns) for d in pipeline.derived}
    value = numbers[pipeline.value]
    names = (*pipeline.group_by, *pipeline.keep)
    rows = []
    for i in range(len(columns)):
        time = int(columns.event_time[i])
        newest = time // window.every_ms * window.every_ms
        over = watermarks[i] - pipeline.allowed_lateness_ms - window.size_ms
        starts = range(newest, time - window.size_ms, -window.every_ms)
        labels = {name: columns.labels[name].values[columns.labels[name].codes[i]] for name in names}
        missed = tuple(start for start in starts if start <= over)
        rows.append(LateRow(*places[i], time, float(value[i]), labels, missed))
    return rows


def by_window(view: View, rows: Iterable[LateRow], size: int) -> dict[Place, list[LateRow]]:
    """Return the late rows of each window of a view, each row once, in order of (partition, offset, row)."""
    groups = Groups(view.by, view.keep)
    found: dict[Place, dict[tuple[int, int, int], LateRow]] = defaultdict(dict)
    for late in rows:
        key = tuple(late.labels[name] for name in view.by)
        name = groups.names[groups.code(key)]
        for start in late.starts:
            found[name, start, start + size][late.partition, late.offset, late.row] = late
    return {place: [held[key] for key in sorted(held)] for place, held in sorted(found.items())}


def folded(
    view: View, pipeline: Pipeline, place: Place, rows: Sequence[LateRow], published: Sequence[WindowSummary]
) -> Output | None:
    """Return the next revision of a window with its late rows, or ``None`` if the newest one has them.

    ``published`` are its revisions so far. The rows are added to the newest revision without late rows, in their order, so the
    result is the same however often and in however many steps letters are folded in.
    """
    newest = max(published, key=lambda summary: summary.revision, default=None)
    if newest is not None and newest.late == len(rows):
        return None
    base = max((s for s in published if not s.late), key=lambda summary: summary.revision, default=None)
    mapping = LogMapping(pipeline.alpha)
    _, start, end = place
    window, group = Window(start), np.zeros(len(rows), np.int32)
    value = np.array([row.value for row in rows])
    window.update(group, value, np.array([row.time for row in rows], np.int64), mapping.index(value))
    total = window.closed() if base is None else merged(closed_of(mapping, base), window.closed())
    groups = Groups(view.by, view.keep)
    labels = dict(rows[0].labels) if base is None else base.labels
    groups.add([tuple(labels[name] for name in (*view.by, *view.keep))])
    revision = 0 if newest is None else newest.revision + 1
    firing = replace(Firing.of(end, start, end, 0, total), revision=np.array([revision]))
    (output,) = Summaries(view.name, groups, mapping, pipeline.levels).of(
        firing, late=[len(rows)], extras=None if base is None else [base.extras]
    )
    return output


def closed_of(mapping: LogMapping, summary: WindowSummary) -> Closed:
    """Return a summary as a closed window with one group."""
    floats = {
        "sum": summary.sum, "shift": summary.mean, "from_shift": 0.0, "squares": summary.variance * summary.count,
        "min": summary.min, "max": summary.max, "first": summary.first, "last": summary.last,
    }  # fmt: skip
    times = {"first_time": summary.first_time, "last_time": summary.last_time}
    indptr, codes, counts = decode_many(mapping, [summary.sketch])
    return Closed(
        summary.start,
        np.zeros(1, np.int32),
        np.array([summary.count]),
        {name: np.array([number]) for name, number in floats.items()},
        {name: np.array([time]) for name, time in times.items()},
        indptr,
        codes,
        counts,
    )


def views_of(pipeline: Pipeline) -> list[View]:
    """Return what a pipeline publishes windows of: itself, then its roll-ups."""
    own = View(pipeline.name, pipeline.group_by, pipeline.keep)
    return [own, *(View(f"{pipeline.name}:{rollup.name}", rollup.by, ()) for rollup in pipeline.rollups)]
