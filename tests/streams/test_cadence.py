"""When commits are due: intervals, what they cost, and how much input a restore may have to read again."""

from __future__ import annotations

from itertools import cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.cadence import SMOOTHING, Cadence
from streams.config import EngineConfig


def cadence(**settings: float) -> Cadence:
    made = Cadence(EngineConfig("app", {}, **settings), 0)  # type: ignore[arg-type]
    made.begin(0.0)
    return made


@pytest.mark.parametrize(
    ("wall", "cpu", "due"),
    [
        (0.010, 0.002, 0.1),  # the usual commit: every 100 ms from beginning to beginning
        (0.030, 0.020, 0.2),  # much to encode: 20 ms are 10% of 200 ms
        (0.400, 0.002, 0.8),  # a slow broker: half of the time
    ],
)
def test_emissions_follow_the_dearer_of_cpu_and_wall(wall: float, cpu: float, due: float) -> None:
    made, now = cadence(), 0.0
    for _ in range(100):  # until the average is what each commit costs
        made.committed(now, now + wall, cpu, with_state=False)
        began, now = now, now + max(wall, due)
    assert made.wait(began, pending=True) == pytest.approx(due, abs=1e-4)
    assert not made.emission_due(began + due - 1e-3)
    assert made.emission_due(began + due + 1e-3)


def test_one_dear_commit_among_cheap_ones_holds_up_nothing() -> None:
    made = cadence()
    for i in range(50):
        made.committed(i * 0.1, i * 0.1 + 0.01, 0.002, with_state=False)
    made.committed(5.0, 5.05, 0.06, with_state=False)
    assert made.wait(5.0, pending=True) == pytest.approx(0.1)


def test_state_is_written_after_its_interval_or_much_input() -> None:
    made = cadence(state_interval=10.0, state_input_bytes=1000)
    assert not made.state_due(4.9)
    assert made.state_due(5.1), "the first comes earlier, partitions in turn"
    made.committed(5.1, 5.2, 0.025, with_state=True)
    assert not made.state_due(15.0)
    assert made.state_due(15.2)
    made.read(999)
    assert not made.state_due(6.0)
    made.read(1)
    assert not made.state_due(5.5), "0.025 s of processor are 5% of half a second"
    assert made.state_due(5.7)
    made.committed(5.7, 5.8, 0.025, with_state=True)
    assert not made.state_due(9.0), "the count begins anew"


def test_dear_states_come_less_often() -> None:
    made = cadence(state_interval=10.0)
    made.committed(0.0, 2.0, 1.5, with_state=True)
    assert not made.state_due(29.9)
    assert made.state_due(30.1)


@settings(max_examples=50)
@given(
    costs=st.lists(st.tuples(st.floats(0.0, 0.05), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    interval=st.floats(0.5, 10.0),
    share=st.floats(0.02, 0.5),
    much=st.booleans(),
)
def test_commits_keep_to_their_share_of_a_core_whatever_they_cost(
    costs: list[tuple[float, float]], interval: float, share: float, much: bool
) -> None:
    """A busy partition for five minutes, states due by time or by ``much`` input; costs of (emission, state) take turns."""
    made, spent, now = cadence(state_interval=interval, commit_cpu_share=share, state_input_bytes=1), 0.0, 0.0
    for of_emission, of_state in cycle(costs):
        made.read(int(much))
        with_state = made.state_due(now)
        if with_state or made.emission_due(now):
            cpu = of_state if with_state else of_emission
            made.committed(now, now + cpu, cpu, with_state=with_state)
            spent, now = spent + cpu, now + cpu
        now += 0.05
        if now > 300.0:
            break
    begun = max(of_state for _, of_state in costs) + max(cost for cost, _ in costs) / SMOOTHING
    assert spent <= share * now + begun


def test_without_output_only_progress_is_due() -> None:
    made = cadence()
    made.committed(1.0, 1.01, 0.001, with_state=False)
    assert made.wait(1.01, pending=False) == pytest.approx(0.99)
    assert not made.position_due(1.9)
    made.nothing_moved(2.0)
    assert made.position_due(3.0)
    made.put_off_state(50.0)
    assert not made.state_due(49.0)
    made.want_state()
    assert made.state_due(2.0)
