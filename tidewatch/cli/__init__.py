"""The ``tidewatch`` command: one module a group of verbs."""

from __future__ import annotations

import importlib
import sys
from functools import cache

import typer

from tidewatch.exits import Exit

app = typer.Typer(name="tidewatch", no_args_is_help=True, add_completion=True, rich_markup_mode="markdown")

# Each module defines ``register(app)``; importing is cheap, heavy libraries are imported by the verbs.
_GROUPS = (
    "broker",
    "topics",
    "recut",
    "alerts",
    "sink",
    "dlq",
    "doctor",
    "rules",
    "late",
    "worker",
    "backfill",
    "savepoint",
    "replay",
    "simulate",
    "gateway",
    "monitor",
    "demo",
    "console",
    "plot",
    "bench",
    "bench_nab",
    "signals",
    "plot_shape",
)


@cache
def commands() -> typer.Typer:
    """Return the command line with all verbs."""
    for name in _GROUPS:
        importlib.import_module(f"tidewatch.cli.{name}").register(app)
    return app


def main() -> None:
    """Run the command line; a setting that makes no sense is told by its name."""
    try:
        commands()()
    except ValueError as error:
        from pydantic import ValidationError

        if not isinstance(error, ValidationError):
            raise
        for problem in error.errors(include_url=False, include_context=False, include_input=False):
            variable = "TIDEWATCH_" + "_".join(map(str, problem["loc"])).upper()
            typer.echo(f"error: {variable}: {problem['msg']}", err=True)
        sys.exit(Exit.USAGE)
