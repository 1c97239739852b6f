"""The watcher: a thread that follows results, workers and lag, and makes snapshots of them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from confluent_kafka import KafkaException

from sinks.errors import TopicError
from sinks.reader import EARLIEST, follow
from streams.pipeline import Pipeline
from tidewatch.declarations import SignalPipeline
from tidewatch.live.board import Board
from tidewatch.live.operations import Operations, ask_alertmanager
from tidewatch.live.shapes import Shape
from tidewatch.live.snapshot import FlowRow, PartitionRow, Snapshot, WorkerRow
from tidewatch.live.workers import Source, WorkerFacts, ask_all, merged
from tidewatch.monitor.cluster import ClusterReader

_LOOK_EVERY = 1.0
_RATE_OVER = 2.0
SHOWN_WINDOWS = 6
REFERENCE_WINDOWS = 30
SHOWN_ALERTS = 200

Targets = Callable[[], Mapping[str, str]]
"""Gives the workers there are now: name and metrics address."""


@dataclass(slots=True)
class _Rate:
    """How fast a count rises, over about the last two seconds; a worker's restart is no fall."""

    seen: deque[tuple[float, float]] = field(default_factory=deque)

    def note(self, now: float, count: float) -> None:
        if self.seen and count < self.seen[-1][1]:
            self.seen.clear()
        self.seen.append((now, count))
        while len(self.seen) > 2 and now - self.seen[1][0] >= _RATE_OVER:
            self.seen.popleft()

    @property
    def value(self) -> float:
        if len(self.seen) < 2:
            return 0.0
        (begin, low), (end, high) = self.seen[0], self.seen[-1]
        return (high - low) / (end - begin) if end > begin else 0.0


