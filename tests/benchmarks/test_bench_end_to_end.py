"""A tiny run of the benchmark on a real broker: right is called right and wrong is called wrong."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from benchmarks.drain import DrainError
from benchmarks.families import DECLARED
from benchmarks.oracle import Plain, Result
from benchmarks.place import bench
from benchmarks.system import System
from benchmarks.systems import systems
from benchmarks.throughput import Plan, UnknownSystemError, measure

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def _say(_: str) -> None:
    """Say nothing."""


def test_a_tiny_run_is_right_and_names_everything() -> None:
    report = measure(Plan(["tidewatch"], keys=20, per_window=20, scale=0.002), _say)
    (system,) = report["systems"]
    assert system["name"] == "tidewatch"
    assert (system["small"], system["large"]) == (4_000, 16_000)
    assert system["faults"] == []
    assert system["peak_mb"] > 10
    assert report["machine"]["cores"] >= 1
    assert report["skipped"] == {}


def test_wrong_results_and_missing_ones_are_reported() -> None:
    ours = systems()["tidewatch"]
    scenario = Plain(2_000, keys=20, per_window=20)
    answer = scenario.answer()

    def spoilt(value: bytes) -> Result:
        result: Result = ours.read(value)
        return msgspec.structs.replace(result, count=1)

    with bench() as place:
        wrong = place.drain(replace(ours, read=spoilt), scenario, answer, "wrong", 120)
        assert "count, min, max" in wrong.faults[0]
        idle = System("idle", str, lambda _: ["true"], 1, 2, ours.read)
        with pytest.raises(DrainError, match="0 of 100 results came"):
            place.drain(idle, scenario, answer, "idle", 120)


@pytest.mark.parametrize("name", ["quix", "bytewax", "pathway", "flink", "tidewatch-2"])
def test_a_peer_computes_the_same_windows(name: str) -> None:
    report = measure(Plan([name], keys=20, per_window=20, scale=0.02), _say)
    if report["skipped"]:
        pytest.skip(report["skipped"][name])
    (system,) = report["systems"]
    assert system["faults"] == []
    assert system["version"]


@pytest.mark.parametrize("scenario", list(DECLARED))
def test_every_other_scenario_gives_its_rows(scenario: str) -> None:
    report = measure(Plan(["tidewatch"], scale=0.02, scenario=scenario), _say)
    (system,) = report["systems"]
    assert system["faults"] == []


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownSystemError, match=r"no scenario q3; there are plain, ysb"):
        measure(Plan(scenario="q3"), _say)


def test_an_unknown_system_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownSystemError, match=r"no system storm; there are tidewatch, faust"):
        measure(Plan(["storm"]), _say)
