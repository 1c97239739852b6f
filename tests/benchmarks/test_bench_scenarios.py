"""The Yahoo Streaming Benchmark and Theodolite: answers by hand from the records, and the tasks of one partition."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.families import DECLARED, families
from benchmarks.scenario import Scenario
from benchmarks.theodolite import CASES, CLOSER, DAY_MS, HOUR_MS, START, Theodolite
from benchmarks.ysb import TABLE, WINDOW, Ysb
from schemas.columns import RawBatch
from schemas.partitioning import partition_of
from streams.rollup_task import RollUpTask
from streams.stages import stages_of
from tests.streams.test_rollups import batch


def events(scenario: Scenario) -> list[dict[str, Any]]:
    (records,) = scenario.topics().values()
    return [msgspec.json.decode(value) for key, value in records if not key.startswith(b"closer-")]


def processed(name: str, scenario: Scenario) -> list[bytes]:
    """Return the results of a scenario of one partition, its roll-up included."""
    (records,) = scenario.topics().values()
    keys, values = zip(*records, strict=True)
    n = len(values)
    pipeline = DECLARED[name]("in", "out")
    stages = stages_of(pipeline, 1)
    raw = RawBatch("in", 0, 0, n, np.arange(n), np.full(n, 1_800_000_000_000), keys, values)
    outputs = stages[0].task(0).process(stages[0].decode(raw))
    assert not [output for output in outputs if output.kind in ("late", "dead")]
    if len(stages) > 1:
        partials = [(output.key, output.value or b"") for output in outputs if output.kind == "partial"]
        task = stages[1].task(0)
        assert isinstance(task, RollUpTask)
        outputs = task.process(batch(partials))
    return [output.value or b"" for output in outputs if output.kind == "result"]


def test_views_are_counted_by_campaign() -> None:
    scenario = Ysb(30_000)
    counts = Counter(
        (TABLE[event["ad_id"]], event["event_time"] // WINDOW * WINDOW)
        for event in events(scenario)
        if event["event_type"] == "view"
    )
    answer = scenario.answer()
    assert sorted(answer._rows) == sorted((name, start, count) for (name, start), count in counts.items())
    assert len(set(TABLE.values())) == 100
    assert len(next(iter(scenario.topics()[""]))[1]) > 150


@pytest.mark.parametrize("case", CASES)
def test_readings_are_added_up_by_window(case: str) -> None:
    shape, scenario = CASES[case], Theodolite(case, 4_000)
    sums: dict[tuple[str, int, int], list[float]] = defaultdict(list)
    for event in events(scenario):
        time = event["timestamp"]
        first = time // shape.hop_ms * shape.hop_ms
        for start in range(first, time - shape.size_ms, -shape.hop_ms):
            hour = time // HOUR_MS % 24 if shape.hourly else 0
            sums[event["identifier"], hour, start].append(event["valueInW"])
    assert sorted(scenario.answer()._rows) == sorted((*key, len(v), sum(v)) for key, v in sums.items())
    assert START % DAY_MS == 0


@pytest.mark.parametrize(
    ("name", "scenario"),
    [("ysb", Ysb(20_000)), ("uc2", Theodolite("uc2", 150_000)), ("uc3", Theodolite("uc3", 10_000))],
)
def test_the_tasks_of_one_partition_give_the_rows(name: str, scenario: Any) -> None:
    scenario = replace(scenario, partitions=1)
    answer, family = scenario.answer(), families()[name]
    results = [value for value in processed(name, scenario) if answer.wanted(value)]
    assert len(results) == len(answer)
    assert answer.judge(family.systems()["tidewatch"].read, results, sketch=False) == []


@pytest.mark.parametrize("name", ["ysb", *CASES])
def test_every_partition_is_closed(name: str) -> None:
    scenario = families()[name].make(3_000)
    (records,) = scenario.topics().values()
    keys = [key for key, _ in records]
    assert len(keys) == scenario.records_count
    closers = keys[scenario.events :]
    assert sorted(partition_of(closers, 4).tolist()) == [0, 1, 2, 3]
    assert all(key.decode().startswith(CLOSER) for key in closers)


def test_results_of_flink_are_the_same_rows() -> None:
    read = families()["uc3"].systems()["flink"].read
    value = b'{"identifier":"meter-00001","hour":3,"start":"2025-06-15 00:00:00","n":2,"total":1.5}'
    assert read(value) == [("meter-00001", 3, START, 2, 1.5)]
    assert [*families()][:4] == ["plain", "ysb", "uc2", "uc3"]
    assert families().keys() == {"plain", *DECLARED}
