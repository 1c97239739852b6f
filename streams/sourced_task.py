"""Windows that close by the watermark of each row's own source, such as a gateway that may be offline for hours."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from streams.burial import rejected
from streams.pipeline import Pipeline, SourceWatermark
from streams.task import Blocks, Output
from streams.trace import Trace
from streams.watermark import BEGINNING, watermarks
from streams.window_task import WindowTask


class SourcedTask:
    """Implements ``streams.task.Task`` for a pipeline with a watermark for each source on the partition.

    Each source has windows, late rows and rules of its own, in a task of its own. The furthest watermark on the partition draws the
    others along: none may trail it by more than ``max_lag_ms``, in steps of the window's hop. Outputs come in the order of the rows
    that cause them; what one step of the furthest watermark causes comes after its row, in the order of sources.
    """

    def __init__(self, pipeline: Pipeline, partition: int = 0) -> None:
        assert pipeline.watermark is not None
        self._pipeline, self._partition = pipeline, partition
        self._declared: SourceWatermark = pipeline.watermark
        self._sources: dict[str, WindowTask] = {}
        self._furthest = BEGINNING
        self._text = "{}"

    @property
    def watermark(self) -> int:
        """The furthest watermark of any source, in milliseconds."""
        return self._furthest

    @property
    def max_event_time(self) -> int:
        """The largest event time seen, in milliseconds."""
        return max((task.max_event_time for task in self._sources.values()), default=BEGINNING)

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return what they cause, in order."""
        outputs = rejected(columns)
        if not len(columns):
            return outputs
        after = watermarks(self._furthest, columns.event_time, self._pipeline.out_of_orderness_ms)
        drawn = self._drawn(after)
        steps = np.flatnonzero(np.diff(np.concatenate([[self._least()], drawn])))
        begin = 0
        for end in [*(steps + 1).tolist(), len(columns)]:
            outputs += self._span(columns, begin, end)
            if end > begin:
                self._furthest = int(after[end - 1])
                outputs += self._draw(int(columns.offset[end - 1]))
            begin = end
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the furthest watermark because the partition was idle; the sources follow as far as they must."""
        if watermark <= self._furthest:
            return []
        self._furthest = watermark
        return self._draw(position)

    @property
    def rules_text(self) -> str:
        """The specs, in force or announced, on top of the rules declared."""
        return self._text

    def change_rules(self, text: str) -> None:
        """Announce other specs to every source, as if just before the next record."""
        for task in self._sources.values():
            task.change_rules(text)
        self._text = text

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        names = list(self._sources)
        blocks: Blocks = {"sources": msgspec.msgpack.encode([self._furthest, self._text, names])}
        for number, name in enumerate(names):
            for block, data in self._sources[name].snapshot(full=full).items():
                blocks[f"{number:06d}:{block}"] = data
        return blocks

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        self._furthest, self._text, names = msgspec.msgpack.decode(blocks["sources"])
        for number, name in enumerate(names):
            prefix = f"{number:06d}:"
            task = self._sources[name] = WindowTask(self._pipeline, self._partition)
            task.restore({b.removeprefix(prefix): data for b, data in blocks.items() if b.startswith(prefix)})

    def _span(self, columns: Columns, begin: int, end: int) -> list[Output]:
        """Process rows that no step of the furthest watermark parts, each by its own source."""
        if begin == end:
            return []
        label = columns.labels[self._declared.label]
        codes, first = np.unique(label.codes[begin:end], return_index=True)
        caused: list[tuple[int, Output]] = []
        for code in codes[np.argsort(first)].tolist():
            rows = begin + np.flatnonzero(label.codes[begin:end] == code)
            trace = Trace()
            self._task(label.values[code]).take(columns.take(rows, columns.start, columns.next), trace)
            caused += zip(rows[trace.rows].tolist(), trace.outputs, strict=True)
        return [output for _, output in sorted(caused, key=lambda pair: pair[0])]

    def _task(self, source: str) -> WindowTask:
        task = self._sources.get(source)
        if task is None:
            task = self._sources[source] = WindowTask(self._pipeline, self._partition)
            task.change_rules(self._text)
            if self._furthest > BEGINNING:
                task.advance(0, self._least())
        return task

    def _drawn(self, furthest: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the watermark that no source may be behind, for furthest ones of shape (n,)."""
        step = self._declared.step_ms
        return (furthest - self._declared.max_lag_ms) // step * step

    def _least(self) -> int:
        return int(self._drawn(np.array([self._furthest], np.int64))[0])

    def _draw(self, position: int) -> list[Output]:
        """Draw along the sources that trail too far, in order of first appearance."""
        least = self._least()
        trailing = [task for task in self._sources.values() if BEGINNING < task.watermark < least]
        return [output for task in trailing for output in task.advance(position, least)]
