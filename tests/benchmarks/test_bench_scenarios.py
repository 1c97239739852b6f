"""The Yahoo Streaming Benchmark and Theodolite: answers by hand from the records, and the tasks of one partition."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from benchmarks.alone import run_alone
from benchmarks.families import DECLARED, families
from benchmarks.scenario import Scenario
from benchmarks.texts import CLOSER
from benchmarks.theodolite import CASES, DAY_MS, HOUR_MS, START, Theodolite
from benchmarks.ysb import TABLE, WINDOW, Ysb
from schemas.partitioning import partition_of
from streams.pipeline import Pipeline
from streams.task import Output


def events(scenario: Scenario) -> list[dict[str, Any]]:
    (records,) = scenario.topics().values()
    return [msgspec.json.decode(value) for key, value in records if not key.startswith(b"closer-")]


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


SIZES = {"uc2": 65_000}


@pytest.mark.parametrize("name", DECLARED)
def test_a_declaration_gives_the_rows(name: str) -> None:
    family = families()[name]
    some: Any = family.make(SIZES.get(name, 12_000))
    scenario = replace(some, partitions=1)
    answer, outputs = scenario.answer(), run_alone(DECLARED[name], scenario)
    assert not [output for output in outputs if output.kind in ("late", "dead")]
    last = [output.value or b"" for output in results(name, outputs)]
    assert answer.judge(family.systems()["tidewatch"].read, filter(answer.wanted, last), sketch=False) == []
    assert len(answer) > (1 if name == "nexmark-q7" else 10)


def results(name: str, outputs: list[Output]) -> list[Output]:
    """Return what goes to the topic of results: where there is a roll-up, its results."""
    pipeline = DECLARED[name]("in", "out")
    found = [output for output in outputs if output.kind == "result"]
    if isinstance(pipeline, Pipeline) and pipeline.rollups:
        return [o for o in found if f'"pipeline":"{pipeline.name}:'.encode() in (o.value or b"")]
    return found


def test_only_one_partition_can_be_run_alone() -> None:
    with pytest.raises(ValueError, match="one partition"):
        run_alone(DECLARED["ysb"], Ysb(1_000))


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
