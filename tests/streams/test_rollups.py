"""Roll-ups over several upstream partitions: the same whatever the interleaving, and equal to a recount of all rows."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Coded, Columns, RawBatch
from schemas.contributions import as_columns
from schemas.partitioning import partition_of
from schemas.results import WindowSummary
from streams.pipeline import Hopping, Pipeline, RollUp, Session, Tumbling, Windowing
from streams.placing import Placed, records_of
from streams.rollup_task import RollUpTask
from streams.rules.threshold import Threshold
from streams.task import Output, Task
from streams.watermark import SILENT
from streams.window_task import WindowTask
from tests.streams.windowing import (
    TEN,
    agree,
    by_kind,
    check_that_changes_add_up,
    pipeline,
    process_in_pieces,
    summaries,
)

PARTITIONS = 3
Reading = tuple[str, str, int, float]  # sensor, site, time, value
ROLLUPS = (RollUp(by=("site",), rules=(Threshold(name="hot", source="mean", above=30.0),)), RollUp())

readings = st.lists(
    st.tuples(
        st.sampled_from("abcdef"), st.integers(0, 60), st.floats(-100, 100, allow_nan=False) | st.just(1e-12)
    ).map(lambda r: (r[0], "north" if r[0] < "d" else "so/uth", r[1], r[2])),
    max_size=40,
)


def definition(lateness: int = 0, window: Windowing = TEN, **options: Any) -> Pipeline:
    rollups = options.pop("rollups", ROLLUPS)
    return pipeline(lateness, window, rollups=rollups, **options)


def partition(sensor: str) -> int:
    return int(partition_of([sensor.encode()], PARTITIONS)[0])


def as_rows(rows: list[Reading], number: int, first: int = 0) -> Columns:
    n = len(rows)
    labels = {
        name: Coded(np.arange(n, dtype=np.int32), [row[i] for row in rows])
        for i, name in enumerate(("sensor_id", "site"))
    }
    labels["quantity"] = Coded(np.zeros(n, np.int32), ["x"])
    offsets = np.arange(first, first + n, dtype=np.int64)
    times = np.array([row[2] for row in rows], np.int64)
    return Columns(
        "s", number, first, first + n, offsets, np.zeros(n, np.int32), times, times,
        {"value": np.array([row[3] for row in rows], np.float64)}, labels, lambda i: (rows[i][0].encode(), b"{}"),
    )  # fmt: skip


def first_phase(pipeline: Pipeline, rows: list[Reading], *, flush: bool = True) -> list[list[list[Output]]]:
    """Return each upstream partition's contributions, in one group a transaction: all of its rows, then idleness."""
    sent = []
    for number in range(PARTITIONS):
        mine = [row for row in rows if partition(row[0]) == number]
        task = WindowTask(pipeline, number)
        outputs = [task.process(as_rows(mine, number))] if mine else []
        if flush:
            outputs.append(task.advance(len(mine), 10_000 if mine else SILENT))
        sent.append([[o for o in group if o.kind == "partial"] for group in outputs])
    return sent


def interleaved(sent: list[list[Output]], order: list[int]) -> list[list[tuple[bytes | None, bytes]]]:
    """Route contributions to the roll-up's partitions, taking one from the upstream partitions in the given order."""
    waiting = [list(outputs) for outputs in sent]
    logs: list[list[tuple[bytes | None, bytes]]] = [[] for _ in range(PARTITIONS)]
    for number in [*order, *(n for n in range(PARTITIONS) for _ in waiting[n])]:
        if waiting[number]:
            output = waiting[number].pop(0)
            for record in records_of([Placed("t", output)], number, PARTITIONS):
                logs[record.partition].append((record.key, record.value or b""))
    return logs


def batch(log: list[tuple[bytes | None, bytes]], start: int = 0) -> Columns:
    n = len(log)
    offsets, times = np.arange(start, start + n, dtype=np.int64), np.zeros(n, np.int64)
    keys, values = [k for k, _ in log], [v for _, v in log]
    return as_columns(RawBatch("t", 0, start, start + n, offsets, times, keys, values))


def second_phase(pipeline: Pipeline, logs: list[list[tuple[bytes | None, bytes]]]) -> list[list[Output]]:
    return [RollUpTask(pipeline, PARTITIONS, n).process(batch(log)) for n, log in enumerate(logs)]


def recount(
    rows: list[Reading], window: Tumbling | Hopping
) -> dict[tuple[str, str, int], list[tuple[int, int, float]]]:
    """Members by (roll-up, group, start), each upstream partition with its own watermark."""
    members = defaultdict(list)
    watermark: dict[int, float] = defaultdict(lambda: -math.inf)
    for i, (sensor, site, time, value) in enumerate(rows):
        number = partition(sensor)
        for start in range(time - time % window.every_ms, time - window.size_ms, -window.every_ms):
            if start + window.size_ms > watermark[number]:
                for key in (("by-site", site, start), ("all", "all", start)):
                    members[key].append((time, i, value))
        watermark[number] = max(watermark[number], time - 3)
    return members


