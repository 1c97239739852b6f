"""One picture of the demo for a terminal: flow, partitions, distributions by site, alerts against truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.layout import Layout
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from producers.truth import Score
from schemas.results import Alert
from tidewatch.demo.scenario import CITY, Scenario
from tidewatch.live.blocks import ridge, sparkline
from tidewatch.live.shapes import LEVELS, Shape
from tidewatch.live.snapshot import Snapshot

_ROTATE_SECONDS = 5.0
_RATE_CELLS = 36
_COLOURS = {"info": "cyan", "warning": "yellow", "critical": "red"}
_WORKER_COLOURS = ("green", "blue", "magenta", "cyan", "yellow")


@dataclass(frozen=True, slots=True)
class State:
    """What is drawn."""

    snapshot: Snapshot
    score: Score
    openings: Sequence[Alert]
    scenario: Scenario
    elapsed: float
    rates: Sequence[float]
    said: Sequence[tuple[float, str]]
    address: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Lays the state out for the terminal's size."""

    state: State

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw."""
        layout = Layout()
        layout.split_column(
            Layout(_header(self.state), size=4),
            Layout(name="middle"),
            Layout(_alerts(self.state), name="alerts", ratio=1),
            Layout(_said(self.state), size=5),
        )
        layout["middle"].size = 13
        width = options.max_width
        layout["middle"].split_row(
            Layout(_partitions(self.state), ratio=5), Layout(_shapes(self.state, width * 6 // 11), ratio=6)
        )
        yield layout


def _header(state: State) -> RenderableType:
    snapshot = state.snapshot
    table = Table.grid(expand=True, padding=(0, 1))
    for _ in range(6):
        table.add_column(justify="center", ratio=1)
    facts = (
        (f"{snapshot.processed_per_s:,.0f}/s", "events processed", "bold green"),
        (
            f"{snapshot.lag:,}",
            "lag, events",
            "bold red" if snapshot.lag > 2 * snapshot.produced_per_s + 1000 else "bold",
        ),
        (f"{sum(snapshot.windows.values()):,}", "windows closed", "bold"),
        (f"{snapshot.late:,}", "late", "bold"),
        (f"{sum(snapshot.dead.values()):,}", "dead letters", "bold"),
        (f"{state.score.precision:.0%} / {state.score.recall:.0%}", "precision / recall", "bold green"),
    )
    table.add_row(*(Text(value, style) for value, _, style in facts))
    table.add_row(*(Text(label, "dim") for _, label, _ in facts))
    return Panel(
        table, title="[bold]Tidewatch[/] demo", subtitle=_progress(state), border_style="blue", padding=(0, 1)
    )


def _progress(state: State) -> str:
    done = min(1.0, state.elapsed / state.scenario.seconds)
    width = 30
    bar = "━" * round(done * width)
    return f"[green]{bar}[/][dim]{'━' * (width - len(bar))}[/] {state.elapsed:.0f} of {state.scenario.seconds:.0f} s"


def _partitions(state: State) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    for justify in ("left", "left", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(name, "dim") for name in ("partition", "owner", "lag", "watermark")))
    names = [worker.name for worker in state.snapshot.workers]
    for row in state.snapshot.partitions:
        colour = (
            _WORKER_COLOURS[names.index(row.owner) % len(_WORKER_COLOURS)] if row.owner in names else "red"
        )
        table.add_row(
            f"{row.topic.split('.')[1]} {row.partition}",
            Text(row.owner or "nobody", colour),
            f"{row.lag or 0:,}",
            Text("" if row.watermark is None else _moment(row.watermark, long=row.watermark < 1.6e12), "dim"),
        )
    rates = Text.assemble(("events/s  ", "dim"), (sparkline(state.rates, _RATE_CELLS), "green"))
    return Panel(Group(table, Text(), rates), title="partitions", border_style="blue", padding=(0, 1))


def _shapes(state: State, width: int) -> RenderableType:
    by_quantity: dict[tuple[str, str], list[tuple[Shape, Shape | None]]] = {}
    for now, before in state.snapshot.shapes:
        by_quantity.setdefault((now.pipeline, now.quantity), []).append((now, before))
    if not by_quantity:
        return Panel(Text("no window has closed yet", "dim"), title="distributions", border_style="blue")
    keys = [key for key in sorted(by_quantity) if key[0] == CITY.name] or sorted(by_quantity)
    key = keys[int(state.elapsed / _ROTATE_SECONDS) % len(keys)]
    pairs = by_quantity[key]
    first = pairs[0][0]
    grid = _grid([now for now, _ in pairs], max(12, width - 34))
    table = Table.grid(expand=True, padding=(0, 1))
    for justify in ("left", "left", "right", "right", "right"):
        table.add_column(justify=justify, no_wrap=True)
    table.add_row(*(Text(name, "dim") for name in ("site", "the last minute", "5%", "median", "95%")))
    for now, _ in pairs[:8]:
        levels = dict(zip(LEVELS, now.quantiles, strict=True))
        table.add_row(
            now.site, Text(ridge(now, grid), "cyan"), *(f"{levels[level]:.1f}" for level in (0.05, 0.5, 0.95))
        )
    scale = f"{grid[0]:.0f}".ljust(len(grid) - 6) + f"{grid[-1]:.0f}"
    table.add_row("", Text(scale, "dim"), "", "", "")
    title = f"{first.quantity.replace('_', ' ')}, {first.unit}, by site"
    return Panel(table, title=title, border_style="blue", padding=(0, 1))


def _grid(shapes: Sequence[Shape], cells: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    low = min(shape.quantiles[0] for shape in shapes)
    high = max(shape.quantiles[-1] for shape in shapes)
    margin = 0.05 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, cells + 1)


def _alerts(state: State) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, ratio=1, overflow="ellipsis")
    false = {alert.alert_id for alert in state.score.false}
    for alert in list(reversed(state.openings))[:20]:
        city = alert.pipeline == CITY.name
        mark = (
            Text("✗ false", "red")
            if alert.alert_id in false
            else Text("✓ true", "green")
            if city
            else Text("real", "dim")
        )
        table.add_row(
            Text(_moment(alert.time, long=not city), "dim"),
            mark,
            Text(alert.rule, _COLOURS[alert.severity]),
            alert.labels.get("sensor_id", "") + " " + alert.labels.get("quantity", ""),
            alert.message,
        )
    score = state.score
    found = round(score.recall * score.incidents)
    delays = ", ".join(f"{kind} {seconds:.0f} s" for kind, seconds in sorted(score.delay_by_kind.items()))
    title = f"alerts: {found} of {score.incidents} incidents found so far, {len(false)} false"
    return Panel(
        table,
        title=title,
        subtitle=f"mean delay: {delays}" if delays else None,
        border_style="blue",
        padding=(0, 1),
    )


def _said(state: State) -> RenderableType:
    lines = [Text.assemble((f"{seconds:5.1f} s  ", "dim"), text) for seconds, text in state.said[-3:]]
    subtitle = f"console: [link={state.address}]{state.address}[/]" if state.address else None
    return Panel(Text("\n").join(lines), subtitle=subtitle, border_style="dim", padding=(0, 1))


def _moment(time_ms: int, *, long: bool) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment:%d %b %Y}" if long else f"{moment:%H:%M:%S}"
