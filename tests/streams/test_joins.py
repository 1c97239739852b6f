"""Joins: the same whatever the interleaving and the cuts, and equal to a join by brute force."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Coded, Columns
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING
from schemas.joins import Joined
from schemas.partitioning import partition_of
from streams.join_task import ForwardTask, JoinTask
from streams.joins import Input, Join
from streams.placing import Placed, records_of
from streams.task import Output
from streams.watermark import SILENT
from tests.streams.test_rollups import batch
from tests.streams.windowing import by_kind, check_that_changes_add_up, process_in_pieces

PARTITIONS = 2
Side = tuple[str, int, float]  # key, time, value
FIELDS = ("sensor_id", "value")
KEYS = "abd"  # on both partitions
sides = st.lists(
    st.tuples(st.sampled_from(KEYS), st.integers(0, 40), st.sampled_from([1.0, 2.0, 3.5])), max_size=15
)


def as_columns(rows: list[Side], topic: str, number: int, first: int = 0) -> Columns:
    n = len(rows)
    offsets, times = np.arange(first, first + n, dtype=np.int64), np.array([t for _, t, _ in rows], np.int64)
    key = Coded(np.arange(n, dtype=np.int32), [k for k, _, _ in rows])
    return Columns(
        topic, number, first, first + n, offsets, np.zeros(n, np.int32), times, times,
        {"value": np.array([v for _, _, v in rows], np.float64)}, {"sensor_id": key}, lambda i: (rows[i][0].encode(), b"{}"),
    )  # fmt: skip


def forward(side: int, number: int) -> ForwardTask:
    return ForwardTask("j", side, "sensor_id", FIELDS, 3, 5, number)


def sent(left: list[Side], right: list[Side]) -> list[list[Output]]:
    """Return what each partition of each input sends, the left ones first, and then says that it is idle."""
    outputs = []
    for side, rows in enumerate((left, right)):
        for number in range(PARTITIONS):
            mine = [row for row in rows if int(partition_of([row[0].encode()], PARTITIONS)[0]) == number]
            task = forward(side, number)
            made = task.process(as_columns(mine, "lr"[side], number)) if mine else []
            outputs.append(made + task.advance(len(mine), 10_000 if mine else SILENT))
    return outputs


def logs(streams: list[list[Output]], order: list[int]) -> list[list[tuple[bytes | None, bytes]]]:
    """Route to the join's partitions, taking one from the senders in the given order."""
    waiting, found = [list(outputs) for outputs in streams], [[] for _ in range(PARTITIONS)]
    for number in [*order, *(n for n in range(len(streams)) for _ in waiting[n])]:
        if waiting[number]:
            for record in records_of([Placed("t", waiting[number].pop(0))], 0, PARTITIONS):
                found[record.partition].append((record.key, record.value or b""))
    return found


def join(within: int | None, window: int | None = None) -> JoinTask:
    return JoinTask("j", ("l", "r"), within, PARTITIONS, window)


def pairs(outputs: list[Output]) -> list[Joined]:
    return [msgspec.json.decode(o.value or b"", type=Joined) for o in outputs if o.kind == "result"]


def numbered(rows: list[Side]) -> list[tuple[str, int, float, str]]:
    """Rows with their place on the source."""
    counts, placed = [0] * PARTITIONS, []
    for key, time, value in rows:
        number = int(partition_of([key.encode()], PARTITIONS)[0])
        placed.append((key, time, value, f"{number}-{counts[number]}-0"))
        counts[number] += 1
    return placed


def in_order(rows: list[Side]) -> list[Side]:
    """Without rows further out of order than the inputs allow, so that none is late whatever the interleaving."""
    return sorted(rows, key=lambda row: row[1])


@settings(max_examples=60, deadline=None)
@given(
    left=sides,
    right=sides,
    within=st.sampled_from([0, 4, 15]),
    order=st.lists(st.integers(0, 3), max_size=60),
)
def test_a_windowed_join_finds_every_pair_whatever_the_interleaving(
    left: list[Side], right: list[Side], within: int, order: list[int]
) -> None:
    left, right = in_order(left), in_order(right)
    # Partitions that never bring anything are idle from the start; with the others the order is free until the end.
    found = [
        o for log in logs(sent_without_idleness(left, right), order) for o in join(within).process(batch(log))
    ]
    expected = {
        f"j|{lp}|{rp}"
        for lk, lt, _, lp in numbered(complete(left))
        for rk, rt, _, rp in numbered(complete(right))
        if lk == rk and abs(lt - rt) <= within and max(lt, rt) < 1_000
    }
    assert {pair.id for pair in pairs(found) if pair.time < 1_000} == expected
    assert len(pairs(found)) == len({pair.id for pair in pairs(found)})
    assert not [o for o in found if o.kind == "late"]


@settings(max_examples=60, deadline=None)
@given(left=sides, right=sides, order=st.lists(st.integers(0, 3), max_size=60))
def test_a_window_join_finds_the_pairs_of_each_window(
    left: list[Side], right: list[Side], order: list[int]
) -> None:
    left, right = in_order(left), in_order(right)
    streams = logs(sent_without_idleness(left, right), order)
    found = [pair for log in streams for pair in pairs(join(None, 10).process(batch(log)))]
    expected = {
        f"j|{lp}|{rp}"
        for lk, lt, _, lp in numbered(complete(left))
        for rk, rt, _, rp in numbered(complete(right))
        if lk == rk and lt // 10 == rt // 10 and max(lt, rt) < 1_000
    }
    assert {pair.id for pair in found if pair.time < 1_000} == expected


