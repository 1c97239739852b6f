"""Optional aggregates: right against a recount, the same however rows are cut, and rolled up."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Columns
from streams.extras import Distinct, Largest, Share, Top
from streams.pipeline import Hopping, Pipeline, RollUp, Session, Tumbling, Windowing
from streams.rollup_task import RollUpTask
from streams.task import Output
from streams.window_task import WindowTask
from tests.streams.test_rollups import (
    as_rows,
    batch,
    first_phase,
    interleaved,
    latest,
    readings,
    second_phase,
)
from tests.streams.windowing import by_kind, check_that_changes_add_up, pipeline, process_in_pieces, summaries


def hot(columns: Columns) -> np.ndarray:
    return columns.numbers["value"] > 0


EXTRAS = (Distinct("sensors", "sensor_id"), Top("busiest", "sensor_id", k=2), Share("positive", hot))


def by_site(window: Windowing = Tumbling(10), lateness: int = 0, **options: object) -> Pipeline:  # noqa: B008
    made = pipeline(lateness, window, extras=EXTRAS, **options)
    return Pipeline(
        **{**{f: getattr(made, f) for f in made.__dataclass_fields__}, "group_by": ("site",), "keep": ()}
    )


def expected(members: list[tuple[str, float]]) -> dict[str, object]:
    counts = Counter(sensor for sensor, _ in members)
    top = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:2]
    return {"busiest": dict(top), "positive": sum(v > 0 for _, v in members) / len(members)}


@settings(max_examples=60, deadline=None)
@given(rows=readings, window=st.sampled_from([Tumbling(10), Hopping(12, 4)]))
def test_extras_agree_with_a_recount(
    rows: list[tuple[str, str, int, float]], window: Tumbling | Hopping
) -> None:
    members, watermark = defaultdict(list), -1
    for sensor, site, time, value in rows:
        for start in range(time - time % window.every_ms, time - window.size_ms, -window.every_ms):
            if start + window.size_ms > watermark:
                members[site, start].append((sensor, value))
        watermark = max(watermark, time - 3)
    task = WindowTask(by_site(window))
    outputs = (task.process(as_rows(rows, 0)) if rows else []) + task.advance(len(rows), 10_000)
    found = {(s.labels["site"], s.start): s.extras for s in summaries(outputs)}
    assert found.keys() == members.keys()
    for key, inside in members.items():
        extras = dict(found[key])
        assert extras.pop("sensors") == pytest.approx(len({sensor for sensor, _ in inside}), rel=1e-3)
        assert extras == expected(inside)
        assert list(extras["busiest"]) == list(expected(inside)["busiest"])  # type: ignore[arg-type,call-overload]


@settings(max_examples=60, deadline=None)
@given(
    rows=readings,
    window=st.sampled_from([Tumbling(10), Hopping(12, 4)]),
    lateness=st.sampled_from([0, 8]),
    data=st.data(),
)
def test_cuts_and_restores_change_no_byte(
    rows: list[tuple[str, str, int, float]], window: Windowing, lateness: int, data: st.DataObject
) -> None:
    made = by_site(window, lateness, rollups=(RollUp(),))

    def fresh() -> WindowTask:
        return WindowTask(made, 1)

    whole = fresh()
    one: list[Output] = (whole.process(as_rows(rows, 1)) if rows else []) + whole.advance(len(rows), 10_000)
    task, pieces = process_in_pieces(
        fresh(), fresh, rows, data, lambda piece, first: as_rows(piece, 1, first)
    )
    assert by_kind(pieces + task.advance(len(rows), 10_000)) == by_kind(one)


@settings(max_examples=40, deadline=None)
@given(rows=readings)
def test_extras_are_rolled_up(rows: list[tuple[str, str, int, float]]) -> None:
    made = pipeline(extras=EXTRAS, rollups=(RollUp(),))
    sent = [[o for group in groups for o in group] for groups in first_phase(made, rows)]
    found = latest([o for outputs in second_phase(made, interleaved(sent, [])) for o in outputs])
    own: dict[int, list[tuple[str, float]]] = defaultdict(list)
    watermark: dict[str, int] = defaultdict(lambda: -1)
    from tests.streams.test_rollups import partition

    for sensor, _, time, value in rows:
        start, number = time - time % 10, str(partition(sensor))
        if start + 10 > watermark[number]:
            own[start].append((sensor, value))
        watermark[number] = max(watermark[number], time - 3)
    assert {start for _, _, start in found} == own.keys()
    for (_, _, start), summary in found.items():
        extras = dict(summary.extras)
        assert extras.pop("sensors") == pytest.approx(len({sensor for sensor, _ in own[start]}), rel=1e-3)
        assert extras == expected(own[start])


@settings(max_examples=30, deadline=None)
@given(rows=readings)
def test_changes_add_up_to_the_state(rows: list[tuple[str, str, int, float]]) -> None:
    made = by_site(rollups=())
    check_that_changes_add_up(lambda: WindowTask(made), rows, lambda piece, first: as_rows(piece, 1, first))


def test_many_values_stay_within_their_bounds_and_restore_to_the_same_bytes() -> None:
    rng = np.random.default_rng(2)
    names = [f"s{i}" for i in np.minimum(rng.zipf(1.3, 20_000), 6_000).tolist()]
    rows = [(name, "north", i % 10, 1.0) for i, name in enumerate(names)]
    made = by_site(rollups=())
    whole, cut = WindowTask(made), WindowTask(made)
    one = whole.process(as_rows(rows, 0)) + whole.advance(len(rows), 10_000)
    pieces = cut.process(as_rows(rows[:7_000], 0))
    again = WindowTask(made)
    again.restore({name: block for name, block in cut.snapshot(full=True).items() if block is not None})
    pieces += again.process(as_rows(rows[7_000:], 0, 7_000)) + again.advance(len(rows), 10_000)
    assert by_kind(one) == by_kind(pieces)
    (summary,) = summaries(one)
    assert summary.extras["sensors"] == pytest.approx(len(set(names)), rel=0.05)
    counts = Counter(names)
    busiest = dict(summary.extras["busiest"])  # type: ignore[arg-type]
    assert set(busiest) == {name for name, _ in counts.most_common(2)}
    for name, count in busiest.items():
        assert counts[name] <= count <= counts[name] + 3.5 / 1024 * len(names)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="lg_k"):
        Distinct("d", "x", lg_k=3)
    with pytest.raises(ValueError, match="lg_size"):
        Top("t", "x", lg_size=11)
    with pytest.raises(ValueError, match="no panes"):
        pipeline(window=Session(5), extras=EXTRAS)
    assert RollUpTask(pipeline(rollups=(RollUp(),)), 1, 0).process(batch([])) == []


@settings(max_examples=80, deadline=None)
@given(rows=readings, k=st.integers(1, 3), data=st.data())
def test_the_largest_rows_are_exact_however_rows_are_cut_and_rolled_up(
    rows: list[tuple[str, str, int, float]], k: int, data: st.DataObject
) -> None:
    made = pipeline(0, Tumbling(10), extras=(Largest("top", "value", ("sensor_id", "site"), k),))
    made = replace(made, group_by=("site",), keep=(), rollups=(RollUp(),))

    def fresh() -> WindowTask:
        return WindowTask(made)

    whole = fresh()
    one = (whole.process(as_rows(rows, 0)) if rows else []) + whole.advance(len(rows), 10_000)
    task, pieces = process_in_pieces(
        fresh(), fresh, rows, data, lambda piece, first: as_rows(piece, 0, first)
    )
    assert by_kind(pieces + task.advance(len(rows), 10_000)) == by_kind(one)
    best: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    watermark = -1
    for sensor, site, time, value in rows:
        if time - time % 10 + 10 > watermark:
            held = best[site, time - time % 10]
            held[f"{sensor}|{site}"] = max(value, held.get(f"{sensor}|{site}", value))
        watermark = max(watermark, time - 3)
    wanted = {
        key: dict(sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))[:k])
        for key, held in best.items()
    }
    assert {(s.labels["site"], s.start): s.extras["top"] for s in summaries(one)} == wanted
    rolled = latest(
        RollUpTask(made, 1, 0).process(batch([(o.key, o.value or b"") for o in one if o.kind == "partial"]))
    )
    for (_, _, start), summary in rolled.items():
        members = {n: v for (_, at), held in best.items() if at == start for n, v in held.items()}
        assert summary.extras["top"] == dict(sorted(members.items(), key=lambda p: (-p[1], p[0]))[:k])


def test_largest_rows_need_labels_and_a_number() -> None:
    with pytest.raises(ValueError, match="at least one label"):
        Largest("top", "value", ())
