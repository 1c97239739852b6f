"""The committed JSON Schemas: current, all earlier versions still readable, incompatible changes refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import msgspec
import pytest

from schemas import json_schemas
from schemas.compatibility import breaks
from schemas.events import SensorReading
from schemas.json_schemas import (
    DIRECTORY,
    IncompatibleError,
    history,
    name_of,
    schema_of,
    structs,
    substance,
    text_of,
    write,
)
from schemas.results import Alert

REMEDY = "run: python -m schemas.json_schemas"


@pytest.mark.parametrize("name", structs())
def test_the_committed_schema_is_current(name: str) -> None:
    schema = schema_of(structs()[name])
    assert (DIRECTORY / f"{name}.json").read_text() == text_of(schema), REMEDY
    assert substance(history(name)[-1]) == substance(schema), REMEDY


@pytest.mark.parametrize("name", structs())
def test_every_committed_version_is_still_readable(name: str) -> None:
    for number, old in enumerate(history(name), 1):
        assert breaks(old, schema_of(structs()[name])) == [], f"version {number}"


def test_there_is_no_schema_without_a_struct() -> None:
    assert {file.stem for file in DIRECTORY.glob("*.json")} == set(structs())
    assert {file.name.split(".")[0] for file in (DIRECTORY / "history").iterdir()} == set(structs())


def test_schemas_are_named_after_their_structs_and_say_what_they_hold() -> None:
    assert name_of(SensorReading) == "sensor-reading"
    schema = schema_of(Alert)
    assert schema["$id"] == "urn:tidewatch:alert"
    assert "\n" not in schema["$defs"]["Alert"]["description"]


class Reading1(msgspec.Struct):
    """A first version."""

    a: int


class Reading2(msgspec.Struct):
    """One field more."""

    a: int
    b: str = ""


class Reading3(msgspec.Struct):
    """One field less to rely on."""

    a: int
    b: str


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def as_(struct: type[msgspec.Struct]) -> list[str]:
        monkeypatch.setattr(json_schemas, "structs", lambda: {"reading": struct})
        return write(tmp_path)

    return as_


def test_a_compatible_change_is_kept_beside_its_predecessor(declare, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert declare(Reading1) == ["reading"]
    assert declare(Reading1) == []
    assert declare(Reading2) == ["reading"]
    assert [len(old["$defs"].popitem()[1]["properties"]) for old in history("reading", tmp_path)] == [1, 2]


def test_an_incompatible_change_is_refused_and_leaves_the_files_alone(declare, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    declare(Reading1)
    before = (tmp_path / "reading.json").read_text()
    with pytest.raises(
        IncompatibleError, match=r"reading against its version 1: \$.b: the field is new and required"
    ):
        declare(Reading3)
    assert (tmp_path / "reading.json").read_text() == before
    assert len(history("reading", tmp_path)) == 1


def test_other_words_alone_make_no_new_version(declare, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    declare(Reading1)
    monkey = json.loads((tmp_path / "reading.json").read_text())
    monkey["$defs"]["Reading1"]["description"] = "Other words."
    shutil.rmtree(tmp_path / "history")
    (tmp_path / "history").mkdir()
    (tmp_path / "history" / "reading.1.json").write_text(text_of(monkey))
    assert declare(Reading1) == []
    assert "A first version." in (tmp_path / "reading.json").read_text()
