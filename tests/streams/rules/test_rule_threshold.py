import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_oracles import Row, batches, facts, oracle_threshold, run_cut, run_whole

from streams.rules.threshold import Threshold

HOT = Threshold("hot", above=30.0, clear=28.0, critical=40.0)


def rows(*values):
    return [Row(0, 1000 * (i + 1), v) for i, v in enumerate(values)]


def states(declared, *values):
    return [(t.state, t.severity, t.value) for t in run_whole(declared.build(), rows(*values))]


def test_opens_on_breach_and_closes_at_the_clear_level():
    assert states(HOT, 29, 30, 31, 29, 28.5, 28, 31) == [
        ("open", "warning", 31),
        ("close", "warning", 28),
        ("open", "warning", 31),
    ]


def test_updates_when_the_severity_changes_with_the_same_margin():
    assert states(HOT, 31, 41, 39, 38, 41) == [
        ("open", "warning", 31),
        ("update", "critical", 41),
        ("update", "warning", 38),
        ("update", "critical", 41),
    ]


def test_opens_as_critical_at_once():
    assert states(HOT, 45, 20) == [("open", "critical", 45), ("close", "warning", 20)]


def test_waits_for_consecutive_breaches():
    declared = Threshold("hot", above=30.0, for_samples=3)
    assert states(declared, 31, 31, 30, 31, 31, 32) == [("open", "warning", 32)]


def test_below_mirrors_above():
    declared = Threshold("cold", below=0.0, clear=2.0, critical=-10.0)
    assert states(declared, 1, -1, 1.5, -11, 2) == [
        ("open", "warning", -1),
        ("update", "critical", -11),
        ("close", "warning", 2),
    ]


def test_nan_says_nothing():
    assert states(HOT, 31, np.nan, 20) == [("open", "warning", 31), ("close", "warning", 20)]


def test_transition_carries_what_a_person_needs():
    opened, closed = run_whole(HOT.build(), rows(31.5, 27))
    assert opened.message == "row 31.5 is above 30"
    assert opened.threshold == 30.0
    assert opened.evidence == {
        "value": 31.5,
        "above": 30.0,
        "clear": 28.0,
        "critical": 40.0,
        "for_samples": 1,
    }
    assert closed.message == "row 27 is no longer above 28"
    assert (closed.opened_at, closed.time, closed.revision) == (1000, 2000, 1)


def test_an_alert_reopened_by_an_older_row_has_a_name_of_its_own():
    given_rows = [Row(0, 2000, 31.0), Row(0, 2100, 20.0), Row(0, 2000, 31.0)]
    assert [t.opened_at for t in run_whole(HOT.build(), given_rows)] == [2000, 2000, 2001]


def test_transitions_come_by_cause_then_group():
    given_rows = [Row(3, 1000, 31.0), Row(1, 1000, 31.0), Row(3, 1001, 1.0), Row(0, 1002, 50.0)]
    assert [(t.cause, t.group) for t in run_whole(HOT.build(), given_rows)] == [
        (0, 3),
        (1, 1),
        (2, 3),
        (3, 0),
    ]


@pytest.mark.parametrize(
    "bad",
    [
        {},
        {"above": 1.0, "below": 0.0},
        {"above": 1.0, "clear": 2.0},
        {"above": 1.0, "critical": 1.0},
        {"below": 1.0, "critical": 2.0},
        {"above": float("nan")},
        {"above": 1.0, "for_samples": 0},
    ],
)
def test_refuses_declarations_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="hot"):
        Threshold("hot", **bad)


def test_signature_tells_every_field():
    assert HOT.signature() == (
        "threshold/1(name='hot', source='row', above=30.0, below=None, clear=28.0, critical=40.0, "
        "severity='warning', for_samples=1)"
    )


VALUES = st.one_of(st.sampled_from([27.0, 28.0, 29.0, 30.0, 31.0, 38.0, 39.0, 41.0]), st.just(float("nan")))


@given(batches(VALUES), st.integers(1, 3), st.booleans())
def test_cuts_change_nothing_and_the_oracle_agrees(drawn, for_samples, below):
    given_rows, cuts = drawn
    declared = Threshold("t", above=30.0, clear=28.0, critical=40.0, for_samples=for_samples)
    if below:
        declared = Threshold("t", below=-30.0, clear=-28.0, critical=-40.0, for_samples=for_samples)
        given_rows = [Row(r.group, r.time, -r.value) for r in given_rows]
    rule = declared.build()
    whole = run_whole(rule, given_rows)
    pieces, state = run_cut(declared, given_rows, cuts)
    assert pieces == whole
    assert state == rule.snapshot()
    assert [facts(t) for t in whole] == oracle_threshold(declared, given_rows)
