"""When a partition is taken from its owner, in a world of two workers that are watched once a second."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given
from hypothesis import strategies as st

from streams.costs import Costs, Spent
from streams.membership import Heirdom
from streams.trailing import Trails

LIMIT = 10.0
MINE, THEIRS, SIBLING = 0, 1, 2
Course = Callable[[int], int]


def keeping_pace(second: int) -> int:
    return 100 * second - 150


def stuck_at(moment: int) -> Course:
    return lambda second: keeping_pace(min(second, moment))


def watch(
    courses: Mapping[int, Course],
    heirdom: Heirdom,
    *,
    seconds: int = 120,
    ends: Course = lambda second: 100 * second,
    skip: range = range(0),
) -> int | None:
    """Return the second at which the watcher, who owns partition 0, takes partition 1; ``None`` if it never does."""
    trails = Trails(LIMIT, 1.0)
    trails.begin(0.0, {THEIRS: heirdom}, [MINE])
    for second in range(1, seconds):
        if second in skip:
            continue
        positions = {("t", p): max(course(second), 0) for p, course in courses.items()}
        trails.observe(float(second), {("t", p): ends(second) for p in courses}, positions)
        if trails.due():
            assert trails.due() == [THEIRS]
            trails.taken(THEIRS)
            assert trails.due() == []
            return second
    return None


LONE = Heirdom("w")
WITH_SIBLING = Heirdom("w", [SIBLING])


def test_a_stuck_owner_is_noticed_once_records_have_waited_for_the_limit() -> None:
    taken = watch({MINE: keeping_pace, THEIRS: stuck_at(20)}, LONE)
    assert taken is not None
    assert 20 + LIMIT <= taken <= 20 + LIMIT + 3


def test_an_owner_that_crawls_is_noticed_too() -> None:
    crawling = lambda second: keeping_pace(min(second, 20)) + 5 * max(second - 20, 0)  # noqa: E731
    taken = watch({MINE: keeping_pace, THEIRS: crawling}, LONE)
    assert taken is not None
    assert taken <= 20 + LIMIT + 5


def test_an_owner_that_keeps_pace_far_behind_trails() -> None:
    behind = lambda second: keeping_pace(second - 15)  # noqa: E731
    assert watch({MINE: keeping_pace, THEIRS: behind}, LONE) is not None


def test_nothing_is_taken_from_owners_that_keep_pace_or_have_nothing_to_do() -> None:
    assert watch({MINE: keeping_pace, THEIRS: keeping_pace}, LONE) is None
    assert watch({MINE: lambda _: 700, THEIRS: lambda _: 700}, LONE, ends=lambda _: 700) is None


def test_an_owner_that_catches_up_is_left_alone() -> None:
    """It begins 100,000 records behind, and works them off at 1,000 a second while 100 a second come."""
    ends = lambda second: 100_000 + 100 * second  # noqa: E731
    fast = lambda second: min(1_000 * second, ends(second) - 50)  # noqa: E731
    assert watch({MINE: lambda second: ends(second) - 50, THEIRS: fast}, LONE, ends=ends) is None


def test_a_group_that_is_behind_as_a_whole_fences_nobody() -> None:
    assert watch({MINE: stuck_at(20), THEIRS: stuck_at(20)}, LONE) is None


def test_a_partition_that_trails_while_its_owner_works_on_others_stays() -> None:
    courses = {MINE: keeping_pace, THEIRS: stuck_at(20), SIBLING: keeping_pace}
    assert watch(courses, WITH_SIBLING) is None
    assert watch(courses | {SIBLING: stuck_at(21)}, WITH_SIBLING) is not None
    assert watch(courses | {SIBLING: lambda second: 100 * second}, LONE) is not None


def test_each_time_a_partition_is_taken_it_is_given_twice_as_long() -> None:
    waits = [
        (watch({MINE: keeping_pace, THEIRS: stuck_at(1)}, Heirdom("w", [], moves), seconds=400) or 0) - 1
        for moves in range(4)
    ]
    assert all(LIMIT * 2**moves <= wait <= LIMIT * 2**moves + 3 for moves, wait in enumerate(waits))


def test_one_that_has_just_moved_is_given_time_to_restore() -> None:
    taken = watch({MINE: keeping_pace, THEIRS: stuck_at(1)}, Heirdom("w", [], 0, True))
    assert taken is not None
    assert taken > 4 * LIMIT


def test_a_watcher_that_was_stopped_itself_trusts_nothing_it_saw_before() -> None:
    """It sleeps from second 20 to 60, in which its own clock goes on; the owner is fine."""
    other = lambda second: keeping_pace(20) if second == 60 else keeping_pace(second)  # noqa: E731
    assert watch({MINE: keeping_pace, THEIRS: other}, LONE, skip=range(20, 60)) is None


@given(
    lag=st.integers(0, 400),
    jitter=st.lists(st.integers(0, 300), min_size=60, max_size=60),
    rate=st.integers(1, 500),
)
def test_owners_never_more_than_the_limit_behind_are_never_fenced(
    lag: int, jitter: list[int], rate: int
) -> None:
    """Up to 4 s behind, and up to 3 s more by chance."""
    course = lambda second: rate * second - rate * (lag + jitter[second % 60]) // 100  # noqa: E731
    ends = lambda second: rate * second  # noqa: E731
    assert watch({MINE: ends, THEIRS: course}, LONE, seconds=60, ends=ends) is None


def test_the_cost_of_a_partition_is_what_it_takes_to_keep_pace_and_to_catch_up() -> None:
    costs = Costs()
    for second in range(31):
        spent = {0: Spent(0.2 * second, 1_000 * second), 1: Spent(0.01 * second, 0)}
        found = costs.measure(float(second), spent, {0: 1_500 * second, 1: 0}, {0: 500 * second, 1: 0})
        assert found == {} or second >= 10
    assert abs(found[0] - 0.0002 * (1_500 + 500 * 30 / 60)) < 1e-9
    assert abs(found[1] - 0.01) < 1e-9
    begun = costs.measure(31.0, {0: Spent(0.1, 10), 1: Spent(0.4, 0)}, {}, {})
    assert begun.keys() == {1}
