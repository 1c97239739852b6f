"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def refdata() -> Path:
    """Return the folder of reference data; skip where it is not named, fail where it is required."""
    named = os.environ.get("TIDEWATCH_REFDATA", "")
    if named and Path(named).is_dir():
        return Path(named)
    if os.environ.get("TIDEWATCH_REQUIRE_REFDATA") == "1":
        pytest.fail(f"reference data are required, but TIDEWATCH_REFDATA={named!r} is no folder")
    pytest.skip("no reference data: TIDEWATCH_REFDATA does not name a folder")
