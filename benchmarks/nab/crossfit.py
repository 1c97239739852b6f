"""Scores of detectors with thresholds that were chosen on files other than the ones they are judged on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.nab.corpus import Series
from benchmarks.nab.scoring import Profile, at_thresholds, normalised
from streams.detectors.base import Detector

Floats = NDArray[np.float64]
SPLITS = 100
_CANDIDATES = 400


@dataclass(frozen=True, slots=True)
class Standing:
    """A detector on one profile: cross-fitted on the fixed split, mean and sd over 100 random ones, and the best in hindsight."""

    fixed: float
    mean: float
    sd: float
    best: float


def run(detector: Callable[[], Detector], corpus: Sequence[Series]) -> list[Floats]:
    """Return the scores of a new detector on each series, which gives it values and times in order and nothing else."""
    return [detector().update(series.values, series.times) for series in corpus]


def standing(corpus: Sequence[Series], scores: Sequence[Floats], profile: Profile) -> Standing:
    """Return how a detector's scores do when each half of the files is judged at the other half's best threshold.

    The fixed split takes every other file by name; the random ones have the seeds 0 to 99.
    """
    thresholds = _candidates(scores)
    table = np.array(
        [at_thresholds(series, s, thresholds, profile) for series, s in zip(corpus, scores, strict=True)]
    )
    rows = np.arange(len(corpus))
    fixed = _crossed(table, rows[::2], rows[1::2])
    half = len(corpus) // 2
    orders = [np.random.default_rng(seed).permutation(rows) for seed in range(SPLITS)]
    crossed = [normalised(_crossed(table, o[:half], o[half:]), corpus, profile) for o in orders]
    best = float(table.sum(axis=0).max())
    return Standing(
        normalised(fixed, corpus, profile),
        float(np.mean(crossed)),
        float(np.std(crossed)),
        normalised(best, corpus, profile),
    )


def _candidates(scores: Sequence[Floats]) -> Floats:
    """Thresholds from the distribution of all positive scores, dense at the top, and one that nothing reaches.

    They are a grid to choose from; which one is chosen depends on the training half alone.
    """
    positive = np.concatenate([s[s > 0] for s in scores])
    if not len(positive):
        return np.array([np.inf])
    levels = 1 - np.geomspace(1e-5, 1, _CANDIDATES)
    return np.append(np.unique(np.quantile(positive, levels, method="higher")), np.inf)


def _crossed(table: Floats, one: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    """Judge each group of files at the threshold that is best for the other."""
    total = 0.0
    for judged, chosen in ((one, other), (other, one)):
        total += float(table[judged, int(table[chosen].sum(axis=0).argmax())].sum())
    return total
