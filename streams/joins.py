"""The declaration of a join: two inputs, the label they share, and how rows find one another."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial

from schemas.codec import Decoder
from schemas.contributions import as_columns
from schemas.event_types import EventType
from streams.config import Stage
from streams.join_task import ForwardTask, JoinTask
from streams.once import OnceTask
from streams.task import Task


@dataclass(frozen=True, kw_only=True)
class Input:
    """One input of a join: its topic and event, and which of its numbers and labels to carry along. Times are milliseconds."""

    source: str
    event: EventType
    fields: tuple[str, ...]
    out_of_orderness_ms: int = 2_000


@dataclass(frozen=True, kw_only=True)
class Join:
    """Join two inputs on a label that both have.

    With ``within_ms`` every pair of rows of a key whose event times differ by no more is a result (stream-stream join), with
    ``window_ms`` every pair that falls into the same tumbling window of that size (window join). Without
    either the right input is a table: every left row is joined with the newest right row of its key before it, or with none (lookup
    join). Rows go to the topic ``shuffled``, to the partition of their key, and are taken there in order of (event time, topic,
    partition, offset) up to the minimum of all watermarks; ``step_ms`` is how often watermarks are sent, in event time.

    Raises:
        ValueError: a field or the key is not in an event, a number is out of range, or both kinds of nearness are given.
    """

    name: str
    left: Input
    right: Input
    on: str
    shuffled: str
    results: str
    within_ms: int | None = None
    window_ms: int | None = None
    idle_timeout_ms: int | None = 10_000
    step_ms: int = 1_000
    version: int = 1

    def __post_init__(self) -> None:
        if self.left.source == self.right.source:
            raise ValueError("a join needs two topics")
        for side in (self.left, self.right):
            for field in (self.on, *side.fields):
                if field not in {*side.event.labels, *side.event.numbers}:
                    raise ValueError(f"{side.source} has no field {field!r}")
            if self.on not in side.event.labels:
                raise ValueError(f"{self.on!r} is a number; join on a label")
        if self.step_ms < 1 or (self.within_ms is not None and self.within_ms < 0):
            raise ValueError("step_ms must be positive, within_ms not negative")
        if self.window_ms is not None and (self.window_ms < 1 or self.within_ms is not None):
            raise ValueError("window_ms must be positive, and stands instead of within_ms")

    @property
    def inputs(self) -> tuple[Input, Input]:
        """The left and the right input."""
        return self.left, self.right

    @property
    def hash(self) -> str:
        """A digest of everything that decides results."""
        sides = [(i.source, i.event.name, i.fields, i.out_of_orderness_ms) for i in self.inputs]
        parts = [self.name, sides, self.on, self.shuffled, self.within_ms, self.step_ms, self.version]
        window = [] if self.window_ms is None else [("window", self.window_ms)]
        return hashlib.sha256(repr([*parts, *window]).encode()).hexdigest()

    def stages(self, partitions: int) -> list[Stage]:
        """Return the stages of an app whose topics have so many partitions: one for each input, and the join itself."""
        forwards = [
            Stage(
                topic=each.source,
                decode=Decoder(each.event, partitions=partitions),
                task=partial(self._forward, side, each),
                outputs={"partial": self.shuffled, "dead": f"{each.source}.dlq"},
                signature=self.hash,
                idle_timeout_ms=self.idle_timeout_ms,
                out_of_orderness_ms=each.out_of_orderness_ms,
                marks_idle=True,
            )
            for side, each in enumerate(self.inputs)
        ]
        topics = (self.left.source, self.right.source)
        join = Stage(
            topic=self.shuffled,
            decode=as_columns,
            task=lambda _: JoinTask(self.name, topics, self.within_ms, partitions, self.window_ms),
            outputs={"result": self.results, "late": f"{self.shuffled}.late", "dead": f"{self.shuffled}.dlq"},
            signature=self.hash,
        )
        return [*forwards, join]

    def _forward(self, side: int, each: Input, partition: int) -> Task:
        return OnceTask(
            ForwardTask(
                self.name, side, self.on, each.fields, each.out_of_orderness_ms, self.step_ms, partition
            )
        )
