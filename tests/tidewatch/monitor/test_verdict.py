"""Burrow's rules on courses of offsets, and lag in seconds."""

import pytest

from tidewatch.monitor.verdict import Look, lag_seconds, verdict


def course(committed: list[int], end: list[int], alive: bool = True) -> list[Look]:
    return [Look(10.0 * i, c, e, alive) for i, (c, e) in enumerate(zip(committed, end, strict=True))]


@pytest.mark.parametrize(
    ("committed", "end", "alive", "expected"),
    [
        ([5, 9, 12], [8, 10, 12], True, "ok"),  # caught up
        ([5, 5, 5], [5, 5, 5], False, "ok"),  # nothing to do, nobody needed
        ([5, 5, 6], [5, 9, 20], True, "ok"),  # lag was nil within the window
        ([10, 20, 30], [50, 55, 58], True, "ok"),  # lag falls
        ([10, 20, 30], [50, 61, 75], True, "warn"),  # commits, but falls behind
        ([10, 20, 30], [50, 60, 70], True, "warn"),  # commits, and the lag stays
        ([10, 10, 10], [50, 51, 52], True, "stall"),
        ([10, 10, 10], [50, 50, 50], True, "stall"),
        ([10, 10, 10], [50, 51, 52], False, "stop"),
        ([10, 4, 30], [50, 51, 52], True, "rewind"),
        ([10], [50], True, "ok"),  # one look shows no course
    ],
)
def test_each_course_has_its_verdict(
    committed: list[int], end: list[int], alive: bool, expected: str
) -> None:
    assert verdict(course(committed, end, alive)) == expected


def test_lag_in_seconds_is_the_age_of_the_first_uncommitted_record() -> None:
    # The end passed 10 at time 5, half-way between the looks at 0 (end 0) and 10 (end 20).
    assert lag_seconds(course([0, 0, 10], [0, 20, 40])) == pytest.approx(15.0)
    assert lag_seconds(course([0, 0, 40], [0, 20, 40])) == 0.0


def test_lag_older_than_the_first_look_counts_from_there() -> None:
    assert lag_seconds(course([3, 3], [50, 60])) == 10.0


def test_no_looks_no_verdict() -> None:
    with pytest.raises(ValueError, match="at least one look"):
        verdict([])
    with pytest.raises(ValueError, match="at least one look"):
        lag_seconds([])
