"""The peers' environments: pinned, made once, and a failure told in a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import environments
from benchmarks.environments import LOCKS, Environment, EnvironmentFailedError


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Pins of this test's own, and a cache of its own."""
    monkeypatch.setattr(environments, "LOCKS", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda lock: lock.stem)
def test_every_package_is_pinned_by_version_and_hash(lock: Path) -> None:
    text = lock.read_text()
    pinned = re.findall(r"^(\S+)==\S+(?: ;[^\\]*)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(pinned) > 5
    assert len(pinned) == len(re.findall(r"^[a-z]", text, re.MULTILINE))


def test_the_version_is_that_of_the_pins() -> None:
    assert Environment("quix").version("quixstreams") == "3.28.1"
    with pytest.raises(KeyError):
        Environment("quix").version("quix")


def test_other_pins_are_another_environment(locks: Path) -> None:
    (locks / "peer.txt").write_text("a==1\n")
    first = Environment("peer").folder()
    (locks / "peer.txt").write_text("a==2\n")
    assert Environment("peer").folder() != first
    assert first.is_relative_to(locks / "cache")


def test_it_is_made_once_and_says_so(locks: Path) -> None:
    (locks / "peer.txt").write_text("# nothing at all\n")
    said: list[str] = []
    interpreter = Environment("peer").python(said.append)
    assert interpreter.exists()
    assert "making the environment of peer" in said[0]
    said.clear()
    assert Environment("peer").python(said.append) == interpreter
    assert said == []


def test_what_cannot_be_installed_is_told_and_tried_again(locks: Path) -> None:
    (locks / "peer.txt").write_text("not a requirement at all\n")
    for _ in range(2):
        with pytest.raises(EnvironmentFailedError, match=r"could not be installed: .*not"):
            Environment("peer").python(lambda _: None)


def test_a_python_that_is_too_new_is_told(locks: Path) -> None:
    (locks / "peer.txt").write_text("")
    with pytest.raises(EnvironmentFailedError, match=r"needs a Python below 3\.9"):
        Environment("peer", below=(3, 9)).python(lambda _: None)
