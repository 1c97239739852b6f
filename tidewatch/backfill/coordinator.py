"""Hands jobs to the workers of a Dask cluster, races stragglers, and takes the first answer to each."""

from __future__ import annotations

import queue
import shutil
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Future, get_worker

from tidewatch.backfill.race import Attempt, to_race
from tidewatch.backfill.work import BeatenError, Job, Made, perform

TICK = 1.0
PATIENCE = 5.0
_TOPIC = "tidewatch-backfill"


class NoWorkersError(Exception):
    """The cluster has no workers."""


@dataclass(slots=True)
class _Running:
    """An attempt on the cluster; ``done`` is the number of records that it has told."""

    job: Job
    future: Future
    worker: str
    started: float
    total: int
    done: int = 0
    duplicate: bool = False


@dataclass(slots=True)
class Races:
    """How many jobs got a duplicate, and how many of those the duplicate won."""

    started: int = 0
    won: int = 0


@dataclass(slots=True)
class Coordinator:
    """Run jobs, each on a free thread of some worker; ``tell(records)`` hears how many are done in all.

    A job that straggles (see `tidewatch.backfill.race`) is given to a second worker too, unless ``speculative`` is off. Jobs are
    deterministic and write to directories of their attempts, so either answer will do: the first is renamed to the job's place,
    and the other attempt ends when it sees that. Dask itself starts the job of a worker that died on another one.
    """

    client: Client
    tell: Callable[[int], None]
    speculative: bool = True
    patience: float = PATIENCE
    monotonic: Callable[[], float] = time.monotonic
    races: Races = field(default_factory=Races)
    _running: dict[str, _Running] = field(default_factory=dict)
    _finished: dict[str, Made] = field(default_factory=dict)
    _rates: list[float] = field(default_factory=list)
    _events: queue.SimpleQueue[tuple[str, int | None]] = field(default_factory=queue.SimpleQueue)

    def __post_init__(self) -> None:
        self.client.subscribe_topic(_TOPIC, self._heard)

    def run(self, jobs: Sequence[Job]) -> list[Made]:
        """Return what each job made, in their order.

        Raises:
            NoWorkersError: the cluster has no workers.
            Exception: what a job raised.
        """
        waiting = deque(sorted(jobs, key=lambda job: -job.source.total))
        while any(job.name not in self._finished for job in jobs):
            self._place(waiting)
            try:
                attempt, done = self._events.get(timeout=TICK)
            except queue.Empty:
                continue
            if attempt not in self._running:
                continue
            if done is None:
                self._ended(attempt)
            else:
                self._running[attempt].done = done
            self.tell(self._done())
        return [self._finished[job.name] for job in jobs]

    def close(self) -> None:
        """Drop what is still running."""
        self.client.cancel([running.future for running in self._running.values()])

    def _heard(self, event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        self._events.put((told["attempt"], told["done"]))

    def _place(self, waiting: deque[Job]) -> None:
        """Start jobs while workers are free, and duplicates once no job waits."""
        free = self._free()
        while waiting and free:
            self._start(waiting.popleft(), free.pop())
        if not self.speculative or waiting or not free:
            return
        now = self.monotonic()
        running = [
            Attempt(r.job.name, r.worker, r.started, r.done, r.total)
            for r in self._running.values()
            if r.job.name not in self._finished
        ]
        by_name = {r.job.name: r.job for r in self._running.values()}
        for name, worker in to_race(running, self._rates, free, now, self.patience):
            self._start(by_name[name], worker, duplicate=True)
            self.races.started += 1

    def _free(self) -> list[str]:
        """Return a worker's address for each of its threads that has nothing to do."""
        threads = self.client.nthreads()
        if not threads:
            raise NoWorkersError("the cluster has no workers; start some with `dask worker SCHEDULER`")
        used = Counter(running.worker for running in self._running.values())
        return [worker for worker in sorted(threads) for _ in range(threads[worker] - used[worker])]

    def _start(self, job: Job, worker: str, *, duplicate: bool = False) -> None:
        attempt = f"{job.name}-{uuid.uuid4().hex}"
        # Were the worker to die, another may take its place.
        future = self.client.submit(
            _perform, job, attempt, key=attempt, pure=False, workers=[worker], allow_other_workers=True
        )
        self._running[attempt] = _Running(
            job, future, worker, self.monotonic(), job.source.total, duplicate=duplicate
        )
        future.add_done_callback(lambda _: self._events.put((attempt, None)))

    def _ended(self, attempt: str) -> None:
        running = self._running.pop(attempt)
        job = running.job
        error = running.future.exception()
        if job.name in self._finished:
            if error is None:
                shutil.rmtree(running.future.result().directory, ignore_errors=True)
            return
        if error is not None and not isinstance(error, BeatenError):
            raise error
        made: Made = running.future.result()
        Path(made.directory).rename(job.won)
        self._finished[job.name] = made
        self._rates.append(running.total / max(self.monotonic() - running.started, 1e-9))
        self.races.won += running.duplicate

    def _done(self) -> int:
        """Return how many records are done, of each job by its furthest attempt."""
        done = {name: made.records for name, made in self._finished.items()}
        for running in self._running.values():
            if running.job.name not in self._finished:
                done[running.job.name] = max(done.get(running.job.name, 0), running.done)
        return sum(done.values())


def _perform(job: Job, attempt: str) -> Made:
    """Run on a worker."""
    worker = get_worker()
    return perform(job, attempt, lambda done: worker.log_event(_TOPIC, {"attempt": attempt, "done": done}))
