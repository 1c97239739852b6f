"""Masking: which other drug's reports hide a pair, seen by leaving each out in turn (Juhlin et al. 2013; Maignen et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.signals.disproportionality import prr
from streams.signals.information import information_component
from streams.signals.tables import Floats, Tables


@dataclass(frozen=True, slots=True)
class Masking:
    """One pair's table without the reports of each other drug, and how its measures change; arrays of shape (k,).

    ``ratio`` is the PRR without over that with the other drug's reports: above 1, they mask the pair.
    """

    drug: NDArray[np.int64]
    tables: Tables
    ratio: Floats
    ic_gain: Floats

    def strongest(self, count: int = 10) -> NDArray[np.intp]:
        """Return the positions of the drugs that mask most."""
        return np.argsort(-np.nan_to_num(self.ratio, nan=-np.inf), kind="stable")[:count]


def masking(report: ArrayLike, drug: ArrayLike, event: ArrayLike, pair: tuple[int, int]) -> Masking:
    """Return what each other drug does to the pair (drug, event), from rows of integer codes, shape (n,).

    A report of both drugs leaves with the other. Raises ValueError where no report has the drug and the event.
    """
    reports, drugs, events = (np.asarray(column, dtype=np.int64) for column in (report, drug, event))
    known, row = np.unique(reports, return_inverse=True)
    exposed, affected = np.zeros(len(known), np.bool_), np.zeros(len(known), np.bool_)
    exposed[row[drugs == pair[0]]] = True
    affected[row[events == pair[1]]] = True
    if not (exposed & affected).any():
        raise ValueError("no report has this drug and this event")
    whole = _cells(exposed, affected)
    others, which = np.unique(drugs, return_inverse=True)
    distinct = np.unique(which * len(known) + row)
    by, of = distinct // len(known), distinct % len(known)
    taken = np.stack(
        [np.bincount(by, weights=cell[of], minlength=len(others)) for cell in _quarters(exposed, affected)]
    )
    keep = others != pair[0]
    left = (whole[:, None] - taken)[:, keep]
    tables = Tables.of_cells(*left)
    before = Tables.of_cells(*whole)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = prr(tables).value / prr(before).value
    gain = (
        information_component(tables.a, tables.expected).value
        - information_component(before.a, before.expected).value
    )
    return Masking(others[keep], tables, ratio, gain)


def _quarters(exposed: NDArray[np.bool_], affected: NDArray[np.bool_]) -> tuple[Floats, ...]:
    cells = (exposed & affected, exposed & ~affected, ~exposed & affected, ~exposed & ~affected)
    return tuple(cell.astype(np.float64) for cell in cells)


def _cells(exposed: NDArray[np.bool_], affected: NDArray[np.bool_]) -> Floats:
    return np.array([quarter.sum() for quarter in _quarters(exposed, affected)])
