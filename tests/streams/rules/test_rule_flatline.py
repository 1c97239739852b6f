import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_oracles import Row, batches, facts, oracle_flatline, run_cut, run_whole

from streams.rules.flatline import FlatLine


def rows(*values, step=1000):
    return [Row(0, step * (i + 1), v) for i, v in enumerate(values)]


def test_opens_at_the_first_row_that_fulfils_both_and_closes_when_it_moves():
    found = run_whole(
        FlatLine("stuck", duration_ms=3000, min_samples=3).build(), rows(1, 7, 7, 7, 7, 7, 8, 8)
    )
    assert [(t.cause, t.state, t.value) for t in found] == [(4, "open", 7), (6, "close", 8)]
    assert found[0].message == "row is stuck at 7 for 3 s, 4 samples"
    assert found[1].message == "row moves again: 8 after 5 samples at 7"
    assert found[0].evidence["run_since"] == found[1].evidence["run_since"] == 2000


def test_needs_enough_samples_too():
    assert run_whole(FlatLine("stuck", duration_ms=1000, min_samples=5).build(), rows(7, 7, 7, 7)) == []


def test_tolerance_is_about_the_first_value_of_the_run():
    creeping = [1.0, 1.4, 1.8, 2.2, 2.6]
    declared = FlatLine("stuck", duration_ms=0, min_samples=3, tolerance=0.9)
    assert [t.cause for t in run_whole(declared.build(), rows(*creeping))] == [2, 3]


@pytest.mark.parametrize(
    "bad", [{"duration_ms": -1}, {"min_samples": 1}, {"tolerance": -0.1}, {"tolerance": float("inf")}]
)
def test_refuses_declarations_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="stuck"):
        FlatLine("stuck", **{"duration_ms": 1000, **bad})


VALUES = st.sampled_from([0.0, -0.0, 0.1, 0.2, 0.30000000000000004, 0.4, 5.0, float("nan"), float("inf")])


@given(batches(VALUES), st.sampled_from([0.0, 0.1, 0.2, 0.3]), st.sampled_from([0, 500, 2000]))
def test_cuts_change_nothing_and_the_oracle_agrees(drawn, tolerance, duration):
    given_rows, cuts = drawn
    declared = FlatLine("f", duration_ms=duration, min_samples=2, tolerance=tolerance)
    rule = declared.build()
    whole = run_whole(rule, given_rows)
    pieces, state = run_cut(declared, given_rows, cuts)
    assert pieces == whole
    assert state == rule.snapshot()
    assert [facts(t) for t in whole] == oracle_flatline(declared, given_rows)
