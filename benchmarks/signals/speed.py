"""How long the measures of many pairs take: ``python -m benchmarks.signals.speed [VIGIPY_PYTHON]``.

The pairs are drawn from a seeded model with heavy tails, as report databases have them. Each time is the least of five runs, for
the machine may be busy with something else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from streams.signals.disproportionality import chi_square, prr, ror
from streams.signals.information import information_component
from streams.signals.mgps import posterior
from streams.signals.mgps_fit import Cells, fit_prior
from streams.signals.tables import PairCounts, Tables, count_pairs

_RUNS = 5
_PEER = Path(__file__).with_name("vigipy_peer.py")


def pairs(count: int, seed: int = 1) -> PairCounts:
    """Return about ``count`` occurring pairs of drugs and events with heavy-tailed counts, some of them raised."""
    rng = np.random.default_rng(seed)
    side = int(np.sqrt(count) * 3)
    drug, event = rng.zipf(1.3, 8 * count) % side, rng.zipf(1.3, 8 * count) % side
    spread = rng.integers(0, side * side, 2 * count)
    key = np.unique(np.concatenate([drug * side + event, spread]))
    key = rng.permutation(key)[:count]
    n = rng.geometric(0.35, len(key)) + rng.poisson(rng.gamma(0.1, 20, len(key)))
    return count_pairs(key // side, key % side, n)


def least(work: Callable[[], object], runs: int = _RUNS) -> float:
    """Return the seconds of the fastest of several runs."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


def frequentist(tables: Tables) -> None:
    """Compute PRR, ROR and IC with their limits."""
    prr(tables)
    ror(tables)
    information_component(tables.a, tables.expected)


def rescored(counts: PairCounts) -> None:
    """Fit the prior anew and score all pairs: EBGM, EB05 and EB95, and the measures beside them."""
    prior = fit_prior(Cells.of(counts.a, counts.expected)).prior
    scores = posterior(prior, counts.a, counts.expected)
    scores.ebgm()
    scores.quantile(0.05)
    scores.quantile(0.95)
    tables = counts.tables()
    frequentist(tables)
    chi_square(tables)


def peer(python: str, counts: PairCounts) -> dict[str, object]:
    """Run vigipy on the same pairs in its own environment."""
    rows = np.stack([counts.drug, counts.event, counts.a], axis=1)
    given = json.dumps(rows.tolist())
    done = subprocess.run(
        [python, str(_PEER)], input=given, capture_output=True, text=True, check=False, timeout=900
    )
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:] or ["no word"]}
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> None:
    """Measure and print one JSON object."""
    million, hundred = pairs(1_000_000), pairs(100_000)
    found: dict[str, object] = {
        "pairs": [len(million.a), len(hundred.a)],
        "prr_ror_ic_of_1000000_s": round(least(lambda: frequentist(million.tables())), 3),
        "refit_and_rescore_of_100000_s": round(least(lambda: rescored(hundred)), 3),
    }
    if len(sys.argv) > 1:
        found["vigipy"] = peer(sys.argv[1], hundred)
        found["same_pairs_prr_ror_ic_s"] = round(least(lambda: frequentist(hundred.tables())), 4)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
