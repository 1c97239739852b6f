"""Read the cases with known answers."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any


def load(refdata: Path, name: str) -> SimpleNamespace:
    """Return a case's input, expected and tolerance."""
    case: dict[str, Any] = json.loads((refdata / "stats" / "cases" / f"{name}.json").read_text())
    return SimpleNamespace(**{key: case.get(key) for key in ("input", "expected", "tolerance", "notes")})
