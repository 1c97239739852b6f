"""``tidewatch late``: fold rows that came too late into the windows they missed."""

from __future__ import annotations

from typing import Annotated

import typer

from tidewatch.cli.shared import Json, connection, explained, fail, print_json, windowed_pipeline

group = typer.Typer(no_args_is_help=True, help="Late rows.")


def register(app: typer.Typer) -> None:
    """Add the group to the command line."""
    app.add_typer(group, name="late")


@group.command()
def replay(
    pipeline: Annotated[
        str, typer.Argument(help="A name such as air-quality, or FILE.py:VARIABLE, or module:VARIABLE.")
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be revised.")] = False,
    json: Json = False,
) -> None:
    """Publish new revisions of windows, with the late rows that they missed added.

    Workers may go on meanwhile. Doing it again changes nothing unless more rows were late.

    Example: tidewatch late replay air-quality
    """
    from sinks.errors import TopicError
    from tidewatch.late import fold_in

    chosen, settings = windowed_pipeline(pipeline), connection()
    with explained():
        try:
            outcome = fold_in(settings, chosen, dry_run=dry_run)
        except (TopicError, ValueError) as error:
            fail(error)
    facts = {
        name: getattr(outcome, name) for name in ("letters", "foreign", "revised", "unchanged", "still_open")
    }
    if json:
        print_json({"pipeline": chosen.name, "dry_run": dry_run, **facts})
        return
    verb = "would be revised" if dry_run else "revised"
    typer.echo(
        f"{outcome.letters} late rows: {outcome.revised} windows {verb}, {outcome.unchanged} had them already, "
        f"{outcome.still_open} roll-up windows are not let go yet, {outcome.foreign} records are no late letters"
    )
