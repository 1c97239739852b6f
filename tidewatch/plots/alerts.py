"""Alerts as bars over time, one line for each group, coloured by severity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from schemas.results import Alert
from tidewatch.plots.canvas import COLOURS, NothingToPlotError, moment

MOST_LINES = 60


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in which an alert had one severity; ``open`` says that it has not ended."""

    rule: str
    group: str
    severity: str
    start: int
    end: int
    open: bool


def spans(alerts: Iterable[Alert]) -> list[Span]:
    """Return the stretches of all alerts; those still open end at the latest time seen.

    Raises NothingToPlotError when there is none.
    """
    courses: dict[str, dict[int, Alert]] = defaultdict(dict)
    for alert in alerts:
        courses[alert.alert_id][alert.revision] = alert
    if not courses:
        raise NothingToPlotError("no alerts that fit")
    latest = max(alert.time for course in courses.values() for alert in course.values())
    found = []
    for course in courses.values():
        steps = [course[revision] for revision in sorted(course)]
        for step, after in zip(steps, [*steps[1:], None], strict=True):
            if step.state != "close":
                end = latest if after is None else after.time
                found.append(Span(step.rule, step.group, step.severity, step.time, end, open=after is None))
    return found


def draw(plt: Any, found: list[Span]) -> Any:
    """Return the figure; of more than 60 lines those with the longest alerts are shown, and the title says so."""
    lines: dict[tuple[str, str], list[Span]] = defaultdict(list)
    for span in found:
        lines[span.rule, span.group].append(span)
    chosen = sorted(lines, key=lambda line: -sum(span.end - span.start for span in lines[line]))[:MOST_LINES]
    chosen.sort(reverse=True)
    figure, axis = plt.subplots(figsize=(10, 1.2 + 0.24 * len(chosen)))
    for height, line in enumerate(chosen):
        for span in lines[line]:
            times = [moment(span.start), moment(span.end)]
            colour = COLOURS.get(span.severity, COLOURS["info"])
            axis.plot(times, [height, height], color=colour, linewidth=6, solid_capstyle="butt")
            if span.open:
                axis.plot(times[1], height, marker=">", color=colour)
            axis.plot(times[0], height, marker="|", color=colour)
    axis.set_yticks(range(len(chosen)), [f"{group}  ·  {rule}" for rule, group in chosen], fontsize=7)
    axis.set_ylim(-0.8, len(chosen) - 0.2)
    for severity, colour in COLOURS.items():
        axis.plot([], [], color=colour, linewidth=6, label=severity)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    rest = f"; the longest {MOST_LINES} of {len(lines)} lines" if len(lines) > MOST_LINES else ""
    axis.set_title(f"{len(found)} stretches of alerts (event time){rest}")
    figure.autofmt_xdate()
    return figure
