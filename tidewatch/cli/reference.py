"""The reference page of the command line, written from the verbs themselves: ``python -m tidewatch.cli.reference``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from tidewatch.cli import commands
from tidewatch.exits import MEANINGS, Exit

_PAGE = """# Command line

The page is generated: `python -m tidewatch.cli.reference > docs/cli.md`.

Results go to stdout, progress and remarks to stderr; colours and bars appear on a terminal only. `--json` prints one JSON
object (one a line where a verb follows something). `tidewatch --install-completion` sets up completion. `TIDEWATCH_BOOTSTRAP` says
which Kafka is meant; without it, it is the local one.

## Exit codes

They are stable: scripts may rely on them.

| code | name | meaning |
|---|---|---|
{exits}

## Verbs

{verbs}
"""


def verbs() -> Iterator[tuple[str, Any]]:
    """Give every verb by its full name, such as ``topics create``."""
    yield from _verbs(typer.main.get_command(commands()), "")


def _verbs(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield path.strip(), command
        return
    for name in sorted(children):
        yield from _verbs(children[name], f"{path} {name}")


def to_markdown() -> str:
    """Return the page."""
    exits = "\n".join(f"| {code.value} | `{code.name.lower()}` | {MEANINGS[code]} |" for code in Exit)
    return _PAGE.format(exits=exits, verbs="\n\n".join(_section(name, command) for name, command in verbs()))


def _section(name: str, command: Any) -> str:
    """Return usage, what it does, and its parameters."""
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    usage = " ".join(["tidewatch", name, *(_metavar(p) for p in arguments), "[OPTIONS]"])
    rows = [_row(p) for p in command.params if p.name != "help" and not getattr(p, "hidden", False)]
    table = "\n".join(["| parameter | meaning |", "|---|---|", *rows]) if rows else ""
    return "\n\n".join(
        part
        for part in (f"### `tidewatch {name}`", f"`{usage}`", (command.help or "").strip(), table)
        if part
    )


def _metavar(parameter: Any) -> str:
    name = str(parameter.name).upper().rstrip("_") + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    name = _metavar(parameter).strip("[]") if is_argument else ", ".join(parameter.opts)
    meaning = (getattr(parameter, "help", None) or "").replace("|", r"\|")
    default = parameter.default
    shown = (
        default not in (None, False, True, (), [])
        and not callable(default)
        and "unset" not in str(default).lower()
    )
    return f"| `{name}` | {meaning}{f' Default: `{default}`.' if shown else ''} |"


if __name__ == "__main__":
    sys.stdout.write(to_markdown())
