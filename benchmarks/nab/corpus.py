"""Reads a NAB data folder: series with their times, and the windows in which an alarm is right."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Windows = tuple[tuple[int, int], ...]


class CorpusError(Exception):
    """The folder is no NAB data folder, or lacks what is needed."""


@dataclass(frozen=True, slots=True)
class Series:
    """One file: times in milliseconds and values, both (n,), and the windows as (first, last) rows."""

    name: str
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    windows: Windows

    @property
    def probation(self) -> int:
        """The number of first rows that are not scored."""
        return min(int(0.15 * len(self.values)), 750)


def read_corpus(folder: Path) -> list[Series]:
    """Return the series of a folder in the order of their names: those that have both data and labels.

    Accepts NAB's repository (``data/`` and ``labels/combined_windows.json``) and a folder with the data folders and
    ``combined_windows.json`` side by side; files may be gzipped.

    Raises:
        CorpusError: there are no labels or no labelled series.
    """
    labels = next((p for p in (folder / "labels", folder) if (p / "combined_windows.json").is_file()), None)
    if labels is None:
        raise CorpusError(
            f"{folder} has no combined_windows.json; name NAB's folder, or one with its data and labels"
        )
    windows: dict[str, list[list[str]]] = json.loads((labels / "combined_windows.json").read_text())
    data = folder / "data" if (folder / "data").is_dir() else folder
    paths = {name: _find(data, name) for name in sorted(windows)}
    series = [_read(name, path, windows[name]) for name, path in paths.items() if path is not None]
    if not series:
        raise CorpusError(f"{data} holds none of the {len(windows)} labelled files")
    return series


def read_alarms(path: Path) -> dict[str, dict[str, list[int]]]:
    """Return the alarmed rows of published detectors, by detector and file, from JSON such as ``{detector: {file: [row]}}``.

    Raises:
        CorpusError: the file holds something else.
    """
    held = json.loads(path.read_text())
    held = held.get("input", held) if isinstance(held, dict) else held
    alarms = held.get("alarms", held) if isinstance(held, dict) else None
    if not isinstance(alarms, dict) or not all(isinstance(files, dict) for files in alarms.values()):
        raise CorpusError(f"{path} is no list of alarms by detector and file")
    return alarms


def read_results(
    folder: Path, thresholds: Path, profile: str = "standard"
) -> dict[str, dict[str, list[int]]]:
    """Return the alarmed rows of the detectors in NAB's ``results`` folder, by NAB's own thresholds for a profile.

    Raises:
        CorpusError: a detector has result files but no threshold, or there are none at all.
    """
    limits = json.loads(thresholds.read_text())
    found: dict[str, dict[str, list[int]]] = {}
    for detector in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(detector.glob(f"*/{detector.name}_*.csv"))
        if files and detector.name not in limits:
            raise CorpusError(f"{thresholds} has no threshold for {detector.name}")
        for path in files:
            scores = pd.read_csv(path)["anomaly_score"].to_numpy()
            name = f"{path.parent.name}/{path.name.removeprefix(detector.name + '_')}"
            rows = np.flatnonzero(scores >= limits[detector.name][profile]["threshold"])
            found.setdefault(detector.name, {})[name] = rows.tolist()
    if not found:
        raise CorpusError(f"{folder} holds no result files")
    return found


def of_files(alarms: Mapping[str, Sequence[int]], corpus: Sequence[Series]) -> list[Sequence[int]] | None:
    """Return the alarms for each series, or None if those of some series are missing."""
    if any(series.name not in alarms for series in corpus):
        return None
    return [alarms[series.name] for series in corpus]


def _find(data: Path, name: str) -> Path | None:
    return next((p for p in (data / name, data / f"{name}.gz") if p.is_file()), None)


def _read(name: str, path: Path, windows: Sequence[Sequence[str]]) -> Series:
    table = pd.read_csv(path)
    times = pd.to_datetime(table["timestamp"]).to_numpy().astype("datetime64[ms]").astype(np.int64)
    limits = [[int(np.datetime64(edge, "ms").astype(np.int64)) for edge in window] for window in windows]
    rows = [np.flatnonzero((times >= first) & (times <= last)) for first, last in limits]
    spans = tuple((int(inside[0]), int(inside[-1])) for inside in rows if len(inside))
    return Series(name, times, table["value"].to_numpy(np.float64), spans)
