"""From a pipeline's declaration to the stage that the engine runs."""

from __future__ import annotations

from functools import partial

from schemas.codec import Decoder
from streams.config import Stage
from streams.pipeline import Pipeline
from streams.window_task import WindowTask


def stage_of(pipeline: Pipeline) -> Stage:
    """Return the engine's stage for a pipeline."""
    return Stage(
        topic=pipeline.source,
        decode=Decoder(pipeline.event),
        task=partial(WindowTask, pipeline),
        outputs=pipeline.outputs,
        signature=pipeline.hash,
        idle_timeout_ms=pipeline.idle_timeout_ms,
        out_of_orderness_ms=pipeline.out_of_orderness_ms,
    )
