"""The ``tidewatch`` command: one module a group of verbs."""

from __future__ import annotations

import importlib
from functools import cache

import typer

app = typer.Typer(name="tidewatch", no_args_is_help=True, add_completion=True, rich_markup_mode="markdown")

# Each module defines ``register(app)``; importing is cheap, heavy libraries are imported by the verbs.
_GROUPS = (
    "broker",
    "topics",
    "alerts",
    "sink",
    "dlq",
    "doctor",
    "worker",
    "replay",
    "simulate",
    "monitor",
    "demo",
    "console",
    "plot",
    "bench",
    "bench_nab",
    "signals",
)


@cache
def commands() -> typer.Typer:
    """Return the command line with all verbs."""
    for name in _GROUPS:
        importlib.import_module(f"tidewatch.cli.{name}").register(app)
    return app


def main() -> None:
    """Run the command line."""
    commands()()
