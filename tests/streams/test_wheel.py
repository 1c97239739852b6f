"""The timing wheel gives what is due and nothing twice."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.wheel import Wheel


@given(
    tick=st.integers(0, 20),
    steps=st.lists(st.tuples(st.lists(st.integers(-200, 500), max_size=5), st.integers(0, 300)), max_size=15),
)
def test_all_that_is_due_is_taken_once(tick: int, steps: list[tuple[list[int], int]]) -> None:
    wheel, due, number, now = Wheel(tick), dict[int, int](), 0, -100
    for times, passed in steps:
        numbers = np.arange(number, number + len(times))
        wheel.put(numbers, np.array(times, np.int64))
        due |= dict(zip(numbers.tolist(), times, strict=True))
        number, now = number + len(times), now + passed
        taken = wheel.take(now).tolist()
        assert taken == sorted(taken)
        assert {n for n, time in due.items() if time <= now} <= set(taken)
        assert all(due.pop(n) < now + max(tick, 1) for n in taken)
