"""Signals as views show them: the latest step, the course in order, and bounds on what is kept."""

from __future__ import annotations

import msgspec
import pytest

from tests.tidewatch.console.samples import change, signals, state
from tests.tidewatch.live.test_live_board import Record
from tidewatch.live import signals as module
from tidewatch.live.board import Board
from tidewatch.live.signals import Signals


def test_open_signals_come_first_with_the_course_of_the_presets_measure() -> None:
    first, closed = signals(2)
    assert (first.drug, first.step, closed.step) == ("drug-1", "open", "closed")
    assert (first.measure, first.boundary) == ("ic025", 0)
    assert [point.value for point in first.course] == [-1 + 0.25 * step for step in range(8)]
    assert first.evidence["n"] == 8


def test_points_are_in_order_whatever_topic_they_came_on_and_a_step_counts_once() -> None:
    held = Signals()
    held.take_change(change(0, "open", 0))
    held.take_state(state(0, 2))
    held.take_state(state(0, 1))
    held.take_change(change(0, "open", 0))
    (row,) = held.rows()
    assert [point.n for point in row.course] == [2, 3, 7]
    assert (held.opened["pharma"], held.states["pharma"], held.open()) == (1, 2, 1)
    held.take_change(change(0, "closed", 1))
    held.take_change(change(0, "open", 0))
    assert (held.opened["pharma"], held.open()) == (1, 0)


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SIGNALS", 3)
    monkeypatch.setattr(module, "MAX_PAIRS", 2)
    monkeypatch.setattr(module, "MAX_POINTS", 4)
    held = Signals()
    for number in range(6):
        for step in range(8):
            held.take_state(state(number, step))
        held.take_change(change(number, "open", 0))
    rows = held.rows()
    assert [row.drug for row in rows] == ["drug-5", "drug-4", "drug-3"]
    assert [len(row.course) for row in rows] == [4, 4, 1], "of the third only its own step is left"
    assert len(held.rows(2)) == 2


def test_the_board_reads_both_topics_and_passes_over_what_was_taken_back() -> None:
    board = Board((), (), {"states"}, {"changes"})
    encode = msgspec.json.encode
    board.take(
        [
            Record("states", encode(state(1, 3))),
            Record("states", b""),
            Record("changes", encode(change(1, "open", 0))),
        ]
    )
    (row,) = board.signals.rows()
    assert len(row.course) == 2


def test_a_sequential_test_is_followed_by_its_ratio_against_the_boundary_of_its_last_look() -> None:
    held = Signals()
    for step in range(3):
        held.take_state(
            msgspec.structs.replace(state(0, step), llr=float(step), critical=3.0 - step / 10, ic025=None)
        )
    last = msgspec.structs.replace(state(0, 3), llr=3.5, critical=2.7)
    held.take_change(msgspec.structs.replace(change(0, "open", 0), preset="maxsprt", state=last))
    (row,) = held.rows()
    assert (row.measure, row.boundary) == ("llr", 2.7)
    assert [point.value for point in row.course] == [0.0, 1.0, 2.0, 3.5]
