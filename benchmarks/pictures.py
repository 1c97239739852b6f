"""``tidewatch bench plot``: pictures of a ledger, as they stand in RESULTS.md."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.figures import Figures, summary
from benchmarks.ledger import Ledger

OURS, THEIRS, WRONG = "#0b6e99", "#9aa5ad", "#c0392b"
Number = Callable[[Figures], float]
BARS: tuple[tuple[str, str, Number], ...] = (
    ("throughput.svg", "events a second", lambda f: f.events_per_s),
    ("cpu.svg", "processor seconds a million events", lambda f: f.cpu_s_per_million),
)


def draw(ledger: Ledger, folder: Path) -> list[Path]:
    """Draw what a ledger has, but for what noise has hidden, an SVG each; return the files.

    The same ledger gives the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = {name: summary(ledger.drains, name) for name in dict.fromkeys(e.scenario for e in ledger.drains)}
    plain = list(found.pop("plain", {}).values())
    files = [
        _bars([each for each in plain if number(each) > 0], number, what, folder / name)
        for name, what, number in BARS
        if any(number(each) > 0 for each in plain)
    ]
    if any(found.values()):
        files.append(_scenarios(found, folder / "scenarios.svg"))
    return files


def _bars(systems: Sequence[Figures], number: Number, what: str, file: Path) -> Path:
    """Draw a bar a system on a logarithmic axis; what is wrong is marked."""
    ordered = sorted(systems, key=number)
    figure = Figure(figsize=(8, 0.45 * len(ordered) + 1.2), layout="constrained")
    axes = figure.subplots()
    bars = axes.barh(
        [f"{each.name}{'' if each.correct else ' (wrong)'}" for each in ordered],
        [number(each) for each in ordered],
        color=[_colour(each) for each in ordered],
    )
    axes.bar_label(bars, [_short(number(each)) for each in ordered], padding=4)
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.set_xlabel(what)
    _plain(axes)
    return _saved(figure, file)


def _scenarios(found: Mapping[str, Mapping[str, Figures]], file: Path) -> Path:
    """Draw the systems of every other scenario side by side."""
    names = list(dict.fromkeys(system for systems in found.values() for system in systems))
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(names)
    for place, name in enumerate(names):
        has = [(i, systems[name]) for i, systems in enumerate(found.values()) if name in systems]
        axes.bar(
            [i + (place - (len(names) - 1) / 2) * width for i, _ in has],
            [each.events_per_s for _, each in has],
            width,
            label=name,
            color=[_colour(each) for _, each in has],
        )
    axes.set_xticks(range(len(found)), list(found), rotation=30, ha="right")
    axes.set_ylabel("events a second")
    axes.yaxis.set_major_formatter(lambda value, _: _short(value))
    axes.legend(frameon=False)
    _plain(axes)
    return _saved(figure, file)


def _colour(each: Figures) -> str:
    if not each.correct:
        return WRONG
    return OURS if each.name.startswith("tidewatch") else THEIRS


def _short(value: float) -> str:
    if value < 1_000:
        return f"{value:.3g}"
    return f"{value / 1000:,.{0 if value >= 10_000 else 1}f}k"


def _plain(axes: mpl.axes.Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)


def _saved(figure: Figure, file: Path) -> Path:
    with mpl.rc_context({"svg.hashsalt": "tidewatch", "svg.fonttype": "none"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file
