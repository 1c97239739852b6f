"""Whether a checkpoint fits the pipeline that is to go on from it, and what to do where it does not."""

from __future__ import annotations

from collections.abc import Sequence

from streams.checkpoint import FORMAT, Manifest
from streams.config import Stage
from streams.errors import IncompatibleCheckpointError, PartitionCountError
from streams.runner import signature_of


def check_compatible(manifest: Manifest, stages: Sequence[Stage], partitions: int, app: str) -> None:
    """Refuse a checkpoint of another format, another pipeline definition or another number of partitions.

    Raises:
        PartitionCountError: keys have moved between partitions.
        IncompatibleCheckpointError: the state means something else.
    """
    if manifest.partitions != partitions:
        raise moved_keys(app, manifest.partitions, partitions)
    if manifest.version != FORMAT or manifest.signature != signature_of(stages):
        what = (
            f"format {manifest.version}"
            if manifest.version != FORMAT
            else "another definition of this pipeline"
        )
        raise IncompatibleCheckpointError(
            f"The checkpoints of {app!r} were written by {what}. Either run the definition that wrote them, or start this one side "
            f"by side under another --app-id, or run 'tidewatch reset --app-id {app} --to earliest' (or a time) to recompute."
        )


def moved_keys(app: str, before: int, now: int) -> PartitionCountError:
    """Return the error, with a plan, for a source whose number of partitions has changed."""
    return PartitionCountError(
        f"The source has {now} partitions, but the checkpoints of {app!r} were written for {before}: keys have moved between "
        "partitions, so the state no longer belongs to them. Plan: (1) stop the workers; (2) let the output topics have as many "
        "partitions as the source; (3) start side by side under a new --app-id, which recomputes from the source; (4) once it has "
        "caught up, switch the readers over and delete the old checkpoint topic."
    )
