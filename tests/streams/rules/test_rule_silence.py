import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rule_oracles import Row, batches, facts, oracle_silence, run_cut, run_whole, samples, watermarks

from streams.rules.silence import Silence

QUIET = Silence("silent", duration_ms=1000)


def told(found):
    return [(t.cause, t.group, t.state, t.time) for t in found]


def test_opens_by_the_watermark_at_a_row_of_another_group_and_closes_at_the_return():
    rows = [Row(0, 1000, 1), Row(1, 2000, 1), Row(1, 2300, 1), Row(1, 2400, 1), Row(0, 2500, 1)]
    found = run_whole(QUIET.build(), rows)
    assert told(found) == [(2, 0, "open", 2000), (4, 0, "close", 2500)]
    assert found[0].evidence == {"last_seen": 1000, "gap_ms": 1000, "duration_ms": 1000}
    assert found[0].message == "silent for 1 s"
    assert found[1].message == "back after 1.5 s of silence"


def test_several_groups_open_at_one_row_in_group_order():
    rows = [Row(2, 1000, 1), Row(0, 1000, 1), Row(1, 5000, 1)]
    assert told(run_whole(QUIET.build(), rows)) == [(2, 0, "open", 2000), (2, 2, "open", 2000)]


def test_a_group_returning_at_the_row_that_passes_its_deadline_was_never_silent():
    rows = [Row(0, 1000, 1), Row(0, 9000, 1)]
    assert run_whole(QUIET.build(), rows) == []


def test_an_older_event_does_not_move_the_deadline_back():
    rows = [Row(0, 1500, 1), Row(0, 1100, 1), Row(1, 2600, 1), Row(1, 2800, 1)]
    assert told(run_whole(QUIET.build(), rows)) == [(3, 0, "open", 2500)]


def test_opens_when_the_watermark_moves_without_a_row():
    rule = QUIET.build()
    rule.update(samples([Row(0, 1000, 1), Row(1, 1500, 1)], [700, 1200]))
    assert rule.advance(1999, 0) == []
    assert told(rule.advance(2000, 3)) == [(3, 0, "open", 2000)]
    assert told(rule.advance(2500, 4)) == [(4, 1, "open", 2500)]
    assert told(rule.update(samples([Row(0, 2600, 1)], [2600], start=5))) == [(5, 0, "close", 2600)]


def test_a_group_silent_at_the_snapshot_closes_after_restore():
    rule, other = QUIET.build(), QUIET.build()
    rule.update(samples([Row(0, 1000, 1)], [700]))
    rule.advance(5000, 0)
    other.restore(rule.snapshot())
    assert other.advance(6000, 0) == []
    assert told(other.update(samples([Row(0, 5600, 1)], [5000]))) == [(0, 0, "close", 5600)]


def test_quiet_batches_do_not_look_at_all_groups(monkeypatch):
    rule = QUIET.build()
    rows = [Row(g, 1000 + g, 1.0) for g in range(50)]
    rule.update(samples(rows, watermarks(rows)))
    monkeypatch.setattr(rule, "_judge", lambda *_: pytest.fail("looked"))
    later = [Row(g, 1800 + g, 1.0) for g in range(50)]
    assert rule.update(samples(later, watermarks(later))) == []


def test_refuses_a_duration_that_is_not_positive():
    with pytest.raises(ValueError, match="silent"):
        Silence("silent", duration_ms=0)


@given(batches(st.just(1.0), max_group=5), st.sampled_from([100, 400, 700, 1500]))
def test_cuts_change_nothing_and_the_oracle_agrees(drawn, duration):
    rows, cuts = drawn
    declared = Silence("s", duration_ms=duration)
    rule = declared.build()
    whole = run_whole(rule, rows)
    pieces, state = run_cut(declared, rows, cuts)
    assert pieces == whole
    assert state == rule.snapshot()
    assert [facts(t) for t in whole] == oracle_silence(declared, rows)


def test_extreme_event_times_do_not_overflow():
    rows = [Row(0, 1000, 1), Row(1, 4 * 10**15, 1), Row(2, 4 * 10**15 + 5, 1)]
    marks = np.array([700, 10**15, 10**15])
    assert told(QUIET.build().update(samples(rows, marks))) == [(1, 0, "open", 2000)]
