"""Series of distributions to draw: quantile vectors of named rows, read from shape results or from a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.shapes import SiteShape

Floats = NDArray[np.float64]


class NoShapesError(Exception):
    """There is nothing to draw; the message says what was looked for."""


@dataclass(frozen=True)
class Shapes:
    """Distributions in order: ``values`` (n, m) at ``levels`` (m,), a label and a position (n,) on the axis of time for each."""

    name: str
    levels: Floats
    values: Floats
    labels: tuple[str, ...]
    position: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def last(self, n: int) -> Shapes:
        """Return the last ``n`` rows."""
        return Shapes(self.name, self.levels, self.values[-n:], self.labels[-n:], self.position[-n:])


def of_results(results: Iterable[SiteShape], family: str | None, site: str | None) -> list[Shapes]:
    """Return one series a family and site, rows by the window's start; of windows published twice the last counts.

    Raises:
        NoShapesError: no result is of that family and site, or they are on different levels.
    """
    found: dict[tuple[str, str], dict[int, SiteShape]] = defaultdict(dict)
    for result in results:
        if family in {None, result.family} and site in {None, result.site}:
            found[result.family, result.site][result.start] = result
    if not found:
        raise NoShapesError(f"no shapes of family {family or '(any)'} and site {site or '(any)'} there")
    return [_series(name, windows) for name, windows in sorted(found.items())]


def _series(name: tuple[str, str], windows: dict[int, SiteShape]) -> Shapes:
    rows = [windows[start] for start in sorted(windows)]
    if any(row.levels != rows[0].levels for row in rows):
        raise NoShapesError(f"the shapes of {'/'.join(name)} are on different levels; choose one pipeline's")
    times = np.array([row.start for row in rows], np.int64)
    labels = tuple(str(np.datetime64(start, "ms"))[:16].replace("T", " ") for start in times.tolist())
    values = np.array([row.quantiles for row in rows])
    return Shapes("/".join(name), np.array(rows[0].levels), values, labels, times)


def of_file(path: Path, family: str | None = None, site: str | None = None) -> list[Shapes]:
    """Return the series in a file: ``.csv`` is one of quantile vectors, ``.jsonl`` holds site shapes as on their topic.

    In a table, columns named q01 to q99 (or q0.5, as a level) are quantiles and the first other column labels the rows.

    Raises:
        NoShapesError: the file holds no shapes.
    """
    if path.suffix == ".jsonl":
        try:
            results = [msgspec.json.decode(line, type=SiteShape) for line in path.read_bytes().splitlines()]
        except msgspec.DecodeError as error:
            raise NoShapesError(f"{path} is no list of site shapes: {error}") from error
        return of_results(results, family, site)
    return [of_table(path)]


def of_table(path: Path) -> Shapes:
    """Return the series in a table of quantile vectors.

    Raises:
        NoShapesError: there is no such file, it has fewer than two quantile columns or no complete row, or a row falls.
    """
    import pandas as pd

    if not path.is_file():
        raise NoShapesError(f"there is no file {path}; name a table of quantiles or a topic")
    table = pd.read_csv(path)
    levels = {column: level for column in table.columns if (level := _level(str(column))) is not None}
    if len(levels) < 2:
        raise NoShapesError(f"{path} has no quantile columns such as q01, q50, q99 or q0.5")
    columns = sorted(levels, key=lambda column: levels[column])
    table = table.dropna(subset=columns)
    if not len(table):
        raise NoShapesError(f"{path} has no complete row")
    others = [column for column in table.columns if column not in levels]
    labels = table[others[0]] if others else pd.Series(range(len(table)))
    values = table[columns].to_numpy(np.float64)
    falling = np.flatnonzero((np.diff(values) < 0).any(axis=1))
    if len(falling):
        raise NoShapesError(
            f"in {path} the quantiles of {labels.iloc[falling[0]]} fall with the level; sort the sample they come from"
        )
    grid = np.array([levels[column] for column in columns])
    return Shapes(path.stem, grid, values, tuple(str(label) for label in labels), np.arange(len(table)))


def _level(column: str) -> float | None:
    if not column.startswith("q"):
        return None
    try:
        number = float(column[1:])
    except ValueError:
        return None
    level = number if "." in column else number / 100
    return level if 0 <= level <= 1 else None
