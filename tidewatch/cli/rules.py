"""``tidewatch rules``: check a file of rules, apply it to running pipelines, list rules with their hits."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tidewatch.cli.shared import (
    Json,
    connection,
    console,
    explained,
    fail,
    print_json,
    say,
    windowed_pipeline,
)
from tidewatch.exits import Exit

if TYPE_CHECKING:
    from streams.pipeline import Pipeline
    from streams.rules.rulefile import RuleFile

group = typer.Typer(no_args_is_help=True, help="Check, apply and list rules.")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Rules in YAML; see docs/rules.md.")]
Declared = Annotated[
    str | None,
    typer.Option(
        "--pipeline",
        help="Where the pipeline is declared, if not built in: FILE.py:VARIABLE or module:VARIABLE.",
    ),
]


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="rules")


@group.command()
def check(file: File, pipeline: Declared = None, json: Json = False) -> None:
    """Say what is wrong in a file, line by line, without touching anything.

    Example: tidewatch rules check rules.yaml
    """
    _, rules = _read(file, pipeline, json=json)
    kinds = {name: spec.get("kind", "off") for name, spec in rules.specs.items()}
    if json:
        print_json({"file": str(file), "pipeline": rules.pipeline, "rules": kinds, "problems": []})
    else:
        say(f"{file}: {len(kinds)} rules and mutes for {rules.pipeline}, nothing wrong")


@group.command()
def apply(
    file: File,
    pipeline: Declared = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Take away live rules that the file does not name.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would change.")] = False,
    json: Json = False,
) -> None:
    """Let running workers follow the rules of a file from the end of their open window on.

    Only what differs is written, so applying twice changes nothing.

    Example: tidewatch rules apply rules.yaml --prune
    """
    from sinks.errors import TopicError
    from tidewatch.live_rules import current_specs, plan, publish

    declared, rules = _read(file, pipeline, json=json)
    settings = connection()
    with explained():
        try:
            actions = plan(current_specs(settings, declared), rules.specs, prune=prune)
        except TopicError as error:
            fail(error, "Make it with `tidewatch topics create`.")
        if not dry_run:
            publish(settings, rules.pipeline, rules.specs, actions)
    if json:
        print_json({"pipeline": rules.pipeline, "dry_run": dry_run, "actions": actions})
        return
    for name, action in actions.items():
        typer.echo(f"{action:7} {name}")
    if all(action == "keep" for action in actions.values()):
        say("nothing to change")


@group.command("list")
def list_(
    pipeline: Annotated[
        str, typer.Argument(help="A name such as air-quality, or FILE.py:VARIABLE, or module:VARIABLE.")
    ],
    json: Json = False,
) -> None:
    """List the rules in force, declared and live, and how often each hit.

    Example: tidewatch rules list air-quality --json
    """
    from sinks.errors import TopicError
    from tidewatch.live_rules import current_specs, hits, listed

    chosen, settings = windowed_pipeline(pipeline), connection()
    with explained():
        try:
            rows = listed(chosen, current_specs(settings, chosen), hits(settings, chosen))
        except TopicError as error:
            fail(error, "Make it with `tidewatch topics create`.")
    if json:
        print_json({"pipeline": chosen.name, "rules": rows})
        return
    from rich.table import Table

    table = Table("rule", "kind", "state", "where", "opened", "open now", "muted", "last opened", box=None)
    for row in rows:
        where = ", ".join(f"{name}={value}" for name, value in row["where"].items())
        numbers = (str(row[name]) for name in ("opened", "open_now", "muted"))
        last = row["last_opened_ms"]
        when = "" if last is None else datetime.fromtimestamp(last / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
        table.add_row(row["name"], row["kind"], row["state"], where, *numbers, when)
    console().print(table)


def _read(file: Path, pipeline: str | None, *, json: bool) -> tuple[Pipeline, RuleFile]:
    """Read a file for the pipeline that it names, or leave with everything that is wrong in it."""
    from streams.rules.rulefile import Problem, RuleFileError, read_rules

    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        chosen = windowed_pipeline(pipeline or _named(text))
        rules = read_rules(text, chosen.rules, (*chosen.group_by, *chosen.keep))
        if rules.pipeline != chosen.name:
            raise RuleFileError(
                [Problem(1, f"the rules are for {rules.pipeline!r}, not for {chosen.name!r}")]
            )
    except RuleFileError as error:
        if json:
            problems = [{"line": p.line, "message": p.message} for p in error.problems]
            print_json({"file": str(file), "problems": problems})
        for problem in error.problems:
            say(f"{file}:{problem.line}: {problem.message}")
        raise typer.Exit(Exit.FAILED) from error
    return chosen, rules


def _named(text: str) -> str:
    """Return the pipeline that a file names, reading it for nothing else."""
    from streams.rules.rulefile import pipeline_of

    return pipeline_of(text)
