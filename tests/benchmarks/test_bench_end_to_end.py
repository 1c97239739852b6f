"""A tiny run of the benchmark on a real broker: right is called right and wrong is called wrong."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from benchmarks.drain import DrainError
from benchmarks.events import Workload
from benchmarks.oracle import Recount, Result
from benchmarks.systems import System, systems
from benchmarks.throughput import Plan, UnknownSystemError, bench, measure

pytestmark = [pytest.mark.kafka, pytest.mark.slow]


def _say(_: str) -> None:
    """Say nothing."""


def test_a_tiny_run_is_right_and_names_everything() -> None:
    report = measure(Plan(["tidewatch"], keys=20, per_window=20, scale=0.002), _say)
    (system,) = report["systems"]
    assert system["name"] == "tidewatch"
    assert (system["small"], system["large"]) == (2_000, 8_000)
    assert system["faults"] == []
    assert system["peak_mb"] > 10
    assert report["machine"]["cores"] >= 1
    assert report["skipped"] == {}


def test_wrong_results_and_missing_ones_are_reported() -> None:
    ours = systems()["tidewatch"]
    workload = Workload(2_000, keys=20, per_window=20)
    recount = Recount.of(workload)

    def spoilt(value: bytes) -> Result:
        return msgspec.structs.replace(ours.read(value), count=1)

    with bench() as place:
        wrong = place.drain(replace(ours, read=spoilt), workload, recount, "wrong", 120)
        assert "count, min, max" in wrong.faults[0]
        idle = System("idle", str, lambda _: ["true"], 1, 2, ours.read)
        with pytest.raises(DrainError, match="0 of 100 results came"):
            place.drain(idle, workload, recount, "idle", 120)


def test_an_unknown_system_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownSystemError, match=r"no system storm; there are tidewatch, faust"):
        measure(Plan(["storm"]), _say)
