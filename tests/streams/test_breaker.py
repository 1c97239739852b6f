"""The circuit breaker trips on the share of bad rows among the last ones, however they are cut into batches."""

from __future__ import annotations

import pytest

from streams.breaker import Breaker
from streams.errors import BreakerOpenError


def test_it_trips_when_nearly_all_of_the_last_rows_are_bad() -> None:
    breaker = Breaker(1_000, 0.95, 3)
    breaker.add(50_000, 10)
    for _ in range(95):
        breaker.add(10, 10)
    with pytest.raises(BreakerOpenError, match=r"partition 3 are bad.*restart the worker"):
        breaker.add(60, 60)


def test_it_waits_for_enough_rows() -> None:
    breaker = Breaker(1_000, 0.95, 0)
    for _ in range(99):
        breaker.add(10, 10)
    with pytest.raises(BreakerOpenError, match="100% of the last 1000 events"):
        breaker.add(10, 10)


def test_one_large_batch_is_judged_whole() -> None:
    with pytest.raises(BreakerOpenError):
        Breaker(1_000, 0.95, 0).add(20_000, 19_500)


def test_some_bad_rows_are_no_reason_to_stop() -> None:
    breaker = Breaker(1_000, 0.95, 0)
    for _ in range(1_000):
        breaker.add(20, 18)
