"""How loops are compiled: without the interpreter's lock, and kept on disk for the next process."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numba

_ROOT = Path(__file__).parents[1]


@cache
def cache_place() -> Path:
    """Return where compiled loops are kept: a folder named by the source of all of them.

    numba compiles the loops that a loop calls into it, but looks only at that loop's own file to tell whether what it keeps
    is current; a change in another file would leave old code running on new tables.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for package in ("schemas", "streams"):
        sources = [*(_ROOT / package).rglob("*_kernel.py"), *(_ROOT / package).glob("memory.py")]
        for source in sorted(sources):
            digest.update(source.read_bytes())
    told = os.environ.get("NUMBA_CACHE_DIR") or os.environ.get("XDG_CACHE_HOME")
    return (Path(told) if told else Path.home() / ".cache") / "tidewatch" / f"loops-{digest.hexdigest()[:16]}"


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function when it is first called with arguments of some types."""
    numba.config.CACHE_DIR = str(cache_place())
    return numba.njit(cache=True, nogil=True)(function)
