"""What errors to expect of summaries before they have seen anything, to choose their sizes by."""

from __future__ import annotations

import math

import datasketches as ds


def kll_rank_error(k: int, *, pmf: bool = False) -> float:
    """Return the rank error of KLL at 99% confidence: of one rank, or (``pmf``) of the shares between ranks."""
    return float(ds.kll_doubles_sketch.get_normalized_rank_error(k, pmf))


def classic_rank_error(k: int, *, pmf: bool = False) -> float:
    """Return the rank error of the classic quantiles sketch at 99% confidence."""
    return float(ds.quantiles_doubles_sketch.get_normalized_rank_error(k, pmf))


def req_standard_error(k: int, rank: float, *, high: bool = True) -> float:
    """Return the standard error of a rank by REQ: relative to the distance from its favoured end, and never above 0.084 / k."""
    away = 1 - rank if high else rank
    return min(math.sqrt(0.0512 / 3) / k * away, 0.084 / k)


def hll_standard_error(lg_k: int) -> float:
    """Return the relative standard error of HyperLogLog that was updated, not merged."""
    return float(ds.hll_sketch.get_rel_err(False, False, lg_k, 1))


def theta_standard_error(lg_k: int) -> float:
    """Return the relative standard error of Theta, 1 / sqrt(k - 1)."""
    return 1 / math.sqrt((1 << lg_k) - 1)


def cpc_standard_error(lg_k: int) -> float:
    """Return the relative standard error of CPC, sqrt(log(2) / 2 / k)."""
    return math.sqrt(math.log(2) / 2 / (1 << lg_k))


def frequent_items_error(lg_max: int) -> float:
    """Return the share of all counts by which frequent items may be off, 3.5 / 2^lg_max."""
    return float(ds.frequent_strings_sketch.get_epsilon_for_lg_size(lg_max))
