"""``tidewatch signals explain``: all about one pair of drug and event."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from schemas.safety import DISPOSITIONS
from tidewatch.cli.dispositions import read_dispositions
from tidewatch.cli.shared import Json, console, fail, say
from tidewatch.cli.signal_records import CHANGES, STATES, day, number, records_of

if TYPE_CHECKING:
    from rich.console import Console

    from schemas.safety import Disposition, SignalChange, SignalState
    from sinks.signal_course import Course


def register(group: typer.Typer) -> None:
    """Add the verb to the group."""
    group.command()(explain)


def explain(
    drug: Annotated[str, typer.Argument(help="The drug, as reports name it; * and ? stand for anything.")],
    event: Annotated[str, typer.Argument(help="The event, as reports name it; * and ? stand for anything.")],
    pipeline: Annotated[str, typer.Option(help="Only this pipeline.")] = "*",
    preset: Annotated[
        str | None, typer.Option(help="Preset whose measure is drawn over time; by default one that was met.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw that measure with its boundary to this .png, .svg or .pdf.")
    ] = None,
    states: Annotated[str, typer.Option(help="Topic of states.")] = STATES,
    topic: Annotated[str, typer.Option(help="Topic of signals.")] = CHANGES,
    judged: Annotated[str, typer.Option("--dispositions", help="Topic of dispositions.")] = DISPOSITIONS,
    json: Json = False,
) -> None:
    """Tell all about one pair: its table, measures, presets, history and disposition, with a plot over time and its boundary.

    Example: tidewatch signals explain warfarin haemorrhage --preset ema-2016 --plot warfarin.png
    """
    import msgspec

    from sinks.signal_course import history
    from sinks.signals import Evidence, SignalFilter, changes, latest_states
    from streams.signals.presets import PRESETS

    if preset is not None and preset not in PRESETS:
        raise typer.BadParameter(
            f"no preset {preset!r}; there are: {', '.join(PRESETS)}", param_hint="--preset"
        )
    wanted, records = SignalFilter(drug, event, pipeline), list(records_of(states))
    found = [state for state in latest_states(records).values() if wanted.takes(state)]
    if not found:
        fail(f"no state of {drug} and {event}", "Look at what there is with `tidewatch signals top`.")
    if plot is not None and len(found) > 1:
        fail(
            f"{len(found)} pairs fit, and a plot is of one", "Name the pair exactly, or choose a --pipeline."
        )
    steps = [c for c in changes(value for _, value in records_of(topic)) if wanted.takes(c.state)]
    said = read_dispositions(judged)
    if json:
        facts = {
            "states": found, "evidence": [Evidence.of(state) for state in found], "history": steps,
            "dispositions": [said[state.id] for state in found if state.id in said],
        }  # fmt: skip
        sys.stdout.write(msgspec.json.encode(facts).decode() + "\n")
    for state in found:
        mine = [step for step in steps if step.state.id == state.id]
        course = _course(history(records, mine, state.id), mine, preset)
        if not json:
            _explain(console(), state, mine, course, said.get(state.id))
        if plot is not None:
            _draw(course, mine, f"{state.drug} and {state.event} in {state.pipeline}", plot)


def _course(states: Sequence[SignalState], steps: Sequence[SignalChange], preset: str | None) -> Course:
    from sinks.signal_course import course_of

    met = [name for state in reversed(states) for name in state.presets] + [step.preset for step in steps]
    return course_of(states, preset or next(iter(met), "umc"))


def _draw(course: Course, steps: Sequence[SignalChange], title: str, file: Path) -> None:
    from tidewatch.plots.canvas import NothingToPlotError, save, styled
    from tidewatch.plots.signals import draw

    try:
        with styled() as plt:
            save(draw(plt, course, [step for step in steps if step.preset == course.rule], title), file)
    except (NothingToPlotError, ValueError, OSError) as error:
        fail(error)
    say(f"{course.measure} at {len(course)} times drawn to {file}")


def _explain(
    shown: Console,
    state: SignalState,
    steps: Sequence[SignalChange],
    course: Course,
    said: Disposition | None,
) -> None:
    from tidewatch.plots.signals import in_text

    shown.print(
        f"{state.drug} and {state.event} in {state.pipeline}, as of {day(state.time)}, by {state.unit}"
    )
    if state.unit == "cases":
        _monitored(shown, state)
    else:
        _tables(shown, state)
    for step in steps:
        shown.print(
            f"{day(step.time)}  {step.preset:<11} {step.step:<12} n={step.state.n} IC025={number(step.state.ic025)}"
        )
    for line in in_text(course):
        shown.print(line, markup=False, soft_wrap=True)
    if said is not None:
        shown.print(
            f"{said.judgement} by {said.analyst} on {day(said.time)} at {said.n} reports: {said.reason}",
            markup=False,
        )


def _monitored(shown: Console, state: SignalState) -> None:
    shown.print(
        f"{state.n} cases observed in {state.drug_total} days at risk, {state.expected:.2f} expected; IC {number(state.ic)}, "
        f"at least {number(state.ic025)}"
    )
    boundary = (
        "nothing is tested any more" if state.critical is None else f"signals above {state.critical:.3f}"
    )
    shown.print(f"log-likelihood ratio {number(state.llr)}, {boundary}; log e-value {number(state.log_e)}")
    spent = "-" if state.alpha_spent is None else f"{state.alpha_spent:.4f}"
    shown.print(f"alpha spent {spent}; p calibrated by negative controls {number(state.p_calibrated)}")


def _tables(shown: Console, state: SignalState) -> None:
    from rich.table import Table

    from streams.signals.presets import PRESETS

    b, c = state.drug_total - state.n, state.event_total - state.n
    rest = state.total - state.n - b - c
    cells = Table("", "event", "no event", "all")
    cells.add_row("drug", str(state.n), str(b), str(state.drug_total))
    cells.add_row("no drug", str(c), str(rest), str(state.total - state.drug_total))
    shown.print(cells)
    measures = Table("measure", "value", "lower limit")
    for name, value, lower in (
        ("PRR", state.prr, state.prr025),
        ("ROR", state.ror, state.ror025),
        ("IC", state.ic, state.ic025),
        ("EBGM", state.ebgm, state.eb05),
        ("chi-square (Yates)", state.chi2_yates, None),
    ):
        measures.add_row(name, number(value), number(lower))
    shown.print(measures)
    presets = Table("preset", "met", "needs", "source")
    for preset in PRESETS.values():
        needs = ", ".join(f"{c.statistic} {'>' if c.strictly else '>='} {c.value:g}" for c in preset.criteria)
        presets.add_row(preset.name, "yes" if preset.name in state.presets else "no", needs, preset.source)
    shown.print(presets)
