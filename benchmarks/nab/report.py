"""Puts the detectors' standings side by side, with a dummy and published detectors rescored on the same files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from benchmarks.nab.corpus import Series, of_files
from benchmarks.nab.crossfit import Standing, run, standing
from benchmarks.nab.scoring import PROFILES, normalised, of_alarms
from streams.detectors.registry import build

DUMMY = "dummy"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the report; published detectors have one score a profile, at the threshold they were published with."""

    detector: str
    published: bool
    scores: dict[str, dict[str, float]]


def measured(corpus: Sequence[Series], names: Sequence[str]) -> list[Row]:
    """Run registered detectors with their default parameters, and the dummy, over a corpus."""
    rows = []
    for name in dict.fromkeys([*names, DUMMY]):
        scores = run(lambda name=name: build(name), corpus)  # type: ignore[misc]
        standings: dict[str, Standing] = {
            p: standing(corpus, scores, profile) for p, profile in PROFILES.items()
        }
        rows.append(Row(name, False, {profile: asdict(held) for profile, held in standings.items()}))
    return rows


def rescored(corpus: Sequence[Series], alarms: Mapping[str, Mapping[str, Sequence[int]]]) -> list[Row]:
    """Score published detectors' alarms on the files of a corpus."""
    rows = []
    for name, files in alarms.items():
        given = of_files(files, corpus)
        if given is not None:
            scores = {}
            for label, profile in PROFILES.items():
                raw = sum(of_alarms(series, a, profile) for series, a in zip(corpus, given, strict=True))
                scores[label] = {"published": normalised(raw, corpus, profile)}
            rows.append(Row(name, True, scores))
    return rows
