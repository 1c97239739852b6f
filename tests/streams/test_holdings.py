"""What a worker tells its group after it was given, took and lost partitions, by a clock that the test moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from streams.config import EngineConfig
from streams.holdings import FORGOTTEN_AFTER, REST, Holdings
from streams.membership import Heirdom, Told

LIMIT = 10.0


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def holdings(clock: Clock) -> Holdings:
    config = EngineConfig("app", {}, takeover_after=LIMIT, standbys=2)
    costs = {0: 0.123456, 5: 1.0}
    return Holdings(replace(config, monotonic=clock), lambda: costs, lambda: [7])


def test_a_worker_says_what_it_holds_and_what_that_costs(holdings: Holdings) -> None:
    holdings.heard(Told(4))
    holdings.assigned([1, 0])
    said = holdings.joining()
    assert (said.worker, said.round, said.owned, said.copies) == (
        holdings.worker,
        4,
        {0: 0.1235, 1: None},
        [7],
    )
    assert holdings.copies_wanted == 2
    holdings.lost(1)
    assert holdings.joining().owned.keys() == {0}


def test_what_it_took_is_its_own_and_the_one_before_is_to_rest(holdings: Holdings, clock: Clock) -> None:
    holdings.assigned([0])
    rest = holdings.taken(3, Heirdom("slow", [], 1))
    assert rest == 2 * REST * LIMIT
    clock.now += 100
    said = holdings.joining()
    assert said.owned.keys() == {0, 3}
    assert said.moves == {3: 2}
    assert said.resting == {"slow": rest - 100}


def test_moves_are_told_on_and_forgotten_once_a_partition_has_stayed(
    holdings: Holdings, clock: Clock
) -> None:
    for _ in range(3):
        holdings.heard(Told(2, moves={0: 3}))
        holdings.assigned([0])
        assert holdings.joining().moves == {0: 3}
        clock.now += FORGOTTEN_AFTER * LIMIT / 2.5
    assert holdings.joining().moves == {}


def test_a_worker_has_rested_when_its_time_is_over_and_nobody_has_shared_out_since(
    holdings: Holdings, clock: Clock
) -> None:
    rest = holdings.taken(3, Heirdom("slow"))
    assert not holdings.rested("slow")
    clock.now += rest
    assert holdings.rested("slow")
    assert holdings.joining().resting == {}
    holdings.heard(Told(5))
    assert not holdings.rested("slow")


def test_what_others_said_of_those_that_rest_is_passed_on(holdings: Holdings, clock: Clock) -> None:
    holdings.heard(Told(2, resting={"slow": 50.0}))
    clock.now += 20
    assert holdings.joining().resting == {"slow": 30.0}
