"""A measure of a pair over time with its boundary, as a figure or as lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from schemas.safety import SignalChange
from sinks.signal_course import Course
from tidewatch.plots.canvas import BLUE, COLOURS, NothingToPlotError, moment

_WIDTH, _HEIGHT = 64, 12
_MARKS = {"open": "^", "strengthened": "+", "weakened": "x", "closed": "v"}


def draw(plt: Any, course: Course, steps: Sequence[SignalChange], title: str) -> Any:
    """Return the figure; steps of the signal are marked where they happened.

    Raises NothingToPlotError where the measure was never defined.
    """
    if not len(course):
        raise NothingToPlotError(f"{course.measure} of this pair was never defined")
    times = [moment(time) for time in course.times]
    figure, axis = plt.subplots(figsize=(9, 4))
    axis.plot(times, course.values, color=BLUE, marker=".", drawstyle="steps-post", label=course.measure)
    axis.plot(
        times, course.boundary, color=COLOURS["critical"], linestyle="--", drawstyle="steps-post",
        label=f"boundary of {course.rule}",
    )  # fmt: skip
    value_at = dict(zip(course.times, course.values, strict=True))
    for step in steps:
        if step.time in value_at:
            axis.plot(
                moment(step.time), value_at[step.time], marker=_MARKS[step.step], color=COLOURS["warning"]
            )
    axis.set_title(title)
    axis.set_ylabel(course.measure)
    axis.legend(loc="upper left", frameon=False)
    figure.autofmt_xdate()
    return figure


def in_text(course: Course, width: int = _WIDTH, height: int = _HEIGHT) -> list[str]:
    """Return the course as lines of characters: ``*`` the measure, ``-`` the boundary; nothing for fewer than two values."""
    if len(course) < 2:
        return []
    times = np.array(course.times, dtype=np.float64)
    at = np.linspace(times[0], times[-1], width)
    last = np.searchsorted(times, at, side="right") - 1  # a value holds until the next
    values, boundary = np.array(course.values)[last], np.array(course.boundary)[last]
    low, high = float(min(values.min(), boundary.min())), float(max(values.max(), boundary.max()))
    span = (high - low) or 1.0
    rows = [[" "] * width for _ in range(height)]
    for series, mark in ((boundary, "-"), (values, "*")):
        for column, level in enumerate(np.rint((high - series) / span * (height - 1)).astype(int).tolist()):
            rows[level][column] = mark
    first, end = (moment(course.times[i]).strftime("%Y-%m-%d") for i in (0, -1))
    lines = [f"{_label(row, height, low, high)} |{''.join(cells).rstrip()}" for row, cells in enumerate(rows)]
    return [
        f"{course.measure} over time (*), boundary of {course.rule} (-)",
        *lines,
        f"{'':>9} +{'-' * width}",
        f"{'':>9}  {first}{end:>{width - len(first)}}",
    ]


def _label(row: int, height: int, low: float, high: float) -> str:
    if row not in {0, height - 1}:
        return f"{'':>9}"
    return f"{(low if row else high):>9.3g}"