def latest(outputs: list[Output]) -> dict[tuple[str, str, int], WindowSummary]:
    found = {}
    for summary in summaries(outputs):
        rollup = summary.pipeline.removeprefix("p:")
        found[rollup, summary.group.replace("%2F", "/"), summary.start] = summary
    return found


@settings(max_examples=40, deadline=None)
@given(rows=readings, window=st.sampled_from([Tumbling(10), Hopping(12, 4)]), data=st.data())
def test_roll_ups_agree_with_a_recount_whatever_the_interleaving(
    rows: list[Reading], window: Tumbling | Hopping, data: st.DataObject
) -> None:
    made = definition(window=window)
    sent = [[o for group in groups for o in group] for groups in first_phase(made, rows)]
    order = data.draw(st.lists(st.integers(0, PARTITIONS - 1), max_size=60))
    once = second_phase(made, interleaved(sent, order))
    expected = recount(rows, window)
    found = latest([o for outputs in once for o in outputs])
    assert found.keys() == expected.keys()
    for key, members in expected.items():
        summary = found[key]
        # Ties of first and last go by partition here, by arrival in the recount.
        first = [v for t, _, v in members if t == min(members)[0]]
        last = [v for t, _, v in members if t == max(members)[0]]
        assert summary.first in first
        assert summary.last in last
        agree(summary, members, ends=False)


@settings(max_examples=40, deadline=None)
@given(rows=readings, lateness=st.sampled_from([0, 8]), data=st.data())
def test_results_of_partitions_that_are_not_idle_do_not_depend_on_the_interleaving(
    rows: list[Reading], lateness: int, data: st.DataObject
) -> None:
    made = definition(lateness)
    rows = [*rows, ("a", "north", 1, 1.0)] + [
        (s, "north" if s < "d" else "so/uth", 1_000, 1.0) for s in "abcdef"
    ]  # every partition passes every window
    sent = [[o for group in groups for o in group] for groups in first_phase(made, rows, flush=False)]
    orders = (data.draw(st.lists(st.integers(0, PARTITIONS - 1), max_size=60)) for _ in range(2))
    one, other = (second_phase(made, interleaved(sent, order)) for order in orders)
    for a, b in zip(one, other, strict=True):
        assert [o.value for o in a if o.kind == "result"] == [o.value for o in b if o.kind == "result"]
        strip = [[(k, v.split(b'"offset"')[0]) for k, v, _ in by_kind(x)["alert"]] for x in (a, b)]
        assert strip[0] == strip[1]
    assert latest([o for outputs in one for o in outputs])


@settings(max_examples=40, deadline=None)
@given(rows=readings, lateness=st.sampled_from([0, 8]), data=st.data())
def test_cuts_and_restores_of_the_second_phase_change_no_byte(
    rows: list[Reading], lateness: int, data: st.DataObject
) -> None:
    made = definition(lateness)
    sent = [[o for group in groups for o in group] for groups in first_phase(made, rows)]
    log = max(interleaved(sent, []), key=len)

    def fresh() -> Task:
        return RollUpTask(made, PARTITIONS, 1)

    whole = fresh().process(batch(log))
    _, outputs = process_in_pieces(fresh(), fresh, log, data, batch)
    assert by_kind(outputs) == by_kind(whole)


@settings(max_examples=40, deadline=None)
@given(
    rows=readings,
    lateness=st.sampled_from([0, 8]),
    window=st.sampled_from([Tumbling(10), Hopping(12, 4)]),
    data=st.data(),
)
def test_the_first_phase_sends_the_same_in_the_same_order_however_it_is_cut(
    rows: list[Reading], lateness: int, window: Windowing, data: st.DataObject
) -> None:
    made = definition(lateness, window)

    def fresh() -> Task:
        return WindowTask(made, 1)

    expected = fresh().process(as_rows(rows, 1)) if rows else []
    _, outputs = process_in_pieces(fresh(), fresh, rows, data, lambda piece, first: as_rows(piece, 1, first))
    assert [o for o in outputs if o.kind == "partial"] == [o for o in expected if o.kind == "partial"]


def rolled(pipeline: Pipeline, *sent: list[Output]) -> list[WindowSummary]:
    """Send outputs of single upstream tasks, in order, to a roll-up with one partition."""
    log = [(o.key, o.value or b"") for outputs in sent for o in outputs if o.kind == "partial"]
    upstream = max(1, len({v.split(b'"partition":')[1][:1] for _, v in log}))
    return summaries(RollUpTask(pipeline, upstream, 0).process(batch(log)))


def test_a_window_waits_for_every_partition_that_is_not_idle() -> None:
    made = definition(rollups=(RollUp(),))
    one, two = WindowTask(made, 0), WindowTask(made, 1)
    ahead = one.process(as_rows([("a", "n", 1, 1.0), ("a", "n", 40, 2.0)], 0))
    behind = two.process(as_rows([("b", "n", 2, 10.0)], 1))
    assert rolled(made, ahead, behind) == []
    assert [s.sum for s in rolled(made, ahead, behind, two.advance(1, 5))] == [
        1.0
    ]  # nobody waits for an idle one
    more = two.process(as_rows([("b", "n", 60, 1.0)], 1, 1))
    assert [(s.start, s.sum) for s in rolled(made, ahead, behind, more)] == [(0, 11.0)]


