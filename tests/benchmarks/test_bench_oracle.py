"""The recount of the benchmarks, and that it tells right from wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from benchmarks.events import START, WINDOW, Workload
from benchmarks.oracle import Recount, Result, judge
from benchmarks.texts import CLOSER
from schemas.partitioning import partition_of

WORKLOAD = Workload(5_000, keys=20, per_window=50)
RECOUNT = Recount.of(WORKLOAD)


def by_hand() -> list[Result]:
    """The windows of the records, counted one by one from the JSON that goes into the topic."""
    windows: dict[tuple[str, int], list[float]] = {}
    for _, record in WORKLOAD.records():
        event = msgspec.json.decode(record)
        windows.setdefault((event["sensor_id"], event["time"] // WINDOW * WINDOW), []).append(event["value"])
    return [
        Result(
            sensor, start, len(v), sum(v) / len(v), min(v), max(v), float(np.quantile(v, 0.5, method="inverted_cdf"))
        )
        for (sensor, start), v in windows.items()
    ]  # fmt: skip


def test_the_recount_is_that_of_the_records() -> None:
    assert len(RECOUNT) == len(by_hand()) - WORKLOAD.partitions
    assert judge(WORKLOAD, RECOUNT, by_hand(), sketch=True).correct


def test_events_are_the_same_in_a_larger_workload_and_every_partition_is_closed() -> None:
    records = list(WORKLOAD.records())
    larger = [record for record, _ in zip(Workload(9_000, 20, 50).records(), range(5_000), strict=False)]
    assert records[:5_000] == larger
    assert len(records) == WORKLOAD.records_count
    closers = [key for key, _ in records[5_000:]]
    assert sorted(partition_of(closers, 4).tolist()) == [0, 1, 2, 3]
    assert all(key.decode().startswith(CLOSER) for key in closers)
    assert 100 < len(records[0][1]) < 130
    assert WORKLOAD.time[0] == START


@dataclass
class Fault:
    name: str
    spoil: Callable[[list[Result]], list[Result]]
    words: str


def _first(change: Callable[[Result], Result]) -> Callable[[list[Result]], list[Result]]:
    return lambda results: [change(results[0]), *results[1:]]


FAULTS = [
    Fault("lost", lambda r: r[1:], "1 of .* windows are missing"),
    Fault("doubled", lambda r: [*r, r[0]], "comes twice"),
    Fault("invented", lambda r: [*r, msgspec.structs.replace(r[0], start=r[0].start - 1)], "of no event"),
    Fault("one too many", _first(lambda r: msgspec.structs.replace(r, count=r.count + 1)), "count, min, max"),
    Fault("wrong least", _first(lambda r: msgspec.structs.replace(r, min=r.min - 0.001)), "count, min, max"),
    Fault("wrong mean", _first(lambda r: msgspec.structs.replace(r, mean=r.mean * (1 + 1e-8))), "mean is"),
    Fault("wrong median", _first(lambda r: msgspec.structs.replace(r, median=r.max * 1.1)), "median is"),
    Fault("no median", _first(lambda r: msgspec.structs.replace(r, median=None)), "median is"),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_what_is_wrong_is_found(fault: Fault) -> None:
    (found,) = judge(WORKLOAD, RECOUNT, fault.spoil(by_hand()), sketch=True).faults
    assert re.search(fault.words, found)


def test_a_system_without_a_sketch_need_not_say_a_median() -> None:
    without = [msgspec.structs.replace(result, median=None) for result in by_hand()]
    assert judge(WORKLOAD, RECOUNT, without, sketch=False).correct
