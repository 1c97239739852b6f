import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_oracles import Row, batches, facts, oracle_robust_z, run_cut, run_whole, samples, watermarks

from streams.rules import ewma
from streams.rules.robust_z import RobustZ

NOISE = np.random.default_rng(7).normal(20.0, 1.0, 400)


def rows(values, group=0):
    return [Row(group, 1000 * (i + 1), float(v)) for i, v in enumerate(values)]


def test_raises_on_a_spike_and_closes_after_it():
    values = NOISE.copy()
    values[200] = 35.0
    opened, closed = run_whole(RobustZ("z").build(), rows(values))
    assert (opened.cause, opened.state, closed.cause, closed.state) == (200, "open", 201, "close")
    assert opened.evidence["z"] == pytest.approx(15, abs=3)
    assert opened.evidence["mean"] == pytest.approx(20, abs=0.5)
    assert opened.evidence["sd"] == pytest.approx(1, abs=0.3)
    assert opened.threshold == pytest.approx(26, abs=2)


def test_says_nothing_while_warming_up():
    values = NOISE[:25].copy()
    values[10] = 100.0
    assert run_whole(RobustZ("z", warmup=30).build(), rows(values)) == []


def test_an_outburst_does_not_poison_the_history():
    values = NOISE.copy()
    values[200:205] = 1e6
    found = run_whole(RobustZ("z", alpha=0.02).build(), rows(values))
    assert [(t.cause, t.state) for t in found] == [(200, "open"), (205, "close")]
    assert found[-1].evidence["sd"] < 3


def test_a_lasting_shift_is_learned():
    values = np.concatenate((NOISE, NOISE + 10))
    found = run_whole(RobustZ("z", alpha=0.05).build(), rows(values))
    assert [t.state for t in found] == ["open", "close"]
    assert found[0].cause == 400
    assert 405 < found[1].cause < 500


@pytest.mark.parametrize(("side", "expected"), [("above", 100), ("below", 200)])
def test_looks_at_one_side_only(side, expected):
    values = NOISE.copy()
    values[100], values[200] = 40.0, 0.0
    found = run_whole(RobustZ("z", side=side).build(), rows(values))
    assert [t.cause for t in found if t.state == "open"] == [expected]


def test_is_critical_beyond_the_second_level():
    values = NOISE.copy()
    values[100] = 60.0
    found = run_whole(RobustZ("z", critical_at=12.0).build(), rows(values))
    assert [(t.state, t.severity) for t in found] == [("open", "critical"), ("close", "warning")]


def test_constant_history_is_judged_by_the_smallest_sd():
    values = [5.0] * 40 + [5.004, 5.02]
    found = run_whole(RobustZ("z", min_sd=1e-3).build(), rows(values))
    assert [(t.cause, t.state) for t in found] == [(41, "open")]


def test_values_beyond_reckoning_are_passed_over():
    values = [*NOISE[:50], np.nan, np.inf, -np.inf, 1e200, *NOISE[50:60]]
    assert run_whole(RobustZ("z").build(), rows(values)) == []


def test_many_groups_and_one_give_the_same_bits(monkeypatch):
    rng = np.random.default_rng(3)
    mixed = [
        Row(int(g), 1000 + i, float(v))
        for i, (g, v) in enumerate(zip(rng.integers(0, 60, 3000), rng.standard_t(2, 3000), strict=True))
    ]
    declared, states = RobustZ("z", warmup=5, raise_at=4.0), []
    for few in (0, 24, 1000):
        monkeypatch.setattr(ewma, "FEW_GROUPS", few)
        rule = declared.build()
        rule.update(samples(mixed, watermarks(mixed)))
        states.append(rule.snapshot())
    assert states[0] == states[1] == states[2]


@pytest.mark.parametrize(
    "bad",
    [
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"clip": 0},
        {"min_sd": 0},
        {"warmup": 1},
        {"clear_at": 7.0},
        {"clear_at": -1},
        {"critical_at": 5.0},
    ],
)
def test_refuses_declarations_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="'z'"):
        RobustZ("z", **bad)


VALUES = st.one_of(
    st.floats(-2, 2), st.sampled_from([0.0, 50.0, -50.0, 1e9, float("nan"), float("inf"), 1e151])
)


@given(batches(VALUES), st.sampled_from(["both", "above", "below"]), st.sampled_from([0, 2, 24]))
def test_cuts_change_nothing_and_the_oracle_agrees(drawn, side, few):
    given_rows, cuts = drawn
    declared = RobustZ("z", side=side, warmup=4, alpha=0.2, raise_at=3.0, clear_at=1.0, critical_at=9.0)
    rule, usual = declared.build(), ewma.FEW_GROUPS
    ewma.FEW_GROUPS = few
    try:
        whole = run_whole(rule, given_rows)
        pieces, state = run_cut(declared, given_rows, cuts)
    finally:
        ewma.FEW_GROUPS = usual
    assert pieces == whole
    assert state == rule.snapshot()
    assert [facts(t) for t in whole] == oracle_robust_z(declared, given_rows)