class Watcher(threading.Thread):
    """Follow pipelines from the beginning of their result topics until stopped.

    Reads committed records only, joins no group and commits nothing, so it disturbs nobody. An error of the broker is kept in
    ``problem`` and tried again.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        app: str,
        pipelines: Sequence[Pipeline | SignalPipeline],
        targets: Targets,
        alertmanager: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(name="tidewatch-watcher", daemon=True)
        windowed = [p for p in pipelines if isinstance(p, Pipeline)]
        counting = [p for p in pipelines if isinstance(p, SignalPipeline)]
        self.board = Board(
            {p.results for p in windowed},
            {p.alerts for p in windowed},
            {p.states for p in counting},
            {p.changes for p in counting},
        )
        self.problem: str | None = None
        self._connection = connection
        self._app = app
        self._sources = sorted({p.source for p in pipelines})
        self._outputs = sorted({topic for p in pipelines for topic in p.outputs.values()})
        self._targets = targets
        self._alertmanager = alertmanager
        self._operations: Operations | None = None
        self._monotonic, self._wall_clock = monotonic, wall_clock
        self._pipelines = tuple(pipelines)
        self._looked = 0
        self._stopping = threading.Event()
        self._facts: dict[str, WorkerFacts] = {}
        self._names: tuple[str, ...] = ()
        self._ends: dict[Source, int] = {}
        self._begins: dict[Source, int] = {}
        self._last: dict[Source, tuple[int, int | None]] = {}
        self._rates = {name: _Rate() for name in ("produced", "processed", "results")}
        self._worker_rates: dict[str, _Rate] = {}

    def stop(self) -> None:
        """Stop following and wait for the thread's end."""
        self._stopping.set()
        self.join()

    def run(self) -> None:
        """Follow until stopped."""
        while not self._stopping.is_set():
            try:
                self._follow()
            except (KafkaException, TopicError) as error:
                self.problem = str(error)
                self._stopping.wait(1.0)

    def processed(self, events: int) -> bool:
        """Whether ``events`` are on the source topics and workers have committed all of them, when last looked."""
        with self.board.lock:
            return self._produced() >= events and all(
                self._last.get(source, (self._begins[source], None))[0] >= end
                for source, end in self._ends.items()
            )

    def news(self) -> int:
        """Return how many steps of alerts and signals have come: another number is worth a snapshot at once."""
        return self.board.news

    def snapshot(self) -> Snapshot:
        """Return the state of everything now."""
        board = self.board
        with board.lock:
            partitions = self._partitions()
            alerts = list(board.alerts.values())
            return Snapshot(
                time=int(self._wall_clock() * 1000),
                produced=self._produced(),
                processed=sum((row.position or 0) - self._begins[row.topic, row.partition] for row in partitions
                              if row.position is not None),
                produced_per_s=self._rates["produced"].value,
                processed_per_s=self._rates["processed"].value,
                results_per_s=self._rates["results"].value,
                lag=sum(row.lag or 0 for row in partitions),
                windows=dict(board.windows),
                newest_end=dict(board.newest_end),
                late=board.late.total(),
                dead=_by_code(board.dead),
                flows=self._flows(),
                partitions=partitions,
                workers=self._workers(),
                shapes=self._shapes(),
                alerts=tuple(reversed(alerts[-SHOWN_ALERTS:])),
                alerts_opened=len(board.openings),
                alerts_open=sum(alert.state != "close" for alert in alerts),
                samples=tuple(board.samples),
                signals=board.signals.rows(),
                signals_open=board.signals.open(),
                stopped=tuple(sorted({p for facts in self._facts.values() for p in facts.stopped})),
                operations=self._operations,
                looked=self._looked,
                problem=self.problem,
            )  # fmt: skip

    # --- the thread

    def _follow(self) -> None:
        cluster = ClusterReader(self._connection, self._wall_clock, wanted=set(self._sources).__contains__)
        next_look = 0.0
        for messages in follow(self._connection, self._outputs, EARLIEST, self._stopping):
            self.board.take(messages)
            if self._monotonic() >= next_look:
                self._look(cluster)
                self.problem = None
                next_look = self._monotonic() + _LOOK_EVERY

    def _look(self, cluster: ClusterReader) -> None:
        """Ask the workers for their positions, then the cluster for the ends of the sources and the group's offsets."""
        targets = dict(self._targets())
        answers = {facts.url: facts for facts in ask_all([url for url in targets.values() if url])}
        operations = ask_alertmanager(self._alertmanager) if self._alertmanager else None
        # After the workers, so that no position lies beyond an end.
        look = cluster.look()
        group = look.groups.get(self._app)
        with self.board.lock:
            for source, place in look.partitions.items():
                if place.end is not None:
                    self._begins.setdefault(source, place.oldest or 0)
                    self._ends[source] = place.end
            self._looked = int(self._wall_clock() * 1000)
            self._operations = operations
            self._names = tuple(targets)
            self._facts = {name: answers[url] for name, url in targets.items() if url in answers}
            for source, offset in (group.offsets if group is not None else {}).items():
                position, watermark = self._last.get(source, (0, None))
                if source in self._ends:
                    self._last[source] = max(offset, position), watermark
            for source, worker in merged(self._facts.values()).items():
                if source in self._ends:
                    self._last[source] = worker.positions[source], worker.watermarks.get(source)
            self._note_rates()

    def _note_rates(self) -> None:
        now = self._monotonic()
        done = sum(position - self._begins[source] for source, (position, _) in self._last.items())
        counts = {
            "produced": self._produced(),
            "processed": done,
            "results": self.board.windows.total(),
        }
        for name, count in counts.items():
            self._rates[name].note(now, count)
        for name, facts in self._facts.items():
            self._worker_rates.setdefault(name, _Rate()).note(now, facts.processed)

    # --- parts of a snapshot

    def _produced(self) -> int:
        return sum(end - self._begins[source] for source, end in self._ends.items())

    def _flows(self) -> tuple[FlowRow, ...]:
        board = self.board
        rows = []
        for pipeline in self._pipelines:
            places = [source for source in self._ends if source[0] == pipeline.source]
            dead = pipeline.outputs["dead"]
            results, alerts, kinds = board.windows, board.opened, ("windows", "alerts")
            if isinstance(pipeline, SignalPipeline):
                results, alerts, kinds = board.signals.states, board.signals.opened, ("states", "signals")
            rows.append(
                FlowRow(
                    pipeline=pipeline.name,
                    source=pipeline.source,
                    produced=sum(self._ends[place] - self._begins[place] for place in places),
                    processed=sum(self._last[p][0] - self._begins[p] for p in places if p in self._last),
                    windows=results[pipeline.name],
                    alerts=alerts[pipeline.name],
                    kinds=kinds,
                    late=board.late[pipeline.outputs.get("late", "")],
                    dead=sum(count for (topic, _), count in board.dead.items() if topic == dead),
                )
            )
        return tuple(rows)

    def _partitions(self) -> tuple[PartitionRow, ...]:
        names = {id(facts): name for name, facts in self._facts.items()}
        owners = merged(self._facts.values())
        rows = []
        for source, end in sorted(self._ends.items()):
            position, watermark = self._last.get(source, (None, None))
            rows.append(
                PartitionRow(
                    topic=source[0],
                    partition=source[1],
                    end=end,
                    position=position,
                    lag=end - (self._begins[source] if position is None else position),
                    watermark=watermark,
                    owner=names[id(owners[source])] if source in owners else "",
                )
            )
        return tuple(rows)

    def _workers(self) -> tuple[WorkerRow, ...]:
        rows = []
        for name in self._names:
            facts = self._facts.get(name)
            rate = self._worker_rates.get(name)
            rows.append(
                WorkerRow(
                    name=name,
                    alive=facts is not None,
                    events_per_s=rate.value if rate is not None and facts is not None else 0.0,
                    processed=int(facts.processed) if facts is not None else 0,
                    partitions=len({partition for _, partition in facts.positions})
                    if facts is not None
                    else 0,
                )
            )
        return tuple(rows)

    def _shapes(self) -> tuple[tuple[Shape, Shape | None], ...]:
        shapes = self.board.shapes
        pairs = []
        for key in shapes.keys:
            now = shapes.shape(key, SHOWN_WINDOWS)
            if now is not None:
                pairs.append((now, shapes.shape(key, REFERENCE_WINDOWS, skip=SHOWN_WINDOWS)))
        return tuple(pairs)


def _by_code(dead: Mapping[tuple[str, str], int]) -> dict[str, int]:
    codes: dict[str, int] = {}
    for (_, code), count in sorted(dead.items()):
        codes[code] = codes.get(code, 0) + count
    return codes
