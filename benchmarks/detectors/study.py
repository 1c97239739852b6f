"""Measures what docs/detectors.md reports: false alarms without a change, and delays at matched false alarms."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.stats import norm

from streams.detectors.adwin import Adwin
from streams.detectors.base import Detector
from streams.detectors.cusum import Cusum
from streams.detectors.kswin import Kswin
from streams.detectors.martingales import BinsEDetector, BinsEProcess, FrozenReference
from streams.detectors.page_hinkley import PageHinkley
from streams.detectors.tangent_chart import TangentChart

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]
Build = Callable[[], Detector]

BEFORE, AFTER, SEEDS = 1_500, 1_000, 500
RATE = 0.01

CHANGES: dict[str, Draw] = {
    "mean + 0.5 sd": lambda rng, n: rng.normal(0.5, 1, n),
    "mean + 1 sd": lambda rng, n: rng.normal(1, 1, n),
    "sd x 1.5": lambda rng, n: rng.normal(0, 1.5, n),
    "sd x 2": lambda rng, n: rng.normal(0, 2, n),
    "sd x 0.5": lambda rng, n: rng.normal(0, 0.5, n),
    "t with 3 df": lambda rng, n: rng.standard_t(3, n) / np.sqrt(3),
    "two modes": lambda rng, n: rng.choice([-0.9, 0.9], n) + rng.normal(0, np.sqrt(0.19), n),
    "exponential": lambda rng, n: rng.exponential(1, n) - 1,
    "Laplace": lambda rng, n: rng.laplace(0, np.sqrt(0.5), n),
}
"""What standard normal values become; all but the first two keep the mean, the last four the variance as well."""

DENSITIES: dict[str, Callable[[Floats], Floats]] = {
    "mean + 0.5 sd": stats.norm(0.5, 1).logpdf,
    "mean + 1 sd": stats.norm(1, 1).logpdf,
    "sd x 1.5": stats.norm(0, 1.5).logpdf,
    "sd x 2": stats.norm(0, 2).logpdf,
    "sd x 0.5": stats.norm(0, 0.5).logpdf,
    "t with 3 df": stats.t(3, 0, 1 / np.sqrt(3)).logpdf,
    "two modes": lambda x: (
        np.logaddexp(stats.norm(-0.9, np.sqrt(0.19)).logpdf(x), stats.norm(0.9, np.sqrt(0.19)).logpdf(x))
        - np.log(2)
    ),
    "exponential": lambda x: np.where(x > -1, -1 - x, -np.inf),
    "Laplace": stats.laplace(0, np.sqrt(0.5)).logpdf,
}
"""Their log densities, for the chart that knows both laws."""


def first_alarm(detector: Detector, values: Floats) -> int:
    """Return the place of the first alarm, or the length where there is none."""
    hits = np.flatnonzero(detector.update(values) >= 1)
    return int(hits[0]) if len(hits) else len(values)


def null_streams(seeds: int, length: int, rho: float = 0.0) -> Iterator[Floats]:
    """Give standard normal streams, autoregressive of order one where ``rho`` is not 0."""
    for seed in range(seeds):
        noise = np.random.default_rng([seed, length]).normal(size=length)
        if rho:
            noise[1:] *= np.sqrt(1 - rho**2)
            for t in range(1, length):
                noise[t] += rho * noise[t - 1]
        yield noise


def false_alarms(build: Build, seeds: int, length: int, rho: float = 0.0) -> float:
    """Return the share of streams without a change that ever alarm."""
    return float(np.mean([first_alarm(build(), x) < length for x in null_streams(seeds, length, rho)]))


def delays(build: Build, draw: Draw, seeds: int = SEEDS) -> tuple[float, float]:
    """Return median delay in values, inf where most are not found within ``AFTER``, and the share of alarms before the change."""
    found = []
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        values = np.concatenate([rng.normal(size=BEFORE), draw(rng, AFTER)])
        found.append(first_alarm(build(), values) - BEFORE + 1)
    places = np.array(found, np.float64)
    places[places > AFTER] = np.inf
    return float(np.median(places[places > 0])), float((places <= 0).mean())


def matched(seeds: int = SEEDS) -> dict[str, Build]:
    """Return each detector with its threshold set so that ``RATE`` of streams alarm within ``BEFORE`` values without a change."""
    cusum, hinkley, kswin = [], [], []
    for x in null_streams(seeds, BEFORE):
        kswin.append(Kswin(alpha=1e-300).update(x).max() * 300 * np.log(10))
        cusum.append(Cusum(limit=1e9).update(x).max() * 1e9)
        hinkley.append(PageHinkley(threshold=1e9).update(x).max() * 1e9)
    limit, threshold = (float(np.quantile(reach, 1 - RATE)) for reach in (cusum, hinkley))
    grid = [10.0**-k for k in range(1, 12)]
    delta = next(d for d in grid if false_alarms(lambda d=d: Adwin(delta=d), seeds, BEFORE) <= RATE)  # type: ignore[misc]
    # A score of KSWIN is the log of its p-value, which has few values: the next below the quantile is taken.
    reached = np.sort(np.exp(-np.array(kswin)))
    alpha = float(reached[reached < np.quantile(reached, RATE, method="inverted_cdf")].max(initial=1e-300))
    print(
        f"cusum limit {limit:.2f}, page-hinkley threshold {threshold:.1f}, adwin delta {delta:g}, "
        f"kswin alpha {alpha:.3g}",
        flush=True,
    )
    return {
        "bins-edetector (average run length 1,000,000)": BinsEDetector,
        "bins-eprocess (alpha 0.005)": BinsEProcess,
        "frozen-reference (1,000; alpha 0.01)": FrozenReference,
        "cusum": lambda: Cusum(limit=limit),
        "page-hinkley": lambda: PageHinkley(threshold=threshold),
        "adwin": lambda: Adwin(delta=delta),
        "kswin": lambda: Kswin(alpha=alpha * (1 + 1e-9)),
    }


def delay_table() -> None:
    """Print the table of delays at matched false alarms."""
    for name, build in matched().items():
        measured = {change: delays(build, draw) for change, draw in CHANGES.items()}
        early = np.mean([share for _, share in measured.values()])
        cells = " | ".join("-" if median == np.inf else f"{median:.0f}" for median, _ in measured.values())
        print(f"| {name} | {early:.2%} | {cells} |", flush=True)


def known() -> None:
    """Print the delays of the CUSUM of log likelihood ratios, which knows both laws, at the same rate of false alarms.

    No chart has a shorter worst delay at its average run length (Moustakides 1986).
    """
    for change, density in DENSITIES.items():
        reach = [_page(density(x) - norm.logpdf(x)).max() for x in null_streams(4 * SEEDS, BEFORE)]
        limit, found = float(np.quantile(reach, 1 - RATE)), []
        for seed in range(SEEDS):
            rng = np.random.default_rng([seed, 1])
            x = np.concatenate([rng.normal(size=BEFORE), CHANGES[change](rng, AFTER)])
            hits = np.flatnonzero(_page(density(x) - norm.logpdf(x)) >= limit)
            found.append(int(hits[0]) - BEFORE + 1 if len(hits) else AFTER)
        places = np.array(found)
        median, early = np.median(places[places > 0]), (places <= 0).mean()
        print(f"{change}: limit {limit:.2f}, median delay {median:.0f}, false alarms {early:.2%}", flush=True)


def _page(steps: Floats) -> Floats:
    """Return max(0, previous + step) along the steps, starting from 0."""
    sums, low = np.cumsum(np.maximum(steps, -1e3)), 0.0
    floor = np.minimum.accumulate(np.concatenate([[low], sums[:-1]]))
    return np.asarray(np.maximum(sums - floor, 0.0))


def guarantee() -> None:
    """Print the share of 1,000 streams of 100,000 values that ever alarm."""
    bound = {
        "bins-eprocess": BinsEProcess,
        "frozen-reference": FrozenReference,
        "bins-edetector": BinsEDetector,
    }
    for name, build in bound.items():
        print(name, f"{false_alarms(build, 1_000, 100_000):.4f}", flush=True)


def autocorrelation() -> None:
    """Print the share of 200 streams of 10,000 values that ever alarm, by lag-one autocorrelation."""
    for rho in (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
        builds: tuple[Build, ...] = (BinsEProcess, BinsEDetector, FrozenReference)
        shares = [f"{false_alarms(build, 200, 10_000, rho):.1%}" for build in builds]
        print(f"| {rho} | {' | '.join(shares)} |", flush=True)


def _distributions(rng: np.random.Generator, n: int, mean: float = 0.0, sd: float = 1.0) -> Floats:
    """Quantile vectors of normals whose level and spread vary a little by themselves."""
    levels = (np.arange(32) + 0.5) / 32
    return np.asarray(rng.normal(mean, 0.3, (n, 1)) + rng.normal(sd, 0.05, (n, 1)) * norm.ppf(levels))


def chart() -> None:
    """Print run lengths of the tangent chart without and with changes, in windows after the reference."""
    for reference in (60, 120, 240):
        lengths = []
        for seed in range(200):
            rng = np.random.default_rng(seed)
            lengths.append(
                first_alarm(TangentChart(reference=reference), _distributions(rng, reference + 3_000))
                - reference
            )
        after = {}
        for name, change in (("mean", {"mean": 0.5}), ("sd", {"sd": 1.1})):
            found = []
            for seed in range(200):
                rng = np.random.default_rng(seed)
                x = np.concatenate([_distributions(rng, reference + 20), _distributions(rng, 300, **change)])
                found.append(first_alarm(TangentChart(reference=reference), x) - reference - 20 + 1)
            positive = np.array(found)[np.array(found) > 0]
            after[name] = float(np.median(positive))
        early = float(np.mean(np.array(lengths) < 500))
        print(
            f"| {reference} | {np.median(lengths):.0f} | {early:.1%} | {after['mean']:.0f} | {after['sd']:.0f} |",
            flush=True,
        )


PARTS = {
    "delays": delay_table, "known": known, "guarantee": guarantee, "autocorrelation": autocorrelation, "chart": chart,
}  # fmt: skip

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        print(part, flush=True)
        PARTS[part]()
