"""What all figures share: a quiet style, no display, and files in the format that their names say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMATS = (".png", ".svg", ".pdf")
COLOURS = {"info": "#4c9ac0", "warning": "#e0a030", "critical": "#c0392b"}
BLUE = "#2c6f9e"

_STYLE = {
    "figure.facecolor": "white",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "savefig.bbox": "tight",
    "svg.hashsalt": "tidewatch",  # the same figure gives the same file
}


class NothingToPlotError(Exception):
    """There is no data to draw; the message says what was looked for."""


@contextmanager
def styled() -> Iterator[Any]:
    """Give matplotlib's pyplot, drawing to memory only."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(_STYLE):
        yield plt
        plt.close("all")


def save(figure: Any, path: Path) -> None:
    """Write a figure. Raises ValueError for a name that ends in no format that can be written."""
    if path.suffix not in FORMATS:
        raise ValueError(f"{path.name} should end in one of {', '.join(FORMATS)}")
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, dpi=130, metadata=metadata)


def moment(milliseconds: float) -> datetime:
    """Return a time of the axes, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)
