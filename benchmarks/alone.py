"""A declaration run over whole topics of one partition, in this process and without Kafka: to compile its loops, and for tests."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.scenario import Record, Scenario
from schemas.columns import RawBatch
from streams.stages import AnyPipeline, stages_of
from streams.task import Output

LATER = 1_800_000_000_000
"""What the log's clock says of all records: after any event."""


def run_alone(declare: Callable[[str, str], AnyPipeline], scenario: Scenario) -> list[Output]:
    """Return all that the stages of a declaration put out for a scenario of one partition, in order of the stages.

    Raises ValueError if it has more.
    """
    if scenario.partitions != 1:
        raise ValueError("only a scenario of one partition can be run alone")
    topics: dict[str, list[tuple[bytes | None, bytes]]] = defaultdict(list)
    for ending, records in scenario.topics().items():
        topics["in" + ending] += records
    outputs: list[Output] = []
    for stage in stages_of(declare("in", "out"), 1):
        made = stage.task(0).process(stage.decode(_batch(stage.topic, topics[stage.topic])))
        outputs += made
        for output in made:
            if output.kind == "partial":
                topics[stage.outputs["partial"]].append((output.key, output.value or b""))
    return outputs


def _batch(topic: str, records: Sequence[Record | tuple[bytes | None, bytes]]) -> RawBatch:
    n = len(records)
    keys, values = [key for key, _ in records], [value for _, value in records]
    return RawBatch(topic, 0, 0, n, np.arange(n), np.full(n, LATER), keys, values)
