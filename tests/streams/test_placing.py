"""Where outputs go, and how their memory is given back."""

from __future__ import annotations

import gc
import weakref

import pytest

from streams.placing import Placed, let_go, records_of
from streams.task import Output


def test_outputs_go_to_their_own_partition_to_their_keys_or_to_all() -> None:
    placed = [Placed("t", Output("result", b"k", b"v", to=to)) for to in ("same", "key", "all")]
    where = [record.partition for record in records_of(placed, 2, 3)]
    assert where[0] == 2
    assert where[1] == records_of(placed[1:2], 0, 3)[0].partition
    assert where[2:] == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1, 5_000, 12_345])
def test_whatever_their_number_all_items_are_let_go(count: int) -> None:
    class Item:
        pass

    items = [Item() for _ in range(count)]
    held = weakref.WeakSet(items)
    let_go(items)
    gc.collect()
    assert items == []
    assert len(held) == 0
