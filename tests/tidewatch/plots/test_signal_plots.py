"""The course of a measure: which states make it, and how it is drawn in text."""

from __future__ import annotations

import msgspec
import pytest

from sinks.signal_course import Course, course_of, history
from tests.sinks.test_signals import change, state
from tidewatch.plots.canvas import NothingToPlotError, styled
from tidewatch.plots.signals import draw, in_text

DAY = 86_400_000


def test_a_history_has_each_state_of_the_pair_once_in_order():
    kept = [state(received=3), state("y", received=2), state(received=9)]
    records = [(s.id.encode(), msgspec.json.encode(s)) for s in kept]
    step = msgspec.structs.replace(change(), state=state(received=1))
    again = msgspec.structs.replace(change(1), state=state(received=9))
    found = history([*records, (b"p|x|e", None)], [step, again], "p|x|e")
    assert [each.received for each in found] == [1, 3, 9]


def test_a_course_has_the_measure_and_boundary_of_its_preset():
    states = [state(received=1, ror025=None), state(received=2, ror025=0.8), state(received=3, ror025=1.7)]
    course = course_of(states, "ema-2016")
    assert (course.measure, course.values, course.boundary) == ("ror025", (0.8, 1.7), (1.0, 1.0))
    assert course_of(states, "umc").measure == "ic025"
    with pytest.raises(KeyError):
        course_of(states, "mine")


def test_the_course_of_a_monitored_pair_is_its_ratio_with_the_boundary_of_each_look():
    looks = [(1, 0.4, 2.0), (2, 2.6, 2.1), (3, 3.0, None)]
    states = [state(unit="cases", received=i, llr=llr, critical=c) for i, llr, c in looks]
    course = course_of(states, "maxsprt")
    assert (course.measure, course.values, course.boundary) == ("llr", (0.4, 2.6, 3.0), (2.0, 2.1, 2.1))


def test_in_text_a_value_holds_until_the_next_and_the_boundary_is_seen():
    course = Course("m", "r", (0, 10 * DAY, 20 * DAY), (0.0, 1.0, 4.0), (2.0,) * 3)
    lines = in_text(course, width=21, height=5)
    assert lines[1:6] == [
        "        4 |                    *",
        "          |",
        "          |---------------------",
        "          |          **********",
        "        0 |**********",
    ]
    assert lines[-1].split() == ["1970-01-01", "1970-01-21"]
    assert in_text(Course("m", "r", (0,), (0.0,), (2.0,))) == []


def test_nothing_is_drawn_of_a_measure_that_was_never_defined():
    with styled() as plt, pytest.raises(NothingToPlotError):
        draw(plt, Course("m", "r", (), (), ()), [], "t")
