"""Pacing against a clock that only sleeping moves."""

from __future__ import annotations

import pytest

from producers.pacing import Pacer, shift_to


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def read(self) -> float:
        return self.now


def sent_at(speed: float | None, times: list[int]) -> list[float]:
    clock = Clock()
    pacer = Pacer(speed, clock.read, clock.sleep)
    moments = []
    for time in times:
        pacer.wait_for(time)
        moments.append(round(clock.now - 100.0, 3))
    return moments


def test_event_time_passes_at_the_speed_given() -> None:
    assert sent_at(1.0, [5_000, 5_500, 7_000]) == [0.0, 0.5, 2.0]
    assert sent_at(60.0, [5_000, 65_000, 125_000]) == [0.0, 1.0, 2.0]


def test_without_a_speed_nothing_waits() -> None:
    assert sent_at(None, [0, 10**9]) == [0.0, 0.0]


def test_an_event_older_than_one_before_is_due_at_once() -> None:
    assert sent_at(1.0, [1_000, 3_000, 1_500, 4_000]) == [0.0, 2.0, 2.0, 3.0]


@pytest.mark.parametrize("speed", [0.0, -1.0, float("inf"), float("nan")])
def test_a_speed_must_be_positive_and_finite(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Pacer(speed, lambda: 0.0, lambda _: None)


@pytest.mark.parametrize(("speed", "last_is_at"), [(1.0, 1_060_000), (60.0, 1_001_000), (None, 1_000_000)])
def test_the_last_event_is_shifted_to_when_it_is_sent(speed: float | None, last_is_at: int) -> None:
    assert 70_000 + shift_to(1_000_000, 10_000, 70_000, speed) == last_is_at
