"""The README keeps its word: its commands and its pipeline run as printed, its tables and pictures are current."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from schemas.results import WindowSummary
from sinks.reader import read_to_end
from tests.streams.harness import until
from tidewatch.settings import to_markdown

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BEDS, MINUTES = ("b1", "b2"), 180


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None, language
    return found.group(1)


def commands() -> list[list[str]]:
    lines = [shlex.split(line, comments=True) for line in block("bash").splitlines()]
    return [line[1:] for line in lines if line and line[0] == "tidewatch"]


def table() -> str:
    """The README's table, three hours of it: bed b1 gets hot after two."""
    header, *printed = block("csv").splitlines()
    assert header == "bed,house,when,temp,humid"
    assert all(len(line.split(",")) == 5 for line in printed)
    rows = [
        f"{bed},north,2025-06-01T{10 + minute // 60}:{minute % 60:02}:00Z,"
        f"{20 + minute % 7 / 10 + (20 if bed == 'b1' and minute >= 120 else 0)},{60 + minute % 3}"
        for minute in range(MINUTES)
        for bed in BEDS
    ]
    return "\n".join([header, *rows]) + "\n"


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "greenhouse.csv").write_text(table())
    (tmp_path / "greenhouse.py").write_text(block("python"))
    yield tmp_path
    run(tmp_path, "broker", "stop", "--delete", "--yes")


def environment(home: Path) -> dict[str, str]:
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("TIDEWATCH_") or k == "TIDEWATCH_MAVEN_REPOSITORY"
    }
    return kept | {"TIDEWATCH_STATE_DIR": str(home / "state")}


def run(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tidewatch", *arguments],
        cwd=home, env=environment(home), capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_pipeline_is_short() -> None:
    assert len(block("python").splitlines()) < 40


@pytest.mark.kafka
def test_its_commands_and_its_pipeline_run_as_printed(home: Path) -> None:
    start, create, replay, worker, follow = commands()
    assert [start[0], create[0], replay[0], worker[0], follow[0]] == [
        "broker",
        "topics",
        "replay",
        "worker",
        "alerts",
    ]
    for command in (start, create, replay):
        run(home, *command)
    bootstrap = json.loads(run(home, "broker", "status", "--json"))["bootstrap"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tidewatch", *worker],
        cwd=home,
        env=environment(home),
        stderr=subprocess.DEVNULL,
    )
    try:
        first = json.loads(run(home, *follow, "--json", "--limit", "1"))
        assert (first["rule"], first["group"], first["state"]) == ("hot", "b1-temp/temperature", "open")
        assert first["labels"]["site"] == "north"
        # The watermark of both beds' partitions ends at 12:58; b1's windows close up to 12:50.
        until(lambda: len(windows(bootstrap)) >= 2 * 17, 120, "windows are missing")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    found = {summary.id: summary for summary in windows(bootstrap)}
    assert {summary.group for summary in found.values()} == {f"{bed}-temp/temperature" for bed in BEDS}
    ten_to_eleven = [s for s in found.values() if s.group.startswith("b2") and s.end <= 1_748_775_600_000]
    assert [s.count for s in ten_to_eleven] == [10] * 6
    assert sum(s.sum for s in ten_to_eleven) == pytest.approx(
        sum(20 + m % 7 / 10 for m in range(60)), rel=1e-9
    )


def windows(bootstrap: str) -> list[WindowSummary]:
    batches = read_to_end({"bootstrap.servers": bootstrap}, ["iot.sensor.window.v1"])
    return [msgspec.json.decode(m.value() or b"", type=WindowSummary) for batch in batches for m in batch]


def test_the_settings_are_current() -> None:
    found = re.search(r"<!-- settings -->\n(.*)<!-- /settings -->", README, re.DOTALL)
    assert found is not None
    assert found.group(1) == to_markdown(), "run: python -m tidewatch.settings"


def test_its_picture_is_current() -> None:
    script = ROOT / "docs" / "pictures" / "pipeline.py"
    drawn = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True).stdout
    assert drawn == script.with_suffix(".svg").read_text()


@pytest.mark.parametrize(
    "page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md"))]
)
def test_its_links_lead_somewhere(page: str) -> None:
    place = ROOT / page
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", place.read_text())
    assert [link for link in links if not (place.parent / link).exists()] == []
