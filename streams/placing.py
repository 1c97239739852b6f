"""Which partitions each output goes to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from schemas.partitioning import partition_of
from streams.task import Output
from streams.transactions import Record

_AT_ONCE = 5_000


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An output together with the topic it goes to."""

    topic: str
    output: Output


def let_go(items: list[Any]) -> None:
    """Empty a list in steps: to free very many objects at once holds the interpreter's lock all the while."""
    while items:
        del items[-_AT_ONCE:]


def records_of(placed: Sequence[Placed], partition: int, partitions: int) -> list[Record]:
    """Return the records to write, in order, for outputs of the task on ``partition`` of ``partitions``."""
    keyed = [item.output.key or b"" for item in placed if item.output.to == "key"]
    chosen = iter(partition_of(keyed, partitions).tolist() if keyed else ())
    records: list[Record] = []
    for item in placed:
        output = item.output
        if output.to == "same":
            where: Sequence[int] = (partition,)
        else:
            where = (next(chosen),) if output.to == "key" else range(partitions)
        records += [Record(item.topic, p, output.key, output.value, output.headers) for p in where]
    return records
