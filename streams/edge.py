"""Pre-aggregation at the edge: events reduced to panes, which a pipeline adds to its windows exactly."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from schemas.columns import Coded, Columns
from schemas.event_types import EventType
from schemas.panes import PaneSpec, joined
from schemas.wire_panes import Reduced
from streams.exact import LARGEST_STEPS, ExactWindow
from streams.pipeline import Pipeline
from streams.sketches.fixed_point import Resolution
from streams.sketches.mapping import LogMapping


def reducer(pipeline: Pipeline) -> Callable[[Columns], tuple[Reduced | None, Columns]]:
    """Return what reduces a batch of a pipeline's events to panes.

    The panes of a batch are complete in themselves: whatever batches the events of a pane are spread over, and whether some of them
    come as rows, the sums are the same. The second value holds the events that no pane can hold, to be sent as they are.

    Raises ValueError where the pipeline must see each row, saying why.
    """
    spec = pipeline.panes
    if spec is None:
        raise ValueError(
            f"{pipeline.name} takes no panes: it needs a resolution, tumbling or hopping windows, and neither filters, derived "
            "values, extras nor rules that look at rows"
        )
    mapping, resolution = LogMapping(spec.alpha), Resolution(spec.resolution)

    def reduce(columns: Columns) -> tuple[Reduced | None, Columns]:
        large = np.abs(resolution.steps(columns.numbers[pipeline.value])) > LARGEST_STEPS
        rest = columns.take(np.flatnonzero(large), columns.start, columns.next)
        fitting = columns.take(np.flatnonzero(~large), columns.start, columns.next)
        if not len(fitting):
            return None, rest
        return reduced(fitting, pipeline.event, pipeline.value, spec, mapping, resolution), rest

    return reduce


def reduced(
    columns: Columns,
    event: EventType,
    value: str,
    spec: PaneSpec,
    mapping: LogMapping,
    resolution: Resolution,
) -> Reduced:
    """Return the panes of events, in order of (start, first appearance of their labels)."""
    codes = np.stack([columns.labels[name].codes for name in event.labels])
    distinct, first, inverse = np.unique(codes, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    group = rank[inverse.reshape(-1)]
    values, time = columns.numbers[value], columns.event_time
    bins, start = mapping.index(values), time - time % spec.pane_ms
    groups, tables = [], []
    for begin in np.unique(start).tolist():
        mine = np.flatnonzero(start == begin)
        window = ExactWindow(begin, resolution)
        window.update(group[mine], values[mine], time[mine], bins[mine])
        found, table = window.panes()
        groups.append(found)
        tables.append(table)
    combination = distinct[:, order][:, np.concatenate(groups)]
    labels = {
        name: Coded(combination[i].astype(np.int32), columns.labels[name].values)
        for i, name in enumerate(event.labels)
    }
    return Reduced(labels, joined(tables), spec)
