"""Where Tidewatch keeps things for its user: the cache and the state directory."""

from __future__ import annotations

import os
from pathlib import Path


def cache_directory() -> Path:
    """Return the directory for what can be fetched again (``XDG_CACHE_HOME``, else ``~/.cache``)."""
    return _base("XDG_CACHE_HOME", ".cache") / "tidewatch"


def state_directory() -> Path:
    """Return the directory for what outlives a run (``XDG_STATE_HOME``, else ``~/.local/state``)."""
    return _base("XDG_STATE_HOME", ".local/state") / "tidewatch"


def _base(variable: str, fallback: str) -> Path:
    told = os.environ.get(variable)
    return Path(told) if told else Path.home() / fallback
