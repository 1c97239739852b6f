"""What can stop a worker or one of its partitions, each with what to do next."""

from __future__ import annotations


class EngineError(Exception):
    """The base of all errors of the engine."""


class FencedError(EngineError):
    """Another process took over this partition's transactions; this task must be dropped."""


class IncompatibleCheckpointError(EngineError):
    """The checkpoint was written by another format or another pipeline definition."""


class SealedStateError(IncompatibleCheckpointError):
    """The checkpoint is sealed by a key that is not there, or a block of it was changed or moved."""


class PartitionCountError(EngineError):
    """Topics that must be co-partitioned are not, or a partition count changed under a checkpoint."""


class MissingTopicError(EngineError):
    """A topic that the pipeline reads or writes does not exist."""


class UnreadableError(EngineError):
    """A source's log holds bytes that are no records, or records in a form that cannot be read."""


class PositionLostError(EngineError):
    """The source no longer holds the position to go on from."""


class BreakerOpenError(EngineError):
    """Nearly all input was bad; going on would drain the topic into its dead letters."""


class HandlerError(EngineError):
    """The task failed and no single row explains it."""


class OutputRefusedError(EngineError):
    """Kafka will never take an output as it is: too large, not allowed, or its topic is gone."""

    def __init__(self, message: str, *, too_large: bool = False) -> None:
        super().__init__(message)
        self.too_large = too_large


class StoppingError(EngineError):
    """The worker is told to stop while it waits for Kafka; the next owner goes on from the checkpoint."""