def test_a_partition_back_from_idleness_adds_a_revision() -> None:
    made = definition(rollups=(RollUp(),))
    one, two = WindowTask(made, 0), WindowTask(made, 1)
    silent = two.advance(0, SILENT)
    ahead = one.process(as_rows([("a", "n", 1, 1.0), ("a", "n", 40, 2.0)], 0))
    back = two.process(as_rows([("b", "n", 2, 10.0), ("b", "n", 50, 0.0)], 1))
    found = [(s.start, s.revision, s.sum) for s in rolled(made, silent, ahead, back)]
    assert found == [(0, 0, 1.0), (0, 1, 11.0)]


def test_a_later_contribution_replaces_the_earlier_one_and_late_rows_give_one_revision() -> None:
    made = definition(lateness=20, rollups=(RollUp(),))
    one, two = WindowTask(made, 0), WindowTask(made, 1)
    rows = [("a", "n", 1, 1.0), ("a", "n", 15, 2.0), ("a", "n", 3, 4.0), ("a", "n", 60, 0.0)]
    other = [("b", "n", 1, 100.0), ("b", "n", 15, 2.0), ("b", "n", 3, 400.0), ("b", "n", 60, 0.0)]
    found = rolled(made, one.process(as_rows(rows, 0)), two.process(as_rows(other, 1)))
    first = [(s.revision, s.sum, s.count) for s in found if s.start == 0]
    assert first == [(0, 101.0, 2), (1, 505.0, 4)]


def test_what_comes_after_a_window_was_let_go_is_late_and_kept_whole() -> None:
    made = definition(rollups=(RollUp(retain_ms=5),))
    one, two = WindowTask(made, 0), WindowTask(made, 1)
    log = [
        (o.key, o.value or b"")
        for o in (
            *two.advance(0, SILENT),
            *one.process(as_rows([("a", "n", 1, 1.0), ("a", "n", 40, 2.0)], 0)),
            *two.process(as_rows([("b", "n", 2, 10.0), ("b", "n", 50, 0.0)], 1)),
        )
        if o.kind == "partial"
    ]
    outputs = RollUpTask(made, 2, 0).process(batch(log))
    assert [s.sum for s in summaries(outputs)] == [1.0]
    (late,) = [o for o in outputs if o.kind == "late"]
    assert b'"sum":10.0' in (late.value or b"")


def test_a_record_that_is_no_contribution_is_dead_lettered() -> None:
    (dead,) = RollUpTask(definition(), 1, 0).process(batch([(b"k", b"{}")]))
    assert (dead.kind, dead.value, dict(dead.headers)["tidewatch.error.code"]) == (
        "dead",
        b"{}",
        b"malformed",
    )


def test_declarations_that_cannot_work_are_refused() -> None:
    with pytest.raises(ValueError, match="add town to group_by or keep"):
        definition(rollups=(RollUp(by=("town",)),))
    with pytest.raises(ValueError, match="cannot be rolled up"):
        definition(window=Session(5))
    with pytest.raises(ValueError, match="names that differ"):
        definition(rollups=(RollUp(), RollUp()))
    with pytest.raises(ValueError, match="sees no rows"):
        RollUp(rules=(Threshold(name="t", above=1.0),))


def test_groups_that_are_to_be_together_go_to_one_partition_whole() -> None:
    rows = [
        (sensor, site, 1, 1.0)
        for sensor, site in zip("abcdef", ["n", "s", "e", "w", "nw", "se"], strict=True)
    ]
    together = definition(rollups=(RollUp(by=("site", "quantity"), together=("quantity",)),))
    logs = interleaved([[o for group in groups for o in group] for groups in first_phase(together, rows)], [])
    full = [n for n, outputs in enumerate(second_phase(together, logs)) if outputs]
    assert len(full) == 1
    apart = definition(rollups=(RollUp(by=("site", "quantity")),))
    logs = interleaved([[o for group in groups for o in group] for groups in first_phase(apart, rows)], [])
    assert len([outputs for outputs in second_phase(apart, logs) if outputs]) > 1
    with pytest.raises(ValueError, match="among site"):
        RollUp(by=("site",), together=("quantity",))


@settings(max_examples=30, deadline=None)
@given(rows=readings, lateness=st.sampled_from([0, 8]))
def test_changes_of_the_second_phase_add_up_to_its_state(rows: list[Reading], lateness: int) -> None:
    made = definition(lateness)
    sent = [[o for group in groups for o in group] for groups in first_phase(made, rows)]
    log = max(interleaved(sent, []), key=len)
    check_that_changes_add_up(lambda: RollUpTask(made, PARTITIONS, 1), log, batch)
