"""The shape task: what it publishes is right, its alerts have cause, and neither batches nor restarts change a byte."""

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import Alert
from schemas.shapes import Barycenter, ShapeForecast, SiteShape
from streams.shape import ShapePipeline
from streams.shape_task import ShapeTask
from tests.streams.shape_windows import MINUTE, PIPELINE, START, city, columns, summaries, summary

TYPES = {"result": SiteShape, "barycenter": Barycenter, "forecast": ShapeForecast, "alert": Alert}


def run(records, pipeline=PIPELINE):
    """Return all outputs by kind, decoded, once every window is closed."""
    task = ShapeTask(pipeline, 0)
    outputs = task.process(columns(records))
    outputs += task.advance(len(records), task.max_event_time + 1)
    found = {kind: [] for kind in ("result", "barycenter", "forecast", "alert", "late", "dead")}
    for output in outputs:
        kind = TYPES.get(output.kind)
        found[output.kind].append(
            output.value if kind is None else msgspec.json.decode(output.value, type=kind)
        )
    return found


def rules(found, state="open"):
    return [(alert.rule, alert.labels["site"]) for alert in found["alert"] if alert.state == state]


def exact_w2(values, levels, vector):
    """The W2 of a sample to the step function of a quantile vector on midpoint levels, over 100,000 levels."""
    fine = (np.arange(100_000) + 0.5) / 100_000
    sample = np.sort(values)[np.minimum((fine * len(values)).astype(int), len(values) - 1)]
    step = np.asarray(vector)[np.minimum((fine * len(levels)).astype(int), len(levels) - 1)]
    return float(np.sqrt(np.mean((sample - step) ** 2)))


def test_quiet_distributions_raise_nothing():
    found = run(summaries(city(260)))
    assert rules(found) == []
    assert len(found["barycenter"]) == 260
    assert not found["dead"]
    assert not found["late"]


def test_barycenter_and_distances_are_those_of_the_data_within_their_error():
    samples = city(4)
    found = run(summaries(samples))
    last = found["barycenter"][-1]
    sites = [shape for shape in found["result"] if shape.start == last.start]
    assert [shape.site for shape in sites] == ["a", "b", "c", "d"]
    np.testing.assert_allclose(np.mean([shape.quantiles for shape in sites], axis=0), last.quantiles)
    assert last.variance == pytest.approx(np.mean([shape.distance**2 for shape in sites]))
    assert last.count == 800
    for shape in sites:
        values = samples[3, shape.site]
        assert abs(exact_w2(values, shape.levels, last.quantiles) - shape.distance) <= shape.error
        assert shape.error < 2.0


def test_a_site_whose_spread_changes_drifts_and_the_evidence_names_the_tail():
    def wider(window, site, values):
        return 23 + (values - 23) * 1.6 if site == "c" and window >= 120 else values

    found = run(summaries(city(150, change=wider)))
    drift = next(a for a in found["alert"] if (a.rule, a.state) == ("shape.drift", "open"))
    assert drift.labels == {"site": "c", "quantity": "pm"}
    assert START + 120 * MINUTE < drift.time <= START + 135 * MINUTE
    assert {site for rule, site in rules(found) if rule == "shape.drift"} == {"c"}
    assert drift.evidence["most_moved_level"] > 0.9
    assert drift.evidence["q0.984_moved"] > drift.evidence["q0.984_error"] > 0
    assert "quantile moved most, by +" in drift.message
    assert drift.value >= drift.threshold == PIPELINE.drift_at


def test_one_odd_window_is_an_outlier_and_a_missed_forecast_which_close_again():
    def odd(window, site, values):
        return values + 15 if (window, site) == (100, "b") else values

    found = run(summaries(city(140, change=odd)))
    assert ("shape.outlier", "b") in rules(found)
    assert ("shape.forecast-miss", "b") in rules(found)
    closed = [a for a in found["alert"] if a.state == "close" and a.rule == "shape.outlier"]
    assert [a.labels["site"] for a in closed] == ["b"]
    assert closed[0].revision == 1
    opened = next(a for a in found["alert"] if a.rule == "shape.outlier")
    assert closed[0].alert_id == opened.alert_id
    assert opened.time == START + 101 * MINUTE
    assert {site for _, site in rules(found)} == {"b"}


