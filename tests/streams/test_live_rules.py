"""Rules that change while a task runs: at a window boundary, replayed exactly, with nothing left open behind them."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.results import Alert
from streams.checkpoint import Control, Manifest, Progress, Restored
from streams.pipeline import Hopping, Session, Tumbling, Windowing
from streams.rules.composite import Composite
from streams.rules.ruleset import RuleError
from streams.rules.threshold import Threshold
from streams.rules_feed import RuleBook
from streams.task import Output
from streams.window_task import WindowTask
from tests.streams.windowing import Row, by_kind, columns, pipeline, rows_strategy

LIVE = {
    "high": {"name": "high", "kind": "threshold", "above": 10.0},
    "high-mean": {"name": "high-mean", "enabled": False},
    "fast": {"name": "fast", "kind": "rate_of_change", "above": 1.0},
    "both": {"name": "both", "kind": "composite", "of": ["high", "fast"], "within_ms": 20},
    "shape": {
        "name": "shape",
        "kind": "quantile_shift",
        "raise_at": 5.0,
        "reference_windows": 1,
        "reference_count": 1,
    },
    "lasting": {
        "name": "lasting",
        "kind": "composite",
        "of": ["high", "silent"],
        "at_least": 1,
        "for_ms": 15,
    },
    "night": {
        "name": "night",
        "kind": "mute",
        "start": "1970-01-01T00:00:00.050Z",
        "end": "1970-01-01T00:00:01Z",
    },
}
TEXT = msgspec.json.encode(LIVE, order="deterministic").decode()


def alerts(outputs: list[Output]) -> list[Alert]:
    return [msgspec.json.decode(o.value or b"", type=Alert) for o in outputs if o.kind == "alert"]


@settings(max_examples=60, deadline=None)
@given(
    rows=rows_strategy,
    window=st.sampled_from([Tumbling(10), Hopping(12, 4), Session(6)]),
    at=st.data(),
    lateness=st.just(0),
)
def test_cuts_and_restores_around_a_change_change_no_byte(
    rows: list[Row], window: Windowing, at: st.DataObject, lateness: int
) -> None:
    definition = pipeline(lateness, window)
    change = at.draw(st.integers(0, len(rows)))
    again = at.draw(st.integers(change, len(rows)))

    def announce(task: WindowTask, row: int) -> None:
        if row == change:
            task.change_rules(TEXT)
        if row == again:
            task.change_rules("{}")

    def run(edges: list[int], *, restored: bool) -> list[Output]:
        task, outputs = WindowTask(definition), []
        for begin, end in pairwise(edges):
            announce(task, begin)
            outputs += task.process(columns(rows[begin:end], begin)) if end > begin else []
            if restored:
                state = {name: block for name, block in task.snapshot(full=True).items() if block is not None}
                task = WindowTask(definition)
                task.restore(state)
        announce(task, len(rows))
        return outputs + task.advance(len(rows), 10_000)

    must = {0, change, again, len(rows)}
    cuts = at.draw(st.sets(st.integers(0, len(rows)), max_size=6))
    assert by_kind(run(sorted(must | cuts), restored=True)) == by_kind(run(sorted(must), restored=False))


def test_a_change_takes_effect_at_the_end_of_the_window() -> None:
    task = WindowTask(pipeline())
    outputs = task.process(columns([("a", 1, 20.0), ("a", 4, 20.0)]))
    task.change_rules(TEXT)
    outputs += task.process(columns([("a", 5, 21.0), ("a", 14, 22.0), ("a", 15, 23.0)], 2))
    assert [(a.rule, a.state, a.time) for a in alerts(outputs)] == [
        ("high-mean", "open", 10),
        ("high-mean", "close", 11),
        ("high", "open", 15),
    ]


def test_alerts_of_a_changed_rule_are_closed_and_its_new_ones_have_ids_of_their_own() -> None:
    task = WindowTask(pipeline(window=Hopping(20, 10)))
    outputs = task.process(columns([("a", 9, 60.0)]))
    task.change_rules(TEXT)
    outputs += task.process(columns([("b", 14, 0.0), ("a", 9, 60.0)], 1))
    found = [a for a in alerts(outputs) if a.rule == "high"]
    assert [(a.state, a.revision, a.opened_at) for a in found] == [
        ("open", 0, 9),
        ("close", 1, 9),
        ("open", 0, 10),
    ]
    assert found[1].message.startswith("withdrawn")


def test_a_rule_that_stays_the_same_keeps_its_state() -> None:
    task = WindowTask(pipeline())
    task.process(columns([("a", 1, 60.0)]))
    task.change_rules(
        msgspec.json.encode({"new": {"name": "new", "kind": "flatline", "duration_ms": 5}}).decode()
    )
    outputs = task.process(columns([("a", 16, 60.0), ("a", 17, 30.0)], 1))
    assert [(a.rule, a.state, a.revision) for a in alerts(outputs) if a.rule == "high"] == [
        ("high", "close", 1)
    ]


def composed(composite: Composite, rows: list[Row]) -> list[tuple[str, int]]:
    rules = (
        Threshold(name="high", above=50.0, clear=40.0), Threshold(name="low", below=0.0), composite,
    )  # fmt: skip
    task = WindowTask(replace(pipeline(), rules=rules))
    found = [a for a in alerts(task.process(columns(rows))) if a.rule == composite.name]
    return [(a.state, a.time) for a in found]


def test_or_opens_with_the_first_and_closes_with_the_last() -> None:
    either = Composite("either", of=("high", "low"), at_least=1)
    assert composed(either, [("a", 1, 60.0), ("a", 2, 10.0), ("a", 3, -1.0)]) == [
        ("open", 1),
        ("close", 2),
        ("open", 3),
    ]


def test_and_within_a_time_counts_what_has_just_closed() -> None:
    rows: list[Row] = [("a", 1, 60.0), ("a", 2, 10.0), ("a", 5, -1.0), ("a", 6, 1.0)]
    assert composed(Composite("both", of=("high", "low"), within_ms=4), rows) == [("open", 5), ("close", 6)]
    assert composed(Composite("both", of=("high", "low"), within_ms=2), rows) == []
    assert composed(Composite("both", of=("high", "low")), rows) == []


def test_a_condition_must_last_by_the_watermark() -> None:
    lasting = Composite("lasting", of=("high",), for_ms=10)
    assert composed(lasting, [("a", 1, 60.0), ("b", 14, 0.0), ("a", 15, 0.0)]) == [
        ("open", 11),
        ("close", 15),
    ]
    assert composed(lasting, [("a", 1, 60.0), ("b", 13, 0.0), ("a", 13, 0.0), ("b", 20, 0.0)]) == []


def test_where_and_mutes_go_by_labels_and_event_time() -> None:
    specs = {
        "only-a": {"name": "only-a", "kind": "threshold", "above": 1.0, "where": {"sensor_id": "a"}},
        "quiet": {
            "name": "quiet", "kind": "mute", "rules": ["only-a"], "where": {"site": "x"},
            "start": "1970-01-01T00:00:00.005Z", "end": "1970-01-01T00:00:00.008Z",
        },
    }  # fmt: skip
    task = WindowTask(pipeline())
    task.change_rules(msgspec.json.encode(specs).decode())
    found = [
        a
        for a in alerts(task.process(columns([("b", 5, 9.0), ("a", 7, 9.0), ("a", 8, 0.0)])))
        if a.rule == "only-a"
    ]
    assert [(a.group, a.state, a.muted_by) for a in found] == [
        ("a/x", "open", "quiet"),
        ("a/x", "close", None),
    ]


def test_rules_that_cannot_be_change_nothing() -> None:
    task = WindowTask(pipeline())
    with pytest.raises(RuleError, match="no rule it can refer to"):
        task.change_rules('{"c": {"name": "c", "kind": "composite", "of": ["nobody"]}}')
    assert task.rules_text == "{}"


def test_a_control_is_replayed_where_it_took_effect() -> None:
    from streams.config import Stage
    from streams.runner import StageRunner

    definition = pipeline()
    stage = Stage("s", lambda batch: batch, lambda p: WindowTask(definition, p), {}, "s", pipeline="p")  # type: ignore[arg-type,return-value]
    rows: list[Row] = [("a", i, 20.0) for i in range(30)]
    live = StageRunner.restored(stage, 0, Restored(), 0)
    live.take(columns(rows[:12]))  # type: ignore[arg-type]
    assert live.follow_rules(TEXT)
    assert not live.follow_rules(TEXT)
    rest = live.take(columns(rows[12:], 12))  # type: ignore[arg-type]
    (control,) = live.controls
    assert (control.kind, control.position) == ("rules", 12)
    restored = Restored(
        Manifest(1, "s", 1, {"s": 0}, {"s": 0}, {}),
        Progress("me", 1, {"s": 20}, []),
        [Control(*_fields(control))],
    )
    again = StageRunner.restored(stage, 0, restored, 0)
    assert not again.follow_rules(TEXT), "not while it is replaying"
    recomputed = again.take(columns(rows))  # type: ignore[arg-type]
    assert [a for a in alerts(rest) if a.offset >= 20] == alerts(recomputed)
    assert again.snapshot(full=True) == live.snapshot(full=True)


def _fields(control: Control) -> tuple[Any, ...]:
    return msgspec.structs.astuple(control)


def test_a_rule_book_keeps_what_was_right() -> None:
    book = RuleBook("p", [Threshold(name="high", above=50.0)])
    assert not book.take(b"other/high", b"{}")
    assert book.take(b"p/high", b'{"name": "high", "kind": "threshold", "above": 5}')
    text = book.text
    assert not book.take(b"p/high", b'{"name": "high", "kind": "threshold", "abov": 6}')
    assert not book.take(b"p/high", b"no json")
    assert not book.take(b"p/high", b'{"name": "low", "kind": "threshold", "above": 6}')
    assert not book.take(b"p/both", b'{"name": "both", "kind": "composite", "of": []}')
    assert book.text == text
    assert book.take(b"p/high", None)
    assert book.text == "{}"


SPECS = {
    "both": {"kind": "composite", "of": ["high", "jump"]},
    "high": {"kind": "threshold", "above": 5},
    "jump": {"kind": "rate_of_change", "above": 1000},
    "quiet": {
        "kind": "mute",
        "rules": ["both"],
        "start": "2026-01-01T00:00:00Z",
        "end": "2026-01-02T00:00:00Z",
    },
}


@given(st.permutations(sorted(SPECS)))
def test_rules_may_come_in_any_order(order: list[str]) -> None:
    """A composite may come before its parts, and a mute before the composite."""
    book = RuleBook("p", [Threshold(name="high", above=50.0)])
    for name in order:
        assert book.take(f"p/{name}".encode(), json.dumps({"name": name, **SPECS[name]}).encode())
    assert json.loads(book.text).keys() == SPECS.keys()


def test_what_names_a_rule_that_has_gone_has_no_effect_until_it_is_back() -> None:
    book = RuleBook("p", [Threshold(name="high", above=50.0)])
    for name, spec in SPECS.items():
        book.take(f"p/{name}".encode(), json.dumps({"name": name, **spec}).encode())
    assert book.take(b"p/jump", None)
    assert book.specs.keys() == {"high"}
    assert book.take(b"p/jump", json.dumps({"name": "jump", **SPECS["jump"]}).encode())
    assert book.specs.keys() == SPECS.keys()


def test_rules_that_need_each_other_can_be_switched_off_together() -> None:
    declared = [Threshold(name="a", above=5.0), Threshold(name="b", above=5.0), Composite("z", of=("a", "b"))]
    book = RuleBook("p", declared)
    book.take(b"p/a", b'{"name": "a", "enabled": false}')
    assert book.specs == {}
    book.take(b"p/z", b'{"name": "z", "enabled": false}')
    assert book.specs.keys() == {"a", "z"}
