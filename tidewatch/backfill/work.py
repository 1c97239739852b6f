"""What a worker of the cluster does: one task of a pipeline over one partition's history, into files of its own."""

from __future__ import annotations

import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import msgspec

from streams.checkpoint import Control
from streams.config import Stage
from streams.history import completed, lag_of, replayed, slack_of
from streams.pipeline import Pipeline
from streams.placing import Placed, records_of
from streams.stages import stages_of
from tidewatch.backfill.record_files import RecordFile
from tidewatch.backfill.sources import Source
from tidewatch.declarations import Declared

_REPORT_EVERY = 0.5

Report = Callable[[int], None]


class Job(msgspec.Struct, frozen=True):
    """One stage's task on one partition: what to run, over which records, and where to put what it publishes.

    ``number`` is different for each job of a run and names its files, ``directory`` is there, on a disk that all workers share.
    """

    name: str
    number: int
    declared: Declared
    stage: int
    partition: int
    partitions: int
    source: Source
    influences: list[Control]
    complete: bool
    directory: str

    @property
    def won(self) -> Path:
        """Where the first attempt to end is put; whoever finds it there has lost the race."""
        return Path(self.directory) / self.name


class Made(msgspec.Struct, frozen=True):
    """What an attempt has made: its directory, and the number of records read, and published by topic."""

    job: str
    directory: str
    records: int
    published: dict[str, int]


class BeatenError(Exception):
    """Another attempt at the same job was first."""


def perform(job: Job, attempt: str, report: Report) -> Made:
    """Run a job to its end and return what it made, in ``TOPIC/PARTITION/NUMBER.parquet`` of a directory of its own.

    Delivery: the files are the same whoever makes them and however often; the caller takes one attempt's and drops the others.

    Raises:
        BeatenError: another attempt has ended meanwhile.
    """
    # A worker that was given up for dead may still be at the same attempt.
    directory = Path(job.directory) / f".{attempt}-{uuid.uuid4().hex}"
    records, published = 0, Counter[str]()
    told = time.monotonic()
    files: dict[tuple[str, int], RecordFile] = {}
    _check_still_wanted(job)
    directory.mkdir()
    stage, slack = _stage(job)
    try:
        with ExitStack() as closing:
            for step in replayed(stage, job.partition, job.source.batches, job.influences, slack):
                placed = [Placed(stage.outputs[output.kind], output) for output in step.outputs]
                for record in records_of(placed, job.partition, job.partitions):
                    place = record.topic, record.partition
                    if place not in files:
                        _check_still_wanted(job)
                        path = directory / record.topic / str(record.partition) / f"{job.number:020d}.parquet"
                        files[place] = RecordFile(path)
                        closing.callback(files[place].close)
                    files[place].add(record, step.watermark)
                    published[record.topic] += 1
                records += step.records
                if time.monotonic() - told >= _REPORT_EVERY:
                    told = time.monotonic()
                    report(records)
                    _check_still_wanted(job)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return Made(job.name, str(directory), records, dict(published))


def _check_still_wanted(job: Job) -> None:
    if job.won.exists() or not job.won.parent.exists():
        raise BeatenError(job.name)


def _stage(job: Job) -> tuple[Stage, int | None]:
    """Return the job's stage and, where every row is to count, how far to go past the newest event at the end."""
    pipeline = job.declared.pipeline()
    if not job.complete:
        return stages_of(pipeline, job.partitions)[job.stage], None
    assert isinstance(pipeline, Pipeline)
    if job.stage:
        return stages_of(pipeline, job.partitions)[job.stage], None
    lag = lag_of(stages_of(pipeline, job.partitions)[0], job.source.batches)
    return stages_of(completed(pipeline, lag), job.partitions)[0], slack_of(pipeline)
