"""Records made a column at a time: what fills a topic must not take longer than what is measured."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from benchmarks.scenario import Record
from schemas.partitioning import partition_of

CLOSER = "closer-"
"""What the names begin with whose one event, after all others, closes every window of a partition."""
_AT_ONCE = 50_000


def numerals(values: NDArray[np.int64] | NDArray[np.float64]) -> pa.Array:
    """Return numbers, shape (n,), as JSON has them, of floats the fewest digits that give the same float again."""
    return pc.cast(pa.array(values), pa.string())


def named(names: Sequence[str], codes: NDArray[np.int64]) -> pa.Array:
    """Return the name that belongs to each code, shape (n,)."""
    return pa.array(names, pa.string()).take(pa.array(codes))


def closing(partitions: int) -> list[str]:
    """Return for each partition a name that belongs there."""
    names = [f"{CLOSER}{i}" for i in range(64 * partitions)]
    homes = partition_of([name.encode() for name in names], partitions).tolist()
    return [names[homes.index(partition)] for partition in range(partitions)]


def records(keys: pa.Array, template: str, *columns: pa.Array) -> Iterator[Record]:
    """Yield (key, value) of each row; values are the template with the columns' texts in place of its ``%s``, in their order."""
    first, *rest = (pa.scalar(text) for text in template.split("%s"))
    for begin in range(0, len(keys), _AT_ONCE):
        parts = [first]
        for column, text in zip(columns, rest, strict=True):
            parts += [column.slice(begin, _AT_ONCE), text]
        values = pc.binary_join_element_wise(*parts, "")
        yield from zip(_as_bytes(keys.slice(begin, _AT_ONCE)), _as_bytes(values), strict=True)


def _as_bytes(texts: pa.Array) -> list[bytes]:
    found: list[bytes] = texts.cast(pa.binary()).to_pylist()
    return found
