"""JSON Schemas of all events and results, written from their structs: ``python -m schemas.json_schemas``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from schemas.compatibility import breaks
from schemas.event_types import EventType
from schemas.results import DeadLetter
from schemas.topics import CATALOGUE

DIRECTORY: Final = Path(__file__).with_name("json")
DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = Mapping[str, Any]


class IncompatibleError(Exception):
    """A struct changed so that records already written could no longer be read."""


def structs() -> dict[str, type[msgspec.Struct]]:
    """Return every struct that is on a topic of the catalogue, by the name of its schema."""
    found: set[type[msgspec.Struct]] = {DeadLetter}
    for spec in CATALOGUE:
        value = spec.value.struct if isinstance(spec.value, EventType) else spec.value
        if value is not None:
            found.add(value)
    return dict(sorted((name_of(struct), struct) for struct in found))


def name_of(struct: type[msgspec.Struct]) -> str:
    """Return the name of a struct's schema, as in ``sensor-reading``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", struct.__name__).lower()


def schema_of(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a struct's JSON form."""
    made = msgspec.json.schema(struct)
    _tidy(made)
    return {"$schema": DRAFT, "$id": f"urn:tidewatch:{name_of(struct)}", **made}


def text_of(schema: Schema) -> str:
    """Return a schema as it is in a file."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def history(name: str, directory: Path = DIRECTORY) -> list[Schema]:
    """Return every version of a schema that was ever committed, the oldest first."""
    files = (directory / "history").glob(f"{name}.*.json")
    numbered = sorted((int(file.suffixes[-2].removeprefix(".")), file) for file in files)
    return [json.loads(file.read_text()) for _, file in numbered]


def write(directory: Path = DIRECTORY) -> list[str]:
    """Bring the files in line with the structs; return the names of those schemas that have a new version.

    A schema that changed in more than its words is kept beside its predecessors in ``history``.

    Raises:
        IncompatibleError: records written under an earlier version would no longer be read. Nothing is written.
    """
    now = {name: schema_of(struct) for name, struct in structs().items()}
    problems = [problem for name, schema in now.items() for problem in _problems(name, schema, directory)]
    if problems:
        raise IncompatibleError("\n".join(problems))
    (directory / "history").mkdir(parents=True, exist_ok=True)
    changed = []
    for name, schema in now.items():
        (directory / f"{name}.json").write_text(text_of(schema))
        known = history(name, directory)
        if not known or substance(known[-1]) != substance(schema):
            (directory / "history" / f"{name}.{len(known) + 1}.json").write_text(text_of(schema))
            changed.append(name)
    return changed


def _problems(name: str, schema: Schema, directory: Path) -> list[str]:
    return [
        f"{name} against its version {number}: {problem}"
        for number, old in enumerate(history(name, directory), 1)
        for problem in breaks(old, schema)
    ]


def substance(schema: Any) -> Any:
    """Return a schema without titles and descriptions."""
    if isinstance(schema, Mapping):
        return {
            k: substance(v)
            for k, v in schema.items()
            if not (k in {"title", "description"} and isinstance(v, str))
        }
    return [substance(each) for each in schema] if isinstance(schema, list) else schema


def _tidy(schema: Any) -> None:
    """Join the lines of descriptions, which carry the indentation of docstrings."""
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, dict | list):
            _tidy(value)
    if isinstance(schema, dict) and isinstance(schema.get("description"), str):
        schema["description"] = " ".join(schema["description"].split())


def main() -> int:
    """Write the files; exit code 1 if a change is incompatible, with what to do."""
    try:
        changed = write()
    except IncompatibleError as error:
        sys.stderr.write(
            f"{error}\nRecords that are on topics now could not be read any more. Give new fields a default, keep old ones, "
            "or make a new struct and a new topic version (v2).\n"
        )
        return 1
    sys.stderr.write(f"new versions: {', '.join(changed)}\n" if changed else "no schema has changed\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
