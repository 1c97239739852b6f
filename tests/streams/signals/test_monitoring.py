"""Sequential monitoring: cohorts, looks and signals as functions of the record sequence, held against plain numpy."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from schemas.columns import RawBatch
from schemas.contributions import as_columns
from schemas.followups import Clock, CohortUpdate, FollowUp
from schemas.safety import SignalChange, SignalState
from streams.derivation import DerivedPipeline, DeriveTask, RiskRule
from streams.monitor_task import MonitorTask
from streams.monitoring import Monitored, MonitorPipeline
from streams.signals.accrual import ReportingDelay
from streams.signals.cohort import Cohort, union
from streams.signals.evalues import poisson_log_e
from streams.signals.maxsprt import Surveillance, critical_value, poisson_llr
from streams.signals.maxsprt_group import Looks
from streams.signals.surveillance import Plan, Watch
from streams.watermark import SILENT
from tests.streams.signals.fhir_samples import ATC, ICD, condition, given, wrong
from tests.streams.signals.test_fhir import columns as fhir_columns

DAY = 86_400_000
PAIR = Monitored("d", "e", 0.1)
WATCH = MonitorPipeline(name="w", monitored=(PAIR,), every_days=5, settle_days=3)

stretches = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 20)).map(lambda s: (s[0], s[0] + s[1])), max_size=6
)


@cases(stretches)
@settings(deadline=None)
def test_a_union_covers_the_same_days_without_overlap(given_stretches):
    found = union(given_stretches)
    days = [day for first, last in found for day in range(first, last + 1)]
    assert days == sorted({day for first, last in given_stretches for day in range(first, last + 1)})
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))


@cases(
    st.lists(st.tuples(stretches, st.lists(st.integers(0, 80), max_size=4)), max_size=5), st.integers(0, 90)
)
@settings(deadline=None)
def test_a_cohort_counts_persons_day_by_day_and_forgets_what_is_taken_back(patients, until):
    delay = ReportingDelay((0.2, 0.5, 1.0))
    cohort, others = Cohort({}, {}), Cohort({}, {})
    for at_risk, began in patients:
        cohort.add(union(at_risk), began)
    by_day = np.zeros(200, dtype=int)
    for at_risk, _ in patients:
        for first, last in union(at_risk):
            by_day[first : last + 1] += 1
    assert cohort.person_days(until, until + 9) == by_day[: until + 1].sum()
    shares = delay.by(until + 1 - np.arange(until + 1))
    assert cohort.person_days(until, until + 1, delay) == pytest.approx(
        float(by_day[: until + 1] @ shares), abs=1e-9
    )
    assert cohort.observed(until) == sum(day <= until for _, began in patients for day in began)
    for at_risk, began in patients:
        cohort.add(union(at_risk), began, -1)
    assert cohort == others


def test_looks_signal_beyond_the_exact_critical_value_until_the_horizon():
    plan = Plan(horizon=6.0)
    critical = critical_value(Surveillance(6.0))
    watch = Watch(plan)
    below, above = watch.look(4, 1.5), watch.look(8, 2.0)
    assert (below.signals, above.signals) == (False, True)
    assert below.critical == above.critical == critical
    assert above.llr == float(poisson_llr(8, 2.0)) > critical
    assert above.log_e == float(poisson_log_e(8, 2.0))
    assert 0 < below.alpha_spent < above.alpha_spent < 0.05
    assert watch.look(20, 3.0).critical is None  # it has signalled
    late = Watch(plan)
    assert late.look(30, 6.1).signals is False  # beyond the horizon nothing is tested
    assert late.over


def test_a_plan_of_looks_has_their_own_exact_boundary():
    plan, looks = Plan(horizon=10.0, looks=5), Looks((2.0,) * 5)
    found = Watch(plan).look(3, 2.0)
    assert found.critical == looks.critical_value()
    spent = looks.signals_by_look(looks.boundary(found.critical), np.ones(1))[0]
    assert found.alpha_spent == pytest.approx(spent[0])


def test_spending_and_e_values_signal_by_their_own_rules():
    watch = Watch(Plan(method="alpha-spending", horizon=10.0))
    first = watch.look(1, 2.0)
    assert first.alpha_spent is not None
    assert first.alpha_spent <= 0.05 * 2 / 10
    again = Watch.unpacked(watch.plan, msgspec.msgpack.decode(msgspec.msgpack.encode(watch.pack())))
    assert again.look(9, 3.0) == watch.look(9, 3.0)
    e = Watch(Plan(method="e-value"))
    assert [e.look(n, 2.0).signals for n in (2, 30, 31)] == [False, True, False]


def test_a_biased_null_raises_the_calibrated_critical_value():
    from streams.signals.calibration import Null

    plan = Plan(horizon=10.0, looks=5, calibrated=True)
    assert Watch(plan).look(3, 2.0, Null(0.3, 0.2)).critical > Watch(plan).look(3, 2.0).critical


# --- the task


def batch(updates, first=0):
    values = [u if isinstance(u, bytes) else msgspec.json.encode(u) for u in updates]
    n = len(values)
    return as_columns(
        RawBatch(
            "f", 0, first, first + n, np.arange(first, first + n), np.full(n, 9 * DAY), [None] * n, values
        )
    )


def follow(at_risk=(), began=(), drug="d", event="e", **taken_back):
    followup = FollowUp(drug=drug, event=event, at_risk=list(at_risk), cases=list(began), **taken_back)
    return CohortUpdate(population="all", followup=followup)


def clock(day, partition=0, partitions=1, idle=False):
    return CohortUpdate(
        population="all", clock=Clock(partition=partition, partitions=partitions, time=day * DAY, idle=idle)
    )


def states(outputs):
    return [msgspec.json.decode(o.value, type=SignalState) for o in outputs if o.kind == "result"]


def signals(outputs):
    return [msgspec.json.decode(o.value, type=SignalChange) for o in outputs if o.kind == "alert"]


def test_only_days_old_enough_are_looked_at_and_partial_windows_count_as_far_as_they_have_elapsed():
    task = MonitorTask(WATCH)
    outputs = task.process(batch([clock(100), follow([(100, 129)], [104, 112]), clock(110), clock(116)]))
    first, second, third = states(outputs)  # day 105 looks at no day at risk but 100 and 101
    assert (first.time, first.n, first.expected, first.drug_total) == (105 * DAY, 0, pytest.approx(0.2), 2)
    assert [(state.n, state.drug_total) for state in (second, third)] == [(1, 7), (1, 12)]
    assert (
        task.process(batch([clock(119), clock(90)], 4)) == []
    )  # no day is looked at twice, and no clock runs back
    assert task.watermark == 119 * DAY


def test_a_look_waits_for_the_slowest_partition_of_patients():
    task = MonitorTask(WATCH)
    updates = [clock(0, 0, 3), clock(0, 1, 3), follow([(1, 30)]), clock(50, 0, 3), clock(20, 1, 3)]
    assert task.process(batch(updates)) == []
    assert task.process(batch([clock(11, 2, 3)], 5)) != []
    assert task.watermark == 11 * DAY
    idle = task.process(batch([clock(0, 2, 3, idle=True)], 6))
    assert {state.time // DAY for state in states(idle)} == {15, 20}


def test_a_follow_up_takes_back_what_it_replaces():
    task = MonitorTask(WATCH)
    changed = follow([(0, 29)], [9], not_at_risk=[(0, 29)], no_cases=[3, 9])
    updates = [follow([(0, 29)], [3, 9]), follow([(0, 29)]), changed, clock(20)]
    last = states(task.process(batch(updates)))[-1]
    assert (last.n, last.drug_total) == (1, 2 * 17)


def test_what_is_no_update_is_a_dead_letter_and_other_populations_and_pairs_count_nothing():
    task = MonitorTask(WATCH)
    other = msgspec.structs.replace(follow([(0, 29)]), population="mars")
    outputs = task.process(batch([b"{", b'{"population":1}', other, follow([(0, 9)], drug="x"), clock(20)]))
    assert [o.kind for o in outputs] == ["dead", "dead"]


def test_controls_are_not_tested_but_calibrate_p_values():
    rng = np.random.default_rng(4)
    controls = tuple(Monitored(f"c{i}", "e", 0.1, control=True) for i in range(12))
    pipeline = replace(WATCH, monitored=(PAIR, *controls))
    updates = [follow([(0, 99)], rng.choice(100, 22, replace=False).tolist())]
    updates += [
        follow([(0, 99)], rng.choice(100, 20 + i, replace=False).tolist(), drug=f"c{i}") for i in range(12)
    ]
    found = states(MonitorTask(pipeline).process(batch([*updates, clock(110)])))
    assert {state.drug for state in found} == {"d"}
    # Twice as many as expected is extreme by itself, but what controls show too.
    assert found[-1].llr > 5
    assert found[-1].p_calibrated > 0.3


def test_small_counts_do_not_leave_and_rounded_ones_tell_no_ratio():
    pipeline = replace(WATCH, disclosure="opensafely", plan=Plan(horizon=50))
    task = MonitorTask(pipeline)
    few = task.process(batch([follow([(0, 99)], range(6)), clock(20)]))
    assert few == []
    many = states(task.process(batch([follow([(0, 99)], range(13)), clock(25)], 2)))
    assert [(state.n, state.llr, state.log_e) for state in many] == [(20, None, None)]


runs = st.lists(
    st.one_of(
        st.builds(
            follow,
            st.integers(0, 40).map(lambda day: [(day, day + 9)]),
            st.lists(st.integers(0, 50), max_size=3),
        ),
        st.builds(clock, st.integers(0, 70), st.integers(0, 1), st.just(2)),
    ),
    max_size=30,
)


@cases(runs, st.data())
@settings(deadline=None, max_examples=60)
def test_batches_and_restarts_change_nothing(updates, data):
    for method in ("maxsprt", "alpha-spending"):
        pipeline = replace(WATCH, plan=Plan(method=method, horizon=8.0))
        whole = MonitorTask(pipeline)
        expected = whole.process(batch(updates))
        cut = data.draw(st.integers(0, len(updates)))
        task = MonitorTask(pipeline)
        found = task.process(batch(updates[:cut]))
        again = MonitorTask(pipeline)
        again.restore({k: v for k, v in task.snapshot(full=True).items() if v is not None})
        found += again.process(batch(updates[cut:], cut))
        assert found == expected
        assert again.snapshot(full=True) == whole.snapshot(full=True)


# --- from facts to follow-ups

DERIVED = DerivedPipeline(
    name="d", population="all", rules=(RiskRule("*", 1, 10, 90),), monitored=(Monitored(f"{ATC}|D1", f"{ICD}|K25", 0.01),)
)  # fmt: skip


def followups(outputs):
    updates = [msgspec.json.decode(o.value, type=CohortUpdate) for o in outputs if o.kind == "partial"]
    return [u.followup for u in updates if u.followup], [u.clock for u in updates if u.clock]


def day_of(text):
    return int(np.datetime64(text, "D").astype(int))


def test_time_at_risk_is_that_of_all_exposures_together_and_corrections_replace_it():
    start = day_of("2026-02-01")
    told, clocks = followups(
        DeriveTask(DERIVED).process(
            fhir_columns(
                [
                    given(1, "D1", "2026-02-01"),
                    given(2, "D1", "2026-02-05"),
                    given(3, "D2", "2026-02-06"),
                    condition(1, "K25", "2026-02-07"),
                    condition(2, "K99", "2026-02-08"),
                    wrong(given(2, "D1", "2026-02-05")),
                    wrong(condition(1, "K25", "2026-02-07")),
                ]
            )
        )
    )
    short, long = [(start + 1, start + 10)], [(start + 1, start + 14)]
    assert [(f.at_risk, f.cases, f.not_at_risk, f.no_cases) for f in told] == [
        (short, [], [], []),
        (long, [], short, []),
        (long, [start + 6], long, []),
        (short, [start + 6], long, [start + 6]),
        (short, [], short, [start + 6]),
    ]
    assert [c.time // DAY for c in clocks] == [start, start + 4, start + 5, start + 6, start + 7]


def test_an_idle_partition_tells_its_time_and_one_that_never_had_a_fact_that_nobody_need_wait():
    task = DeriveTask(DERIVED, 3, partitions=4)
    _, (silent,) = followups(task.advance(0, SILENT))
    assert (silent.partition, silent.partitions, silent.idle) == (3, 4, True)
    task.process(fhir_columns([given(1, "D1", "2026-02-01")]))
    _, (later,) = followups(task.advance(1, (day_of("2026-02-04") + 1) * DAY - 1))
    assert (later.time // DAY, later.idle) == (day_of("2026-02-04"), False)


def test_state_of_follow_ups_survives_a_restart():
    resources = [
        given(1, "D1", "2026-02-01"),
        condition(1, "K25", "2026-02-07"),
        given(2, "D1", "2026-02-05"),
    ]
    task = DeriveTask(DERIVED)
    task.process(fhir_columns(resources[:2]))
    again = DeriveTask(DERIVED)
    again.restore({k: v for k, v in task.snapshot(full=True).items() if v is not None})
    assert again.process(fhir_columns(resources[2:], 2)) == task.process(fhir_columns(resources[2:], 2)) != []


def test_a_monitored_event_needs_a_rule():
    with pytest.raises(ValueError, match="no rule applies"):
        DerivedPipeline(name="d", rules=(RiskRule("x"),), monitored=(Monitored("d", "e", 0.1),))
    with pytest.raises(ValueError, match="twice"):
        MonitorPipeline(name="w", monitored=(PAIR, PAIR))
