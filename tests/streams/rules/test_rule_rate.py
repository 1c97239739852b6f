import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_oracles import Row, batches, run_cut, run_whole

from streams.rules.rate import RateOfChange

FAST = RateOfChange("fast", above=2.0, clear=1.0)


def states(declared, *samples):
    return [
        (t.state, t.time, t.value) for t in run_whole(declared.build(), [Row(0, t, v) for t, v in samples])
    ]


def test_opens_when_the_value_rises_too_fast_for_its_time_and_closes_at_the_clear_rate():
    samples = [(0, 10.0), (1_000, 11.0), (1_500, 12.5), (2_500, 14.0), (4_500, 15.0)]
    assert states(FAST, *samples) == [("open", 1_500, 3.0), ("close", 4_500, 0.5)]


def test_a_fall_is_a_rate_below():
    assert states(RateOfChange("fall", below=-1.0), (0, 5.0), (1_000, 3.0), (2_000, 3.0)) == [
        ("open", 1_000, -2.0),
        ("close", 2_000, 0.0),
    ]


def test_samples_out_of_order_and_not_finite_are_passed_over():
    assert states(FAST, (1_000, 0.0), (1_000, 50.0), (500, 90.0), (1_500, math.nan), (2_000, 1.5)) == []


def test_the_message_says_what_is_compared():
    (opened,) = run_whole(
        RateOfChange("fast", above=1.0, per_ms=60_000).build(), [Row(0, 0, 0), Row(0, 60_000, 5)]
    )
    assert opened.message == "change of row in 60 s: 5 is above 1"


def naive(declared, rows):
    """Whether the alert is open after each row that has a rate."""
    last, found = {}, []
    for row in rows:
        before = last.get(row.group)
        if not math.isfinite(row.value) or (before and row.time <= before[0]):
            continue
        if before:
            found.append((row.group, (row.value - before[1]) / (row.time - before[0]) * declared.per_ms))
        last[row.group] = (row.time, row.value)
    return found


VALUES = st.sampled_from([0.0, 0.3, 1.0, 5.0, math.nan])


@given(batches(VALUES))
def test_cuts_change_nothing_and_a_loop_agrees(drawn):
    rows, cuts = drawn
    if not rows:
        return
    rule = FAST.build()
    whole = run_whole(rule, rows)
    pieces, state = run_cut(FAST, rows, cuts)
    assert pieces == whole
    assert state == rule.snapshot()
    expected, level = [], {}
    for group, rate in naive(FAST, rows):
        if not level.get(group) and rate > 2.0:
            expected.append(("open", group))
            level[group] = True
        elif level.get(group) and rate <= 1.0:
            expected.append(("close", group))
            level[group] = False
    assert [(t.state, t.group) for t in whole] == expected


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="per_ms"):
        RateOfChange("r", above=1.0, per_ms=0)
