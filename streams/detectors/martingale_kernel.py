"""The compiled steps of the test martingales: ranks among counts, and capital bet on them from many starting times."""

from __future__ import annotations

from typing import Any

import numpy as np

from schemas.compiled import compiled

TIME, CASH, UNOPENED = 0, 1, 2
"""Places in the numbers of a state: ranks seen, capital of retired bets, capital not yet bet."""

_ALL_STAKES = 2.11
"""No less than the sum of 1/(n log(n)^2) over n = 2, 3, ..., which is 2.1097."""

_MIX = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@compiled
def uniform(seed: int, count: int) -> Any:
    """Return the ``count``-th number in [0, 1) of a seed, whatever came before (SplitMix64)."""
    z = np.uint64(seed) * _MIX[1] + np.uint64(count + 1) * _MIX[0]
    z = (z ^ (z >> np.uint64(30))) * _MIX[1]
    z = (z ^ (z >> np.uint64(27))) * _MIX[2]
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) / 9007199254740992.0


@compiled
def add_count(tree: Any, code: int) -> None:
    """Count one value with this code in a Fenwick tree of len(tree) - 1 codes."""
    i = code + 1
    while i < len(tree):
        tree[i] += 1
        i += i & -i


@compiled
def count_below(tree: Any, code: int) -> Any:
    """Return how many counted values have a smaller code."""
    total, i = 0, code
    while i > 0:
        total += tree[i]
        i -= i & -i
    return total


@compiled
def bet(
    rank: float,
    numbers: Any,
    tilted: Any,
    learned: Any,
    counts: Any,
    ages: Any,
    table: Any,
    spacing: int,
    share: float,
    even: bool,
) -> Any:
    """Settle all bets on a rank in [0, 1) and return the capital.

    Every ``spacing`` ranks a new round of bets is opened with the part 1/(2.11 (b+2) log(b+2)^2) of the first capital, for
    b = 0, 1, ..., which sums to no more than all of it, in the place of the oldest round, whose capital becomes cash. With ``even``
    each round has a capital of one for itself instead, and what the oldest still has is given up. ``tilted``
    (rounds, tilts) bets on the densities in ``table`` (tilts, bins); ``learned`` (rounds,), given ``share`` of it, on what its
    ``counts`` (rounds, K) learn, which is the Dirichlet-multinomial Bayes factor with prior one.
    """
    rounds, kinds = tilted.shape
    k_bins = counts.shape[1]
    time = int(numbers[TIME])
    if time % spacing == 0:
        b = time // spacing
        m = b % rounds
        stake = 1.0 if even else 1.0 / (_ALL_STAKES * (b + 2.0) * np.log(b + 2.0) ** 2)
        cash = learned[m]
        for c in range(kinds):
            cash += tilted[m, c]
            tilted[m, c] = stake * (1 - share) / kinds
        if not even:
            numbers[CASH] += cash
            numbers[UNOPENED] -= stake
        learned[m] = stake * share
        ages[m] = 0
        for k in range(k_bins):
            counts[m, k] = 0
    bins = table.shape[1]
    g = min(int(rank * bins), bins - 1)
    k = min(int(rank * k_bins), k_bins - 1)
    capital = numbers[CASH] + numbers[UNOPENED]
    for m in range(rounds):
        for c in range(kinds):
            tilted[m, c] *= table[c, g]
            capital += tilted[m, c]
        learned[m] *= k_bins * (1.0 + counts[m, k]) / (k_bins + ages[m])
        counts[m, k] += 1
        ages[m] += 1
        capital += learned[m]
    numbers[TIME] = time + 1
    return capital


@compiled
def run(
    codes: Any, seed: int, frozen_at: int, limit: float, numbers: Any, seen: Any, tree: Any, tilted: Any, learned: Any,
    counts: Any, ages: Any, table: Any, spacing: int, share: float, even: bool, out: Any,
) -> Any:  # fmt: skip
    """Rank codes among those counted, bet, and write the capital after each to ``out``; stop after the first at ``limit``.

    Returns how many codes were taken. ``seen`` (1,) is the number of values counted. Values are counted for ever with
    ``frozen_at`` < 0; else the first ``frozen_at`` are the reference, on which nothing is bet and to which nothing is added.
    """
    for i in range(len(codes)):
        code, n = codes[i], seen[0]
        out[i] = 1.0
        if frozen_at < 0 or n >= frozen_at:
            below = count_below(tree, code)
            equal = count_below(tree, code + 1) - below
            place = int(numbers[TIME])
            rank = (below + uniform(seed, place) * (equal + 1)) / (n + 1)
            out[i] = bet(rank, numbers, tilted, learned, counts, ages, table, spacing, share, even)
        if frozen_at < 0 or n < frozen_at:
            add_count(tree, code)
            seen[0] = n + 1
        if out[i] >= limit:
            return i + 1
    return len(codes)
