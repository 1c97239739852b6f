"""From a pipeline's declaration to the stage that the engine runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from schemas.codec import Decoder
from schemas.columns import Columns, RawBatch
from schemas.contributions import as_columns
from streams.attributes import Attributed
from streams.config import Stage
from streams.derivation import DerivedPipeline
from streams.joins import Join
from streams.monitoring import MonitorPipeline
from streams.once import RuledOnceTask
from streams.pipeline import Pipeline
from streams.reports import ReportPipeline
from streams.rollup_task import RollUpTask
from streams.select import Select
from streams.shape import ShapePipeline
from streams.shape_task import ShapeTask
from streams.sourced_task import SourcedTask
from streams.task import RuledTask
from streams.window_task import WindowTask

OneSource = Pipeline | ReportPipeline | DerivedPipeline | MonitorPipeline | ShapePipeline
AnyPipeline = OneSource | Join | Select


def stage_of(pipeline: OneSource, partitions: int | None = None) -> Stage:
    """Return the engine's stage for a pipeline; given the source's ``partitions``, rows on the wrong one are dead-lettered."""
    if isinstance(pipeline, ShapePipeline):
        return _shape_stage(pipeline)
    if isinstance(pipeline, DerivedPipeline):
        return pipeline.stage(partitions or 1)
    if not isinstance(pipeline, Pipeline):
        return pipeline.stage()
    return Stage(
        topic=pipeline.source,
        decode=decoder_of(pipeline, partitions),
        task=partial(window_task, pipeline),
        outputs=pipeline.outputs,
        signature=pipeline.hash,
        idle_timeout_ms=pipeline.idle_timeout_ms,
        out_of_orderness_ms=pipeline.out_of_orderness_ms,
        marks_idle=bool(pipeline.rollups),
        pipeline=pipeline.name,
    )


def decoder_of(pipeline: Pipeline, partitions: int | None = None) -> Callable[[RawBatch], Columns]:
    """Return what decodes a pipeline's events, with the labels that follow from them."""
    decode = Decoder(pipeline.event, partitions=partitions, panes=pipeline.panes)
    return Attributed(decode, pipeline.attributes) if pipeline.attributes else decode


def window_task(pipeline: Pipeline, partition: int) -> RuledTask:
    """Return the task of a pipeline's windows on one partition."""
    inner = (WindowTask if pipeline.watermark is None else SourcedTask)(pipeline, partition)
    return RuledOnceTask(inner)


def stages_of(pipeline: AnyPipeline, partitions: int) -> list[Stage]:
    """Return all stages of a pipeline whose topics have so many partitions, those of a second phase included."""
    if isinstance(pipeline, Join | Select):
        return pipeline.stages(partitions)
    stages = [stage_of(pipeline, partitions)]
    if isinstance(pipeline, Pipeline) and pipeline.rollups:
        rollups = Stage(
            topic=pipeline.partials,
            decode=as_columns,
            task=partial(RollUpTask, pipeline, partitions),
            outputs=pipeline.rollup_outputs,
            signature=pipeline.hash,
        )
        stages.append(rollups)
    return stages


def _shape_stage(pipeline: ShapePipeline) -> Stage:
    return Stage(
        topic=pipeline.source,
        decode=as_columns,
        task=partial(ShapeTask, pipeline),
        outputs=pipeline.outputs,
        signature=pipeline.hash,
        idle_timeout_ms=pipeline.idle_timeout_ms,
        out_of_orderness_ms=pipeline.out_of_orderness_ms,
        pipeline=pipeline.name,
    )