def complete(rows: list[Side]) -> list[Side]:
    """With a last row of every key far ahead, so that every partition passes all rows before."""
    return [*rows, *((key, 2_000, 0.0) for key in KEYS)]


def sent_without_idleness(left: list[Side], right: list[Side]) -> list[list[Output]]:
    assert len(set(partition_of([key.encode() for key in KEYS], PARTITIONS).tolist())) == PARTITIONS
    return [
        [o for o in outputs if b'"idle":true' not in (o.value or b"")]
        for outputs in sent(complete(left), complete(right))
    ]


@settings(max_examples=60, deadline=None)
@given(
    left=sides, right=sides, orders=st.lists(st.lists(st.integers(0, 3), max_size=60), min_size=2, max_size=2)
)
def test_a_lookup_join_finds_the_newest_row_before_whatever_the_interleaving(
    left: list[Side], right: list[Side], orders: list[list[int]]
) -> None:
    left, right = in_order(left), in_order(right)
    one, other = (
        [join(None).process(batch(log)) for log in logs(sent_without_idleness(left, right), order)]
        for order in orders
    )
    assert [[o.value for o in outputs] for outputs in one] == [
        [o.value for o in outputs] for outputs in other
    ]
    found = {pair.id: pair for outputs in one for pair in pairs(outputs) if pair.time < 1_000}
    assert len(found) == len(left)
    table = numbered(complete(right))
    for key, time, _, place in numbered(left):
        # Of equal times the left topic comes first, so a row of the same time is not there yet.
        before = [(t, int(p.split("-")[1]), p) for k, t, _, p in table if k == key and t < time]
        expected = f"j|{place}|{max(before)[2] if before else ''}"
        assert expected in found
        assert (found[expected].right is None) == (not before)


@settings(max_examples=60, deadline=None)
@given(left=sides, right=sides, within=st.sampled_from([None, 6]), data=st.data())
def test_cuts_and_restores_change_no_byte(
    left: list[Side], right: list[Side], within: int | None, data: st.DataObject
) -> None:
    log = max(logs(sent(left, right), data.draw(st.lists(st.integers(0, 3), max_size=40))), key=len)
    whole = join(within).process(batch(log))
    _, pieces = process_in_pieces(join(within), lambda: join(within), log, data, batch)
    assert by_kind(pieces) == by_kind(whole)
    rows = [*left, *right]
    once = forward(0, 1).process(as_columns(rows, "l", 1)) if rows else []
    _, forwarded = process_in_pieces(
        forward(0, 1),
        lambda: forward(0, 1),
        rows,
        data,
        lambda piece, first: as_columns(piece, "l", 1, first),
    )
    assert forwarded == once


def test_a_row_whose_time_has_been_joined_is_late_and_kept_whole() -> None:
    silent = [forward(side, number).advance(0, SILENT) for side, number in ((0, 1), (1, 0), (1, 1))]
    ahead = forward(0, 0).process(as_columns([("a", 50, 1.0)], "l", 0))
    behind = forward(1, 0).process(as_columns([("a", 3, 1.0)], "r", 0))
    log, _ = logs([ahead + [o for outputs in silent for o in outputs] + behind], [])
    (late,) = join(5).process(batch(log))
    assert (late.kind, dict(late.headers)["tidewatch.late.watermark"]) == ("late", b"47")
    assert b'"time":3' in (late.value or b"")


def test_declarations_are_checked_and_make_three_stages() -> None:
    reading = Input(source="l", event=SENSOR_READING, fields=("sensor_id", "value"))
    other = Input(source="r", event=SENSOR_READING, fields=("value",))
    made = Join(name="j", left=reading, right=other, on="sensor_id", shuffled="s", results="o", within_ms=5)
    assert [stage.topic for stage in made.stages(2)] == ["l", "r", "s"]
    assert (
        made.hash != Join(name="j", left=reading, right=other, on="sensor_id", shuffled="s", results="o").hash
    )
    hospital = Input(source="h", event=HOSPITAL_EVENT, fields=("code",))
    with pytest.raises(ValueError, match="h has no field 'sensor_id'"):
        Join(name="j", left=reading, right=hospital, on="sensor_id", shuffled="s", results="o")
    with pytest.raises(ValueError, match="join on a label"):
        Join(name="j", left=reading, right=other, on="value", shuffled="s", results="o")
    with pytest.raises(ValueError, match="two topics"):
        Join(name="j", left=reading, right=reading, on="sensor_id", shuffled="s", results="o")


@settings(max_examples=30, deadline=None)
@given(left=sides, right=sides, within=st.sampled_from([None, 0, 15]))
def test_changes_add_up_to_the_state(left: list[Side], right: list[Side], within: int | None) -> None:
    log = max(logs(sent(left, right), []), key=len)
    check_that_changes_add_up(lambda: join(within), log, batch)
