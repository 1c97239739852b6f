"""Change detectors that bet against a stream staying the same, with a bound on their false alarms for all time."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.detectors.base import Detector, Floats, Ints, StateError
from streams.detectors.bets import tilts, variation
from streams.detectors.evalues import dkw_halfwidth
from streams.detectors.martingale_kernel import add_count, run
from streams.sketches.mapping import LogMapping

_ROUNDS, _LEARNED_BINS = 32, 8


class _Martingale(Detector):
    """Ranks values among counts in log-spaced bins about an origin, and bets on the ranks."""

    seed: int
    spacing: int
    origin: float | None
    even: ClassVar[bool] = False
    mapping: ClassVar[LogMapping] = LogMapping(0.01)

    def _start(self) -> None:
        """Forget everything."""
        table = self._table()
        self._origin, self._share = self.origin, 0.1 if self._frozen_at() < 0 else 0.0
        self._tree = np.zeros(self.mapping.n_bins + 1, np.int64)
        self._seen = np.zeros(1, np.int64)
        self._numbers = np.array([0.0, 0.0, 0.0 if self.even else 1.0])
        self._tilted = np.zeros((_ROUNDS, len(table)))
        self._learned, self._ages = np.zeros(_ROUNDS), np.zeros(_ROUNDS)
        self._counts = np.zeros((_ROUNDS, _LEARNED_BINS))

    def _frozen_at(self) -> int:
        return -1

    def _table(self) -> Floats:
        return tilts()

    @abstractmethod
    def _limit(self) -> float:
        """The capital at which there is an alarm."""

    @property
    def evidence(self) -> float:
        """The log of the capital."""
        held = self._numbers[1:].sum() + self._tilted.sum() + self._learned.sum()
        return float(np.log(max(held, 1e-300)))

    def _codes(self, values: Floats) -> NDArray[np.int32]:
        # Bins are fine about the origin, so that data far from zero are resolved as well.
        if self._origin is None:
            self._origin = float(values[0])
        return self.mapping.index(values - self._origin)

    def _scores(self, values: Floats, times: Ints | None) -> Floats:  # noqa: ARG002
        limit = self._limit()
        scores, begin = np.empty(len(values)), 0
        while begin < len(values):
            codes = self._codes(values[begin:])
            capital = np.empty(len(codes))
            taken = run(
                codes, self.seed, self._frozen_at(), limit, self._numbers, self._seen, self._tree, self._tilted,
                self._learned, self._counts, self._ages, self._table(), self.spacing, self._share, self.even, capital,
            )  # fmt: skip
            capital = capital[:taken]
            scores[begin : begin + taken] = np.log(np.maximum(capital, 1.0)) / np.log(limit)
            begin += taken
            if capital[-1] >= limit:
                scores[begin - 1] = max(scores[begin - 1], 1.0)
                self._start()
        return scores

    def _state(self) -> dict[str, Any]:
        used = np.flatnonzero(self._tree)
        return {
            "origin": self._origin, "seen": int(self._seen[0]), "codes": used, "tree": self._tree[used],
            "numbers": self._numbers, "tilted": self._tilted, "learned": self._learned,
            "counts": self._counts, "ages": self._ages,
        }  # fmt: skip

    def _load(self, state: dict[str, Any]) -> None:
        self._start()
        if state["tilted"].shape != self._tilted.shape:
            raise StateError("the snapshot is of a release that bet in other ways; begin with a new detector")
        self._origin, self._seen[0] = state["origin"], state["seen"]
        self._tree[state["codes"]] = state["tree"]
        self._numbers, self._tilted, self._learned = state["numbers"], state["tilted"], state["learned"]
        self._counts, self._ages = state["counts"], state["ages"]


class BinsEProcess(_Martingale):
    """Alarm when quantile bins of the newest values differ from all values before: an e-process, two samples in one.

    Each value's randomised rank among the ones before is uniform and independent of earlier ranks as long as the values are
    exchangeable, whatever their distribution: the reference is never estimated, it grows. On the ranks, in quantile bins,
    rounds of bets start every ``spacing`` values: a Dirichlet-multinomial Bayes factor over 8 bins and tilts along 8 directions
    (see ``bets``). The capital is an e-process, so P(ever an alarm | nothing changes) <= ``alpha`` (Ville 1939; conformal test
    martingales, Vovk, Gammerman and Shafer 2005). Autocorrelated values are not exchangeable, and the bound does not hold for
    them (measured in docs/detectors.md). Values are counted in log-spaced bins of 1% about ``origin``, the first value if not
    given; no value is kept.
    """

    kind = "bins-eprocess"

    def __init__(
        self, *, alpha: float = 0.005, spacing: int = 32, seed: int = 0, origin: float | None = None
    ) -> None:
        self.alpha, self.spacing, self.seed, self.origin = alpha, spacing, seed, origin
        self._start()

    def _limit(self) -> float:
        return 1 / self.alpha


class BinsEDetector(_Martingale):
    """Alarm like ``bins-eprocess``, but with a bound on how often instead of whether ever: an e-detector.

    An endless stream leaves each round of bets of the e-process ever less of the one capital, and late changes are found late.
    Here each round has a capital of one, whenever it starts. Under no change the sum is at most the number of rounds on average, at
    any stopping time, so the average run length to a false alarm at arl/spacing + 1 is at least ``arl`` values, whatever the
    distribution, and P(an alarm within n values) <= (n + spacing) / (arl + spacing) (Shin, Ramdas and Rinaldo 2022, "E-detectors";
    a Shiryaev-Roberts sum over every ``spacing``-th start). Values must be exchangeable, as for the e-process.
    """

    kind = "bins-edetector"
    even = True

    def __init__(
        self, *, arl: float = 1_000_000, spacing: int = 32, seed: int = 0, origin: float | None = None
    ) -> None:
        self.arl, self.spacing, self.seed, self.origin = arl, spacing, seed, origin
        self._start()

    def _limit(self) -> float:
        return self.arl / self.spacing + 1


class FrozenReference(_Martingale):
    """Alarm when values differ from a frozen reference by more than its own uncertainty: a conformal test martingale.

    The first ``reference`` values, or what ``learn`` and ``merge`` add before, are counted once and for all. A rank among them is
    not quite uniform; by how much is bounded by the DKW inequality with probability 1 - alpha/2, and each bet is charged the most
    that this could yield it, epsilon times its total variation. The capital is therefore a supermartingale on that event and
    P(ever an alarm | nothing changes) <= ``alpha``, over the reference as well as the stream, for independent values.
    """

    kind = "frozen-reference"

    def __init__(
        self,
        *,
        reference: int = 1000,
        alpha: float = 0.01,
        spacing: int = 32,
        seed: int = 0,
        origin: float | None = None,
    ) -> None:
        self.reference, self.alpha, self.spacing = reference, alpha, spacing
        self.seed, self.origin = seed, origin
        self._start()

    def learn(self, values: ArrayLike) -> None:
        """Add values of shape (n,) to a reference that is not complete yet, without betting.

        Raises:
            ValueError: the reference is complete.
        """
        finite = np.asarray(values, np.float64)
        finite = finite[np.isfinite(finite)]
        if self._seen[0] + len(finite) > self.reference:
            raise ValueError(f"a reference of {self.reference} values takes no more")
        if len(finite):
            for code in self._codes(finite).tolist():
                add_count(self._tree, code)
            self._seen[0] += len(finite)

    def merge(self, other: FrozenReference) -> None:
        """Add the reference of another detector with the same ``origin``, in any order, before anything was bet.

        Raises:
            ValueError: the origins differ, something was bet already, or there are more than ``reference`` values.
        """
        if other._seen[0] and self._seen[0] and self._origin != other._origin:
            raise ValueError("references about different origins cannot be added; give both the same origin")
        if self._numbers[0] or self._seen[0] + other._seen[0] > self.reference:
            raise ValueError(f"a reference of {self.reference} values takes no more")
        if other._seen[0]:
            self._origin = other._origin
        self._tree += other._tree
        self._seen += other._seen

    def _frozen_at(self) -> int:
        return self.reference

    def _limit(self) -> float:
        return 2 / self.alpha

    def _table(self) -> Floats:
        # One part in reference + 1 is the new value itself.
        epsilon = dkw_halfwidth(self.reference, self.alpha / 2) + 1 / (self.reference + 1)
        charge = 1 + epsilon * variation(tilts())
        return np.asarray(tilts() / charge[:, None])
