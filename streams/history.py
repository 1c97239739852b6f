"""History through the same tasks: one partition's records in order, and what influenced the stream from outside."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from schemas.columns import RawBatch
from streams.checkpoint import Control, Restored
from streams.config import Stage
from streams.errors import EngineError
from streams.pipeline import Pipeline, Session
from streams.runner import StageRunner
from streams.task import Output
from streams.watermark import BEGINNING, SILENT

Feed = Callable[[], Iterable[RawBatch]]
"""Gives the records of one partition in offset order, the same batches at every call."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one batch caused, the task's watermark before it in milliseconds, and how many records it had."""

    outputs: list[Output]
    watermark: int
    records: int


class _FailedError(Exception):
    """The task failed at the batch that starts at ``start``."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self.start = start


def replayed(
    stage: Stage,
    partition: int,
    feed: Feed,
    influences: Sequence[Control] = (),
    slack_ms: int | None = None,
) -> Iterator[Step]:
    """Yield what a worker's task publishes for the records of one partition, byte for byte and kind by kind.

    ``influences`` are what a worker noted of its idle timeouts and rule changes; each takes effect just before the record at its
    position. A partition without an event is idle from the start where the stage has a timeout. Given ``slack_ms``, the watermark
    moves so far past the newest event at the end, as if the partition were idle for ever; else what is open at the end stays
    unpublished, as on the stream.

    A task that fails is built anew and run again, which is safe because it is deterministic; if it fails at the same batch again,
    the rows that make it fail are dead-lettered, as by a worker.

    Raises:
        HandlerError: the task fails whatever row is left out.
    """
    done, suspects = 0, set[int]()
    while True:
        try:
            for number, step in enumerate(_steps(stage, partition, feed, influences, slack_ms, suspects)):
                if number >= done:
                    done = number + 1
                    yield step
        except _FailedError as failure:
            if failure.start in suspects:
                raise failure.__cause__ or failure from None
            suspects.add(failure.start)
        else:
            return


def lag_of(stage: Stage, feed: Feed) -> int:
    """Return by how many milliseconds the latest of a partition's rows came after a newer one; 0 if all are in order."""
    newest, lag = BEGINNING, 0
    for batch in feed():
        time = stage.decode(batch).event_time
        if len(time):
            so_far = np.maximum(np.maximum.accumulate(time), newest)
            lag = max(lag, int((so_far - time).max()))
            newest = int(so_far[-1])
    return lag


def completed(pipeline: Pipeline, lag_ms: int) -> Pipeline:
    """Return the pipeline with so much out-of-orderness that no row is late which trails the newest by ``lag_ms`` at most."""
    return replace(pipeline, out_of_orderness_ms=max(pipeline.out_of_orderness_ms, lag_ms))


def slack_of(pipeline: Pipeline) -> int:
    """Return how far past its newest event a watermark must be, in milliseconds, so that every window has closed."""
    window = pipeline.window
    return pipeline.allowed_lateness_ms + (window.gap_ms if isinstance(window, Session) else window.size_ms)


def _steps(
    stage: Stage,
    partition: int,
    feed: Feed,
    influences: Sequence[Control],
    slack_ms: int | None,
    suspects: set[int],
) -> Iterator[Step]:
    """Run a fresh task once through; batches that start at one of ``suspects`` are looked at row by row."""
    waiting = deque(c for c in influences if c.topic == stage.topic and c.kind != "skip")
    runner = StageRunner.restored(stage, partition, Restored(), 0)
    for whole in feed():
        for batch in _cut(whole, [c.position for c in waiting]):
            yield from _influenced(runner, waiting, batch.start)
            runner.position, runner.suspect_until = batch.start, batch.next if batch.start in suspects else -1
            before = runner.task.watermark
            try:
                outputs = runner.take(batch)
            except EngineError:
                raise
            except Exception as error:
                raise _FailedError(batch.start) from error
            yield Step(outputs, before, len(batch))
    yield from _influenced(runner, waiting, None)
    yield from _ended(runner, slack_ms)


def _cut(batch: RawBatch, positions: Sequence[int]) -> Iterator[RawBatch]:
    """Yield the batch in pieces that begin where an influence takes effect."""
    inside = sorted({position for position in positions if batch.start < position < batch.next})
    start = batch.start
    for stop in [*inside, batch.next]:
        first, last = np.searchsorted(batch.offsets, [start, stop]).tolist()
        rows = slice(first, last)
        types = batch.content_types
        yield RawBatch(
            batch.topic, batch.partition, start, stop, batch.offsets[rows], batch.log_times[rows],
            batch.keys[rows], batch.values[rows], None if types is None else types[rows],
        )  # fmt: skip
        start = stop


def _influenced(runner: StageRunner, waiting: deque[Control], until: int | None) -> Iterator[Step]:
    """Apply the influences up to a position, or all that are left."""
    while waiting and (until is None or waiting[0].position <= until):
        control = waiting.popleft()
        before = runner.task.watermark
        runner.position = control.position
        if control.kind == "rules":
            runner.follow_rules(control.text)
        else:
            yield Step(runner.advance(control.watermark), before, 0)


def _ended(runner: StageRunner, slack_ms: int | None) -> Iterator[Step]:
    """Declare a partition idle that never had an event or, where asked, any partition."""
    task, stage, before = runner.task, runner.stage, runner.task.watermark
    if task.max_event_time <= BEGINNING:
        # A worker waits for the timeout before it says so, but of a partition without an event it says nothing else.
        marked = stage.marks_idle and (stage.idle_timeout_ms is not None or slack_ms is not None)
        target = SILENT if marked and before < SILENT else None
    else:
        target = None if slack_ms is None else max(task.max_event_time + slack_ms, before + 1)
    if target is not None:
        yield Step(runner.advance(target), before, 0)