def test_forecasts_are_for_the_next_window_and_mostly_hold_it():
    found = run(summaries(city(200)))
    actual = {(shape.site, shape.start): np.array(shape.quantiles) for shape in found["result"]}
    held = []
    for ahead in found["forecast"]:
        if (ahead.site, ahead.start) in actual:
            truth = actual[ahead.site, ahead.start]
            held.append((np.array(ahead.lower) <= truth) & (truth <= np.array(ahead.upper)))
            assert (np.diff(ahead.quantiles) >= 0).all()
    assert len(held) > 400
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_modes_and_scores_appear_once_there_is_enough_to_learn_from():
    found = run(summaries(city(80)))
    last = found["barycenter"][-1]
    levels = np.array(last.levels)
    assert len(last.modes) == 3
    np.testing.assert_allclose(np.trapezoid(np.array(last.modes) ** 2, levels, axis=1), 1)
    assert last.eigenvalues == sorted(last.eigenvalues, reverse=True)
    assert found["barycenter"][5].modes == []
    assert len(found["result"][-1].scores) == 3


def test_a_reference_by_hour_knows_what_each_hour_is_like():
    def daily(window, values):
        return values + 10 * (window // 60 % 24 in range(8, 18))

    hours = {"windows": 24 * 60 * 5 // 60, "sites": ("a", "b")}
    by_hour = ShapePipeline(
        name="s", upstream="up", window_ms=MINUTE, reference=24, condition="hour", learn_slot=1
    )
    samples = {(w * 60, s): daily(w * 60, v) for (w, s), v in city(**hours).items()}
    records = summaries(samples)
    references = {b.start: np.array(b.reference) for b in run(records, by_hour)["barycenter"][-24:]}
    noon, night = (references[START + (4 * 24 + hour) * 3_600_000] for hour in (12, 2))
    assert np.median(noon - night) == pytest.approx(10, abs=0.5)
    same = run(records, ShapePipeline(name="s", upstream="up", window_ms=MINUTE, reference=24))["barycenter"]
    assert np.ptp([np.median(b.reference) for b in same[-24:]]) < 1


def test_windows_wait_for_all_sites_and_take_the_newest_revision():
    task = ShapeTask(PIPELINE, 0)
    values = np.linspace(1, 2, 50)
    first = [summary("a", 0, values), summary("b", 0, values), summary("a", 0, values * 3, revision=1)]
    assert task.process(columns(first)) == []
    outputs = task.process(columns([summary("a", 1, values)], 3))
    (closed,) = [msgspec.json.decode(o.value, type=Barycenter) for o in outputs if o.kind == "barycenter"]
    assert closed.sites == 2
    assert closed.quantiles[-1] == pytest.approx((2 + 6) / 2, rel=0.02)
    (late,) = task.process(columns([summary("b", 0, values, revision=1)], 4))
    assert (late.kind, late.key) == ("late", b"pm")


def test_what_cannot_be_compared_is_dead_with_its_reason():
    values = np.linspace(1, 2, 50)
    good = summary("a", 0, values)
    replace = msgspec.structs.replace
    bad = {
        b"{": "truncated",
        msgspec.json.encode(replace(good, labels={"site": "a"})): "no label quantity",
        msgspec.json.encode(replace(good, end=good.end + 1)): "this pipeline declares 60000",
        msgspec.json.encode(replace(good, sketch=good.sketch[:-1])): "cut short",
        msgspec.json.encode(replace(good, sketch=b"\x01" + good.sketch[2:])): "accuracy",
        msgspec.json.encode(replace(good, count=0)): "empty window",
        msgspec.json.encode(replace(good, sketch=good.sketch[:9])): "an empty sketch has no quantiles",
        msgspec.json.encode(replace(good, sketch=good.sketch[:9] + b"\xff\xff\x7f\x01")): "does not have",
        msgspec.json.encode(replace(good, sketch=good.sketch[:9] + b"\x05\x00")): "without values",
        msgspec.json.encode(replace(good, min=float("inf"))): "min",
        msgspec.json.encode(good).replace(b'"max":2.0', b'"max":1e999'): "",
    }
    outputs = ShapeTask(PIPELINE, 0).process(columns(list(bad)))
    assert [output.kind for output in outputs] == ["dead"] * len(bad)
    for output, words in zip(outputs, bad.values(), strict=True):
        assert words in str(dict(output.headers))
    assert ShapeTask(PIPELINE, 0).process(columns([summary("a", 0, values, pipeline="other")])) == []


def test_damaged_summaries_change_nothing_of_what_the_others_say():
    """They come between good ones and name windows that are still open, which close as if they had never come."""
    samples = city(windows=70)
    records = summaries(samples)
    damaged = [
        msgspec.structs.replace(record, revision=9, sketch=record.sketch[:9] + body)
        for record, body in zip(
            records[::5], [b"", b"\xff\xff\x7f\x01", b"\x05\x00", b"\x05"] * 20, strict=False
        )
    ]
    mixed = list(records)
    for place, record in enumerate(damaged):
        mixed.insert(6 * place + 1, record)
    found, clean = run(mixed), run(records)
    assert len(found.pop("dead")) == len(damaged) > 50
    assert clean.pop("dead") == []
    assert found == clean


def test_a_site_that_is_away_for_a_while_gets_no_forecast_across_the_gap():
    samples = {(w, s): v for (w, s), v in city(120).items() if not (s == "a" and 90 <= w < 95)}
    found = run(summaries(samples))
    assert rules(found) == []
    starts = [f.start for f in found["forecast"] if f.site == "a"]
    assert START + 95 * MINUTE not in starts[starts.index(START + 90 * MINUTE) + 1 :]


RECORDS = None


def stream():
    """Return 75 windows of two sites with an outlier, a late and a dead record; made once."""
    global RECORDS  # noqa: PLW0603
    if RECORDS is None:

        def odd(window, site, values):
            return values + 15 if (window, site) == (65, "b") else values

        made = summaries(city(75, ("a", "b"), change=odd))
        made.insert(80, summary("a", 3, np.linspace(1, 2, 9)))
        made.insert(100, b"nonsense")
        RECORDS = made
    return RECORDS


@settings(deadline=None, max_examples=6)
@given(cuts=st.lists(st.integers(0, 152), max_size=4), idle=st.integers(0, 3))
def test_batches_and_restores_change_nothing(cuts, idle):
    records = stream()
    expected, outputs = [], []
    whole, task = ShapeTask(PIPELINE, 0), ShapeTask(PIPELINE, 0)
    stored: dict[str, bytes] = {}
    at = 0
    for number, end in enumerate([*sorted(cuts), len(records)]):
        expected += whole.process(columns(records[at:end], at))
        outputs += task.process(columns(records[at:end], at))
        if number == idle:
            moved = whole.max_event_time
            expected += whole.advance(end, moved)
            outputs += task.advance(end, moved)
        for name, block in task.snapshot(full=False).items():
            assert block is None or len(block) <= 512_000
            stored.pop(name, None)
            if block is not None:
                stored[name] = block
        task = ShapeTask(PIPELINE, 0)
        task.restore(stored)
        at = end
    assert outputs == expected
    assert task.snapshot(full=True) == whole.snapshot(full=True)


def test_one_batch_or_single_records_are_the_same():
    records = stream()
    single = ShapeTask(PIPELINE, 0)
    apart = [output for i, record in enumerate(records) for output in single.process(columns([record], i))]
    assert apart == ShapeTask(PIPELINE, 0).process(columns(records))


def test_declarations_that_cannot_work_are_refused():
    with pytest.raises(ValueError, match="divide the hour"):
        ShapePipeline(name="s", upstream="u", window_ms=7_000, condition="hour")
    with pytest.raises(ValueError, match="reference of at least 10"):
        ShapePipeline(name="s", upstream="u", reference=2)
