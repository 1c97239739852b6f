"""``tidewatch bench``: measure against peers on a Kafka of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidewatch.cli.shared import Json, console, fail, print_json, say

bench = typer.Typer(no_args_is_help=True, help="Measure against peers on the same local Kafka.")
Scale = Annotated[float, typer.Option(min=0.0001, help="Multiplies every system's number of events.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.add_typer(bench, name="bench")


@bench.command()
def throughput(
    systems: Annotated[
        str,
        typer.Option(
            help="Comma-separated, such as tidewatch,flink; see 'tidewatch bench systems'. If empty, those that fit 15 minutes."
        ),
    ] = "",
    scenario: Annotated[
        str,
        typer.Option(
            help="What is asked of them: plain, ysb, uc2, uc3, nexmark-q0, -q1, -q2, -q5, -q7, -q8 or -q11."
        ),
    ] = "plain",
    rounds: Annotated[
        int, typer.Option(min=1, help="How often all systems are run in turn; medians count.")
    ] = 3,
    keys: Annotated[int, typer.Option(min=1, help="Sensors.")] = 1_000,
    per_window: Annotated[
        int, typer.Option(min=1, help="Events a sensor and window of 10 s, on average.")
    ] = 100,
    scale: Scale = 1.0,
    json: Json = False,
) -> None:
    """Drain a topic of JSON events with each system in turn; every result is checked against a recount.

    Each system has one core, the broker another. Start-up is differenced out by two sizes. Exit code 1: nothing could be
    measured; 5: a system's results are wrong.

    Example: tidewatch bench throughput --systems tidewatch,kafka-streams --rounds 5
    """
    from benchmarks.throughput import Plan, UnknownSystemError, measure
    from tidewatch.broker import BrokerError
    from tidewatch.exits import Exit

    try:
        report = measure(Plan(_names(systems), rounds, keys, per_window, scale, scenario=scenario), say)
    except (UnknownSystemError, BrokerError) as error:
        fail(error)
    if json:
        print_json(report)
    else:
        _show(report)
    if not report["systems"]:
        raise typer.Exit(Exit.FAILED)
    if not all(system["correct"] for system in report["systems"]):
        raise typer.Exit(Exit.DIFFERS)


@bench.command()
def latency(
    rate: Annotated[int, typer.Option(min=1, help="Events a second.")] = 50_000,
    seconds: Annotated[float, typer.Option(min=1, help="How long, after the warm-up.")] = 30.0,
    hot: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the events that one of four partitions gets.")
    ] = 0.7,
    json: Json = False,
) -> None:
    """Measure from an event's intended sending to its alert, and from a window's due time to its results, in milliseconds.

    One partition is hot and three are quiet. Exit code 1: the alerts did not all come.

    Example: tidewatch bench latency --rate 50000
    """
    from benchmarks.latency import Pace, measure
    from tidewatch.broker import BrokerError

    try:
        report = measure(Pace(rate, seconds, hot), say)
    except BrokerError as error:
        fail(error)
    if json:
        print_json(report)
    else:
        for name in ("alerts_ms", "alerts_hot_ms", "alerts_quiet_ms", "windows_ms"):
            console().print(name, report[name])
    if report["alerts_missing"] or not report["alerts_ms"]["count"]:
        fail(f"{report['alerts_missing']} alerts did not come")


@bench.command()
def keys(
    keys: Annotated[
        int, typer.Option(min=1_000, help="Sensors, each with one open window; compared with 1,000.")
    ] = 1_000_000,
    per_window: Annotated[int, typer.Option(min=1, help="Events a sensor and window, on average.")] = 10,
    cost: Annotated[bool, typer.Option(help="Measure the cost an event and the memory at the peak.")] = True,
    restore: Annotated[bool, typer.Option(help="Measure how soon a killed worker's state is back.")] = True,
    json: Json = False,
) -> None:
    """Measure what many keys cost an event and in memory, and how soon they are there again after kill -9.

    Example: tidewatch bench keys --keys 100000

    Exit code 1: the worker did not finish; 5: its results are wrong.
    """
    from benchmarks.drain import DrainError
    from benchmarks.keys import Plan, measure
    from tidewatch.broker import BrokerError
    from tidewatch.exits import Exit

    try:
        report = measure(Plan(keys, per_window=per_window, cost=cost, restore=restore), say)
    except (BrokerError, DrainError) as error:
        fail(error)
    if json:
        print_json(report)
    else:
        for name in ("cost", "restore"):
            console().print(name, report.get(name))
    parts = [*report.get("cost", {}).values(), report.get("restore", {})]
    if any(part.get("faults") for part in parts if isinstance(part, dict)):
        raise typer.Exit(Exit.DIFFERS)


def _results() -> Path:
    from tidewatch.paths import state_directory

    return state_directory() / "bench" / "full.jsonl"


Results = Annotated[
    Path,
    typer.Option(
        help="File to which each finished run is added, one a line.",
        default_factory=_results,
        show_default="in the state directory",
    ),
]


@bench.command()
def full(
    results: Results,
    scenarios: Annotated[
        str, typer.Option(help="Comma-separated, such as plain,nexmark-q5. All if empty.")
    ] = "",
    systems: Annotated[str, typer.Option(help="Comma-separated. All if empty.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured; medians count.")] = 3,
    scale: Scale = 1.0,
    latency_seconds: Annotated[
        float, typer.Option(min=0, help="Length of each run of latency; 0 leaves them out.")
    ] = 30.0,
    json: Json = False,
) -> None:
    """Measure all systems on all scenarios, then latency at 50% and 80% of the sustained rate.

    It may be interrupted at any time: what is in the file of results is not run again. Exit code 1: nothing was measured;
    5: a system's results are wrong.

    Example: tidewatch bench full --rounds 1
    """
    from benchmarks.full import FullPlan, measure
    from benchmarks.ledger import Ledger, LedgerError
    from benchmarks.throughput import UnknownSystemError
    from tidewatch.broker import BrokerError
    from tidewatch.exits import Exit

    plan = FullPlan(_names(scenarios), _names(systems), rounds, scale, latency_seconds)
    try:
        report = measure(plan, Ledger(results), say)
    except (UnknownSystemError, BrokerError, LedgerError) as error:
        fail(error)
    say(f"results are in {results}; 'tidewatch bench plot' draws them")
    if json:
        print_json(report)
    else:
        for name, scenario in report["scenarios"].items():
            console().print(name)
            _show(scenario)
    every = [system for scenario in report["scenarios"].values() for system in scenario["systems"]]
    if not every:
        raise typer.Exit(Exit.FAILED)
    if not all(system["correct"] for system in every):
        raise typer.Exit(Exit.DIFFERS)


@bench.command()
def plot(
    results: Results,
    out: Annotated[Path, typer.Option(help="Folder for the pictures.")] = Path("benchmarks/pictures"),
) -> None:
    """Draw the results of 'tidewatch bench full' as SVG.

    Example: tidewatch bench plot
    """
    from benchmarks.ledger import Ledger, LedgerError
    from benchmarks.pictures import draw

    try:
        files = draw(Ledger(results), out)
    except LedgerError as error:
        fail(error)
    if not files:
        fail(f"{results} has nothing to draw yet; run 'tidewatch bench full'")
    for file in files:
        console().print(str(file))


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


@bench.command(name="systems")
def list_systems(json: Json = False) -> None:
    """List the systems that can be measured: version, sizes of their two drains, cores.

    What a system needs beside this installation is fetched when it is first measured; what cannot be had is skipped with a word.

    Example: tidewatch bench systems --json
    """
    from rich.table import Table

    from benchmarks.systems import systems

    found = [
        {"name": s.name, "version": s.version(), "small": s.small, "large": s.large, "cores": 1 + s.both}
        for s in systems().values()
    ]
    if json:
        print_json(found)
        return
    table = Table("system", "version", "events", "cores", box=None)
    for each in found:
        sizes = f"{each['small']:,} and {each['large']:,}"
        table.add_row(str(each["name"]), str(each["version"]), sizes, str(each["cores"]))
    console().print(table)


def _show(report: dict) -> None:  # type: ignore[type-arg]
    from rich.table import Table

    table = Table(
        "system",
        "version",
        "events/s",
        "CPU s a million",
        "peak MB",
        "state bytes an event",
        "correct",
        "ours / theirs",
        "our CPU / theirs",
    )
    for system in report["systems"]:
        ratio = report["ratios"].get(system["name"], {})
        table.add_row(
            system["name"],
            system["version"],
            f"{system['events_per_s']:,.0f}" if system["events_per_s"] else "too few events",
            f"{system['cpu_s_per_million']:.2f}",
            f"{system['peak_mb']:.0f}",
            _number(system["checkpoint_bytes_per_event"]),
            "yes" if system["correct"] else "NO",
            f"{ratio['events_per_s']:.1f}" if ratio else "",
            f"{ratio['cpu_s_per_million']:.3f}" if ratio else "",
        )
    console().print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
