"""What to run on which records: the jobs of a pipeline's stages, those first that read what is there already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streams.checkpoint import Control
from streams.config import Stage
from streams.pipeline import Pipeline
from streams.stages import AnyPipeline, stages_of
from tidewatch.backfill.sources import ArchiveSource, ShuffledSource, Source, TopicSource
from tidewatch.backfill.work import Job
from tidewatch.declarations import Declared

Sources = Mapping[str, Sequence[ArchiveSource | TopicSource]]
"""The partitions, in order, of each topic that a pipeline reads."""


class BackfillError(Exception):
    """A backfill cannot be run as it was asked for."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run, and where its output goes. ``influences`` are those of each partition, by its number.

    Raises:
        BackfillError: partition counts differ, or the pipeline has no windows to complete.
    """

    declared: Declared
    sources: Sources
    output: Path
    complete: bool = False
    influences: Mapping[int, Sequence[Control]] | None = None

    def __post_init__(self) -> None:
        counts = {topic: len(sources) for topic, sources in self.sources.items()}
        if len(set(counts.values())) > 1:
            listing = ", ".join(f"{topic} has {count}" for topic, count in counts.items())
            raise BackfillError(f"source topics must have equally many partitions: {listing}")
        if self.complete and not isinstance(self.declared.pipeline(), Pipeline):
            raise BackfillError(
                f"{self.declared.text} has no windows that late rows could be counted in; leave out --complete"
            )

    @property
    def partitions(self) -> int:
        """How many partitions the topics have."""
        return len(next(iter(self.sources.values())))

    @property
    def stages(self) -> list[Stage]:
        """The stages of the pipeline."""
        return stages_of(self.declared.pipeline(), self.partitions)

    @property
    def total(self) -> int:
        """How many records there are to read, about."""
        return sum(source.total for sources in self.sources.values() for source in sources)

    @property
    def between(self) -> set[str]:
        """The topics that one stage writes for another."""
        return _between(self.stages)

    def first_jobs(self, scratch: Path) -> list[Job]:
        """Return the jobs that read the sources, in order of stage and partition."""
        return [
            self._job(number, source, scratch)
            for number, stage in enumerate(self.stages)
            if stage.topic in self.sources
            for source in self.sources[stage.topic]
        ]

    def later_jobs(self, first: Sequence[Job], scratch: Path) -> list[Job]:
        """Return the jobs that read what ``first`` have sent between stages; to be called once those have ended."""
        return [
            self._job(number, _shuffled(stage.topic, partition, first), scratch)
            for number, stage in enumerate(self.stages)
            if stage.topic not in self.sources
            for partition in range(self.partitions)
        ]

    def keep(self, jobs: Sequence[Job]) -> None:
        """Move what the jobs have published to its place, but for what was only between stages."""
        between = self.between
        for job in jobs:
            for file in sorted(job.won.glob("*/*/*.parquet")):
                topic, partition, name = file.parts[-3:]
                if topic not in between:
                    place = self.output / topic / partition
                    place.mkdir(parents=True, exist_ok=True)
                    file.rename(place / name)

    def _job(self, stage: int, source: Source, scratch: Path) -> Job:
        return Job(
            name=f"{stage}-{source.partition}",
            number=stage * self.partitions + source.partition,
            declared=self.declared,
            stage=stage,
            partition=source.partition,
            partitions=self.partitions,
            source=source,
            influences=list((self.influences or {}).get(source.partition, ())),
            complete=self.complete,
            directory=str(scratch),
        )


def topics_read(pipeline: AnyPipeline) -> list[str]:
    """Return the topics that a pipeline reads and does not write itself."""
    stages = stages_of(pipeline, 1)
    return sorted({stage.topic for stage in stages} - _between(stages))


def _between(stages: Sequence[Stage]) -> set[str]:
    written = {topic for stage in stages for topic in stage.outputs.values()}
    return {stage.topic for stage in stages} & written


def _shuffled(topic: str, partition: int, first: Sequence[Job]) -> ShuffledSource:
    files = [job.won / topic / str(partition) / f"{job.number:020d}.parquet" for job in first]
    return ShuffledSource([str(file) for file in files if file.exists()], topic, partition)
