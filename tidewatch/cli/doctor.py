"""``tidewatch doctor``: look for what is wrong, and say how to mend it."""

from __future__ import annotations

from typing import Annotated

import typer

from tidewatch.cli.shared import Json, console, fail, print_json
from tidewatch.exits import Exit

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(doctor)


def doctor(
    max_lag: Annotated[int, typer.Option(min=0, help="Records that a group may be behind.")] = 100_000,
    json: Json = False,
) -> None:
    """Check versions, disk, broker, replicas, topics, lag and clocks, and say how to mend what is wrong.

    Writes nothing but one empty record a partition to tidewatch.probe.sent.v1, by which it compares clocks.

    Example: tidewatch doctor --json

    Exit code 5: a check failed. Warnings alone leave it at 0.
    """
    from dataclasses import asdict

    from confluent_kafka import KafkaException
    from rich.text import Text

    from tidewatch.doctor import examine
    from tidewatch.settings import Settings

    out, findings = console(), []
    try:
        for finding in examine(Settings(), max_lag=max_lag):
            findings.append(finding)
            if not json:
                colour = _COLOURS[finding.state]
                out.print(
                    Text.assemble((f"{finding.state:4}", colour), f"  {finding.check}: {finding.text}"),
                    soft_wrap=True,
                )
                if finding.remedy:
                    out.print(f"      to mend: {finding.remedy}", soft_wrap=True, markup=False)
    except KafkaException as error:
        fail(
            f"Kafka went away while it was looked at: {error.args[0].str()}",
            "Look at the broker, then try again.",
        )
    failed = any(finding.state == "fail" for finding in findings)
    if json:
        print_json({"ok": not failed, "findings": [asdict(finding) for finding in findings]})
    if failed:
        raise typer.Exit(Exit.DIFFERS)
