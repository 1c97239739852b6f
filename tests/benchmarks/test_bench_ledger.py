"""Interrupted measurements go on where they were; what was measured is neither lost nor run again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks import full, rounds
from benchmarks.drain import Drain, DrainError
from benchmarks.families import Family, families
from benchmarks.full import FullPlan, report
from benchmarks.ledger import Entry, Ledger, LedgerError, Paced, pairs
from benchmarks.oracle import Plain
from benchmarks.pictures import draw
from benchmarks.rounds import LOADED, Rounds
from benchmarks.system import System
from benchmarks.throughput import UnknownSystemError, chosen


def entry(system: str, number: int, events: int, seconds: float, scenario: str = "plain") -> Entry:
    drain = Drain(events, seconds, seconds / 2, 100.0, [])
    return Entry(scenario, system, "1", number, events, drain, 0.5, "2026-11-28", {"cores": 2})


def say(_: str) -> None:
    """Say nothing."""


def test_what_was_appended_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "new" / "full.jsonl"
    lines = [entry("a", 1, 10, 1.0), Paced(0.5, 100, 0.1, {"alerts_ms": {"count": 1}})]
    ledger = Ledger(path)
    for line in lines:
        ledger.append(line)
    again = Ledger(path)
    assert again.lines == lines
    assert (again.drains, again.paced) == (lines[:1], lines[1:])
    assert again.has("plain", "a", 1, 10)
    assert not again.has("plain", "a", 2, 10)


def test_a_line_cut_off_by_a_crash_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "full.jsonl"
    Ledger(path).append(entry("a", 1, 10, 1.0))
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    ledger = Ledger(path)
    assert len(ledger.lines) == 1
    ledger.append(entry("a", 1, 20, 2.0))
    assert [e.events for e in Ledger(path).drains] == [10, 20]
    path.write_bytes(whole[:20])
    assert Ledger(path).lines == []
    assert path.read_bytes() == b""


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "full.jsonl"
    path.write_text("sensor,value\n")
    with pytest.raises(LedgerError, match=r"line 1 of .* is no measurement"):
        Ledger(path)


def test_only_rounds_with_both_sizes_make_figures() -> None:
    entries = [entry("a", 1, 30, 3.0), entry("a", 1, 10, 1.0), entry("a", 2, 10, 1.0), entry("b", 1, 10, 1.0)]
    found = pairs(entries, "plain")
    assert {name: [(s.events, n.events) for s, n in two] for name, two in found.items()} == {"a": [(10, 30)]}
    assert pairs(entries, "nexmark-q5") == {}


class Place:
    """Stands for a broker: remembers what ran, and fails where told."""

    def __init__(self, *failing: str) -> None:
        self.ran: list[tuple[str, int]] = []
        self.failing = failing

    def fill(self, scenario: Plain) -> None:
        """Fill nothing."""

    def drain(self, system: System, scenario: Plain, *_: Any) -> Drain:
        self.ran.append((system.name, scenario.events))
        if system.name in self.failing:
            raise DrainError("it broke")
        return Drain(scenario.events, scenario.events / 1_000, 1.0, 1.0, [])


def system(name: str, missing: str | None = None) -> System:
    return System(name, lambda: "1", lambda _: [], 1_000, 2_000, lambda _: None, lambda _: missing)


def run(monkeypatch: pytest.MonkeyPatch, place: Place, ledger: Ledger, *systems: System) -> Rounds:
    @contextmanager
    def here() -> Iterator[Place]:
        yield place

    monkeypatch.setattr(rounds, "bench", here)
    family = Family(lambda events: Plain(events, 10, 10), dict)
    made = Rounds("plain", family, systems, ledger, say)
    made.run([1, 2])
    return made


def test_what_is_measured_is_not_run_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "full.jsonl")
    ledger.append(entry("a", 1, 1_000, 1.0))
    ledger.append(entry("b", 2, 2_000, 1.0))
    place = Place()
    run(monkeypatch, place, ledger, system("a"), system("b"))
    assert place.ran == [("a", 2_000), ("b", 1_000), ("b", 2_000), ("a", 1_000), ("a", 2_000), ("b", 1_000)]
    nothing = Place()
    run(monkeypatch, nothing, Ledger(tmp_path / "full.jsonl"), system("a"), system("b"))
    assert nothing.ran == []


def test_what_is_missing_or_fails_is_skipped_with_a_word_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    place, ledger = Place("broken"), Ledger()
    made = run(monkeypatch, place, ledger, system("broken"), system("absent", "no Java"), system("fine"))
    assert made.skipped == {"broken": "it broke", "absent": "no Java"}
    assert place.ran == [("broken", 1_000), *[("fine", 1_000), ("fine", 2_000)] * 2]
    assert [e.round for e in ledger.drains] == [1, 1, 2, 2]


def test_latency_is_measured_once_at_each_share_of_the_sustained_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = []

    def measured(pace: Any, _: Any) -> dict[str, Any]:
        rates.append(pace.rate)
        processed = min(pace.rate, 600)
        return {"alerts_ms": {"p99": 1.0}, "windows_ms": {"p99": 2.0}, "processed_per_s": processed}

    monkeypatch.setattr(full.latency, "measure", measured)
    ledger = Ledger()
    for line in (entry("tidewatch", 1, 0, 1.0), entry("tidewatch", 1, 1_000, 2.0)):
        ledger.append(line)
    plan = FullPlan(["plain"], ["nobody"])
    full.measure(plan, ledger, say)
    full.measure(plan, ledger, say)
    assert rates == [1_000, 300, 480]
    assert [paced["share"] for paced in report(ledger)["latency"]] == [1.0, 0.5, 0.8]


def test_the_usual_benchmark_fits_a_quarter_of_an_hour() -> None:
    plain = families()["plain"]
    made = Rounds("plain", plain, chosen((), "plain", plain), Ledger(), say)
    assert 600 < made.seconds(range(1, 4)) < 900


def test_a_plan_says_how_long_it_takes_and_less_where_it_goes_on() -> None:
    family = Family(lambda events: Plain(events, 10, 10), dict)
    one = replace(system("a"), start=5.0, rate=100.0)
    ledger = Ledger()
    made = Rounds("plain", family, [one], ledger, say)
    assert made.seconds([1, 2]) == pytest.approx(2 * (5 + 10 + 5 + 20) + 3_000 / LOADED)
    ledger.append(entry("a", 1, 1_000, 1.0))
    assert made.seconds([1]) == pytest.approx(25 + 2_000 / LOADED)
    said: list[str] = []
    full.measure(FullPlan(["plain"], ["nobody"]), Ledger(), said.append)
    assert said[0] == "about 4 minutes if nothing else is at work; once interrupted, it goes on there"


def test_an_unknown_scenario_is_refused() -> None:
    with pytest.raises(UnknownSystemError, match="no scenario q3; there are plain"):
        full.measure(FullPlan(["q3"]), Ledger(), say)


def test_pictures_show_each_system_and_are_the_same_again(tmp_path: Path) -> None:
    ledger = Ledger()
    for scenario, name, seconds in (
        ("plain", "tidewatch", 1.0),
        ("plain", "slow", 9.0),
        ("plain", "hidden", -0.1),
        ("nexmark-q5", "flink", 2.0),
    ):
        ledger.append(entry(name, 1, 0, 0.5, scenario))
        ledger.append(entry(name, 1, 100_000, 0.5 + seconds, scenario))
    files = draw(ledger, tmp_path / "one")
    assert [file.name for file in files] == ["throughput.svg", "cpu.svg", "scenarios.svg"]
    text = files[0].read_text()
    assert "slow" in text
    assert "hidden" not in text
    assert "100k" in text
    assert "11k" in text
    assert "nexmark-q5" in files[2].read_text()
    again = draw(ledger, tmp_path / "two")
    assert [file.read_bytes() for file in again] == [file.read_bytes() for file in files]
    assert draw(Ledger(), tmp_path) == []
    noise = Ledger()
    for events in (0, 1_000):
        noise.append(entry("tidewatch", 1, events, 1.0))
    assert draw(noise, tmp_path) == []


def test_every_system_has_two_sizes() -> None:
    for family in families().values():
        for each in family.systems().values():
            assert 0 < each.small < each.large
