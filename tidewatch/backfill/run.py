"""Runs a backfill's plan on a cluster, stage after stage, and leaves its output whole or not at all."""

from __future__ import annotations

import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from distributed import Client, LocalCluster

from tidewatch.backfill.coordinator import PATIENCE, Coordinator
from tidewatch.backfill.planning import BackfillError, Plan
from tidewatch.backfill.work import Made


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a backfill read and published, by topic, and how often a duplicate was started and won."""

    records: int
    published: dict[str, int]
    raced: int
    won: int


def run(
    plan: Plan,
    client: Client,
    tell: Callable[[int, int], None],
    *,
    speculative: bool = True,
    patience: float = PATIENCE,
) -> Outcome:
    """Run a pipeline's tasks over history and leave what they publish in ``OUTPUT/TOPIC/PARTITION/NUMBER.parquet``.

    The output appears once everything has ended well, and not at all otherwise. ``tell(done, total)`` hears of records as they
    are read. All workers must see the output directory, and the archive, under the same paths.

    Raises:
        BackfillError: the output is in use.
        NoWorkersError: the cluster has no workers.
    """
    if plan.output.exists() and any(plan.output.iterdir()):
        raise BackfillError(f"{plan.output} is not empty; choose a new directory for the output")
    scratch = plan.output.absolute() / ".work"
    scratch.mkdir(parents=True)
    total = plan.total
    coordinator = Coordinator(client, lambda done: tell(min(done, total), total), speculative, patience)
    try:
        first = plan.first_jobs(scratch)
        made = coordinator.run(first)
        later = plan.later_jobs(first, scratch)
        made_later = coordinator.run(later)
        plan.keep([*first, *later])
    finally:
        coordinator.close()
        shutil.rmtree(scratch, ignore_errors=True)
    races = coordinator.races
    published = _published([*made, *made_later], plan.between)
    return Outcome(sum(each.records for each in made), published, races.started, races.won)


@contextmanager
def cluster(scheduler: str | None, workers: int, **options: Any) -> Iterator[Client]:
    """Give a client of the scheduler at an address, or of a cluster of processes on this machine that ends with it.

    Processes on this machine are made with Dask's ``options``.
    """
    if scheduler is not None:
        with Client(scheduler) as client:
            yield client
        return
    with (
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
            **options,
        ) as local,
        Client(local) as client,
    ):
        yield client


def _published(made: Sequence[Made], between: set[str]) -> dict[str, int]:
    published: Counter[str] = Counter()
    for each in made:
        published.update({topic: n for topic, n in each.published.items() if topic not in between})
    return dict(published)
