"""The documentation: it builds without a warning, its code runs, and its commands exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import click
import pytest
import typer.main

from tidewatch.cli import commands

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its language, title and text."""

    language: str
    title: str
    text: str


def blocks(page: Path) -> list[Block]:
    found = re.findall(r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', page.read_text(), re.M | re.S)
    return [Block(*each) for each in found]


def pages_with(language: str) -> list[str]:
    pages = sorted(DOCS.rglob("*.md"))
    return [
        str(page.relative_to(DOCS)) for page in pages if any(b.language == language for b in blocks(page))
    ]


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "runbooks" / "index.html").exists()


@pytest.mark.parametrize("page", pages_with("python"))
def test_the_code_of_a_page_runs(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("page")
    monkeypatch.setitem(sys.modules, "page", module)  # where dataclasses look for their module
    for number, block in enumerate(b for b in blocks(DOCS / page) if b.language == "python"):
        exec(compile(block.text, f"{page}#{number}", "exec", dont_inherit=True), module.__dict__)


def command_lines() -> Iterator[tuple[str, str]]:
    for page in [*sorted(DOCS.rglob("*.md")), REPOSITORY / "README.md"]:
        for block in blocks(page):
            if block.language in {"sh", "console"}:
                for line in block.text.replace("\\\n", " ").splitlines():
                    if re.match(r"\$? ?tidewatch ", line):
                        yield page.name, line.removeprefix("$").strip()


@pytest.mark.parametrize(("page", "line"), list(command_lines()))
def test_a_command_is_one_that_the_command_line_takes(page: str, line: str) -> None:
    command: click.Command = typer.main.get_command(commands())
    arguments = shlex.split(line, comments=True)[1:]
    context = click.Context(command)
    while isinstance(command, click.Group):
        found = command.get_command(context, arguments.pop(0))
        assert found is not None, f"{page}: {line}"
        command = found
    command.make_context(page, arguments)


@pytest.mark.slow
@pytest.mark.kafka
def test_the_tutorial_does_what_it_says(tmp_path: Path) -> None:
    """Run its commands in order, those of other terminals in the background, with a home of its own."""
    bin_directory = Path(sys.executable).parent
    environment = os.environ | {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "COLUMNS": "200",
    }
    environment.pop("TIDEWATCH_BOOTSTRAP", None)
    said = ""
    background: list[subprocess.Popen[bytes]] = []
    page = blocks(DOCS / "tutorial.md")
    try:
        for block in page:
            if block.language == "python":
                (tmp_path / block.title).write_text(block.text)
            elif block.title:
                with (tmp_path / "worker.log").open("wb") as log:
                    process = subprocess.Popen(
                        ["bash", "-c", f"exec {block.text}"], cwd=tmp_path, env=environment, stderr=log
                    )
                background.append(process)
            else:
                said += shell(block.text, tmp_path, environment)
    finally:
        for process in background:
            process.terminate()
            process.wait(30)
        shell("tidewatch broker stop --delete --yes", tmp_path, environment)
    expected = re.findall(r"^    (2026-\S+ (?:OPEN|CLOSE) .*)$", (DOCS / "tutorial.md").read_text(), re.M)
    assert len(expected) == 2
    assert [line for line in expected if line not in said] == [], said


def shell(text: str, directory: Path, environment: dict[str, str]) -> str:
    began = time.monotonic()
    done = subprocess.run(
        ["bash", "-ec", text], cwd=directory, env=environment, capture_output=True, text=True, check=False, timeout=180
    )  # fmt: skip
    log = directory / "worker.log"
    worker = log.read_text()[-2000:] if log.exists() else ""
    assert done.returncode == 0, f"{text} after {time.monotonic() - began:.0f} s: {done.stderr} {worker}"
    return done.stdout
