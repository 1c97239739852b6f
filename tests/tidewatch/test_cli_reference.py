"""The reference of the command line: every verb is on it, every exit code, and every verb says what people expect of it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tidewatch.cli.reference import to_markdown, verbs
from tidewatch.exits import MEANINGS, Exit

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
VERBS = dict(verbs())
OPTIONS = {name: {option for p in verb.params for option in p.opts} for name, verb in VERBS.items()}


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == to_markdown(), "run: python -m tidewatch.cli.reference > docs/cli.md"


def test_the_page_has_every_registered_verb_and_no_other() -> None:
    assert set(re.findall(r"^### `tidewatch (.*)`$", PAGE.read_text(), re.MULTILINE)) == set(VERBS)


def test_exit_codes_are_those_that_scripts_rely_on() -> None:
    assert {code.name: code.value for code in Exit} == {
        "OK": 0, "FAILED": 1, "USAGE": 2, "REFUSED": 3, "REJECTED": 4, "DIFFERS": 5, "INTERRUPTED": 130,
    }  # fmt: skip
    assert set(MEANINGS) == set(Exit)


@pytest.mark.parametrize("name", VERBS)
def test_exit_codes_in_a_verbs_help_are_documented_ones(name: str) -> None:
    told = re.findall(r"[Ee]xit codes? (\d+)", VERBS[name].help)
    assert {int(code) for code in told} <= {code.value for code in Exit}


@pytest.mark.parametrize(
    "name", [name for name in VERBS if name.split()[-1] in {"list", "show", "describe", "status"}]
)
def test_every_listing_has_json(name: str) -> None:
    assert "--json" in OPTIONS[name]


@pytest.mark.parametrize("name", ["dlq replay", "reset", "sink forget", "savepoint drop", "broker stop"])
def test_what_cannot_be_undone_asks_or_only_says_what_it_would_do(name: str) -> None:
    assert {"--yes", "--dry-run"} <= OPTIONS[name]


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_an_example_that_it_takes(name: str) -> None:
    examples = re.findall(r"^Example: (.*)$", VERBS[name].help, re.MULTILINE)
    assert examples
    for words in map(shlex.split, examples):
        after = words[words.index("tidewatch") + 1 :]
        assert after[: len(name.split())] == name.split()
        assert {word for word in after if word.startswith("--")} <= OPTIONS[name]


@pytest.mark.parametrize("verb", VERBS.values(), ids=VERBS)
def test_every_parameter_is_explained(verb: Any) -> None:
    assert [p.name for p in verb.params if not getattr(p, "help", None)] == []
