"""The arithmetic of the benchmarks: two sizes, medians, ratios."""

from __future__ import annotations

from benchmarks.drain import Drain
from benchmarks.figures import figures, ratios


def _drain(events: int, seconds: float, cpu: float, faults: list[str] | None = None) -> Drain:
    return Drain(events, seconds, cpu, 100.0 + events / 1_000, faults or [])


def test_start_up_is_differenced_out_and_medians_are_taken() -> None:
    rounds = [(_drain(1_000, 5.0, 2.0), _drain(3_000, 5.0 + s, 2.0 + s / 2)) for s in (1.0, 2.0, 9.0)]
    found = figures("x", "1", rounds)
    assert found.events_per_s == 1_000
    assert found.cpu_s_per_million == 500.0
    assert found.peak_mb == 103.0
    assert (found.small, found.large, found.small_s, found.large_s, found.rounds) == (
        1_000,
        3_000,
        5.0,
        7.0,
        3,
    )
    assert found.correct


def test_one_wrong_drain_makes_a_system_wrong() -> None:
    rounds = [(_drain(1, 1, 1), _drain(2, 2, 2)), (_drain(1, 1, 1), _drain(2, 2, 2, ["a window is missing"]))]
    found = figures("x", "1", rounds)
    assert not found.correct
    assert found.faults == ["a window is missing"]


def test_noise_larger_than_the_difference_is_no_rate() -> None:
    found = figures("x", "1", [(_drain(1_000, 5.0, 2.0), _drain(3_000, 4.9, 3.0))])
    assert found.events_per_s == 0
    assert found.correct
    assert ratios({"tidewatch": found, "y": figures("y", "1", [(_drain(0, 0, 0), _drain(9, 2, 1))])}) == {}


def test_ratios_compare_what_is_right_only() -> None:
    ours = figures("tidewatch", "1", [(_drain(0, 0, 0), _drain(1_000_000, 2, 1))])
    slow = figures("slow", "1", [(_drain(0, 0, 0), _drain(1_000_000, 100, 50))])
    wrong = figures("wrong", "1", [(_drain(0, 0, 0), _drain(1_000_000, 100, 50, ["no"]))])
    found = {each.name: each for each in (ours, slow, wrong)}
    assert ratios(found) == {"slow": {"events_per_s": 50.0, "cpu_s_per_million": 0.02}}
    assert ratios({"slow": slow}) == {}
