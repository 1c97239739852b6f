"""The tree-based scan statistic: excess risk at any node of a code hierarchy, corrected for looking at all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, special

from streams.signals.tables import Floats


class Hierarchy:
    """The ancestors of every code of a tree given as child -> parent; roots have no parent.

    Raises ValueError for a cycle, naming a code on it.
    """

    def __init__(self, parents: Mapping[str, str | None]) -> None:
        self._paths: dict[str, tuple[str, ...]] = {}
        self._parents = parents
        for code in sorted(parents):
            self._resolve(code)

    @classmethod
    def of_paths(cls, paths: Sequence[Sequence[str]]) -> Hierarchy:
        """Return the hierarchy of root-to-code paths. Raises ValueError where a code has two parents."""
        parents: dict[str, str | None] = {}
        for path in paths:
            for parent, code in zip((None, *path[:-1]), path, strict=True):
                if parents.setdefault(code, parent) != parent:
                    raise ValueError(f"code {code!r} has two parents, {parents[code]!r} and {parent!r}")
        return cls(parents)

    def path(self, code: str) -> tuple[str, ...]:
        """Return the code and its ancestors, nearest first; an unknown code is a root of its own."""
        return self._paths.get(code, (code,))

    def _resolve(self, code: str) -> None:
        trail: list[str] = []
        at: str | None = code
        while at is not None and at not in self._paths:
            if at in trail:
                raise ValueError(f"the hierarchy has a cycle through {at!r}")
            trail.append(at)
            at = self._parents.get(at)
        known = self._paths[at] if at is not None else ()
        for step in reversed(trail):
            known = (step, *known)
            self._paths[step] = known


@dataclass(frozen=True, slots=True)
class Scan:
    """Exposed and unexposed persons with a code at or below each node, log-likelihood ratios and p-values."""

    nodes: tuple[str, ...]
    exposed: NDArray[np.int64]
    unexposed: NDArray[np.int64]
    llr: Floats
    p: Floats


def bernoulli_llr(exposed: ArrayLike, total: ArrayLike, share: float) -> Floats:
    """Return log-likelihood ratios of a share of exposed above ``share``, 0 where it is not (Kulldorff et al. 2003)."""
    c, n = np.asarray(exposed, dtype=np.float64), np.asarray(total, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        llr = special.xlogy(c, c / (n * share)) + special.xlogy(n - c, (n - c) / (n * (1 - share)))
    return np.asarray(np.where(c > n * share, llr, 0.0))


def tree_scan(
    person: ArrayLike,
    code: Sequence[str],
    exposed: ArrayLike,
    hierarchy: Hierarchy,
    share: float,
    rng: np.random.Generator,
    draws: int = 999,
    null: Literal["persons", "nodes"] = "persons",
) -> Scan:
    """Scan occurrences (person, code), exposed or not, over all nodes of the hierarchy (Kulldorff et al. 2003).

    ``exposed`` (0 or 1) and ``person`` have one element an occurrence. A person counts once at a node, with the
    exposure of the first occurrence given at or below it. ``share`` is that of exposed persons. The null distribution of
    the largest ratio comes from exposing each ``person`` anew with that probability, which keeps nodes as dependent as
    they are. ``nodes`` draws the exposed at each node by themselves, leaves out nodes where all are exposed or none, and
    counts no ties, as the R package TreeMineR does: p-values of nodes with few persons are then too small.
    """
    persons, who = np.unique(np.asarray(person), return_inverse=True)
    nodes, node, occurrence = _below(code, hierarchy)
    _, first = np.unique(node * len(persons) + who[occurrence], return_index=True)
    node, occurrence = node[first], occurrence[first]
    total = np.bincount(node, minlength=len(nodes))
    counts = np.bincount(node, np.asarray(exposed, dtype=np.float64)[occurrence], minlength=len(nodes))
    llr = bernoulli_llr(counts, total, share)
    if null == "persons":
        member = sparse.csr_array(
            (np.ones(len(node)), (node, who[occurrence])), shape=(len(nodes), len(persons))
        )
        largest, tie = _largest_by_person(member, total, share, rng, draws), -1e-12
    else:
        largest, tie = _largest_by_node(total, share, rng, draws), 1e-12
    above = draws - np.searchsorted(np.sort(largest), llr + tie)
    hit = counts.astype(np.int64)
    return Scan(nodes, hit, total - hit, llr, (1 + above) / (1 + draws))


def _largest_by_person(
    member: sparse.csr_array, total: NDArray[np.int64], share: float, rng: np.random.Generator, draws: int
) -> Floats:
    """Return the largest ratio of each draw of exposed persons, several draws a product of matrices."""
    largest: list[Floats] = []
    for begin in range(0, draws, 64):
        drawn = (rng.random((member.shape[1], min(64, draws - begin))) < share).astype(np.float64)
        largest.append(bernoulli_llr(member @ drawn, total[:, None], share).max(axis=0))
    return np.concatenate(largest)


def _largest_by_node(total: NDArray[np.int64], share: float, rng: np.random.Generator, draws: int) -> Floats:
    largest = np.empty(draws)
    for i in range(draws):
        drawn = rng.binomial(total, share)
        mixed = (drawn > 0) & (drawn < total)
        largest[i] = bernoulli_llr(drawn[mixed], total[mixed], share).max(initial=0.0)
    return largest


def _below(
    code: Sequence[str], hierarchy: Hierarchy
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64]]:
    """Return all nodes, and each (node, occurrence) with the occurrence at or below the node, in their order."""
    distinct, which = np.unique(np.asarray(code, dtype=np.str_), return_inverse=True)
    paths = [hierarchy.path(str(one)) for one in distinct]
    nodes = tuple(sorted({node for path in paths for node in path}))
    number = {node: i for i, node in enumerate(nodes)}
    length = np.array([len(path) for path in paths], dtype=np.int64)
    flat = np.array([number[node] for path in paths for node in path], dtype=np.int64)
    begin = np.cumsum(length) - length
    occurrence = np.repeat(np.arange(len(which)), length[which])
    step = np.arange(len(occurrence)) - np.repeat(np.cumsum(length[which]) - length[which], length[which])
    return nodes, flat[begin[which][occurrence] + step], occurrence
