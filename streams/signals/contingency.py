"""Counts of reports by drug, event and pair that grow and shrink report by report; linear, so order does not matter."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.signals.tables import Counts, PairCounts


class Contingency:
    """Counts over integer codes of drugs and events; the unit is whatever is added, or the pair with ``by_pair``.

    Pairs are numbered in order of first appearance and stay, with a count of 0, once their reports are taken back.
    """

    def __init__(self, *, by_pair: bool = False) -> None:
        self.total = 0
        self.by_pair = by_pair
        self._number: dict[int, int] = {}
        self._key, self._a = array("q"), array("q")
        self._drug, self._event = array("q"), array("q")
        self.touched: set[int] = set()

    def __len__(self) -> int:
        return len(self._key)

    def add(self, drugs: Sequence[int], events: Sequence[int], sign: int = 1) -> None:
        """Count distinct drugs and events of one report, or take them back with ``sign`` -1."""
        _grow(self._drug, max(drugs))
        _grow(self._event, max(events))
        margin = sign
        self.total += sign
        if self.by_pair:
            self.total += sign * (len(drugs) * len(events) - 1)
            margin = sign * len(events)
        for drug in drugs:
            self._drug[drug] += margin
        margin = sign * len(drugs) if self.by_pair else sign
        for event in events:
            self._event[event] += margin
        number, a, touched = self._number, self._a, self.touched
        for drug in drugs:
            base = drug << 32
            for event in events:
                key = base | event
                pair = number.get(key)
                if pair is None:
                    pair = number[key] = len(a)
                    self._key.append(key)
                    a.append(0)
                a[pair] += sign
                touched.add(pair)

    def drug_total(self, code: int) -> int:
        """Return the total of a drug, 0 if it never occurred."""
        return self._drug[code] if code < len(self._drug) else 0

    def event_total(self, code: int) -> int:
        """Return the total of an event, 0 if it never occurred."""
        return self._event[code] if code < len(self._event) else 0

    def counts(self, pairs: NDArray[np.int64] | None = None) -> PairCounts:
        """Return the counts of some pairs, or of all in order of their numbers."""
        key, a = np.array(self._key, dtype=np.int64), np.array(self._a, dtype=np.int64)
        if pairs is not None:
            key, a = key[pairs], a[pairs]
        drug, event = key >> 32, key & 0xFFFFFFFF
        by_drug, by_event = np.array(self._drug, dtype=np.int64), np.array(self._event, dtype=np.int64)
        return PairCounts(drug, event, a, by_drug[drug], by_event[event], self.total)

    def expected_of(self, drug: Counts, event: Counts) -> NDArray[np.float64]:
        """Return counts expected under independence of any pairs of codes, also of such as never occurred here."""
        if not self.total:
            return np.zeros(len(drug))
        return _at(self._drug, drug) * _at(self._event, event) / self.total

    def joint(self, drug: Counts, event: Counts) -> Counts:
        """Return the joint counts of any pairs of codes."""
        number, a = self._number, self._a
        found = [number.get(key, -1) for key in (drug << 32 | event).tolist()]
        return np.array([a[pair] if pair >= 0 else 0 for pair in found], dtype=np.int64)

    def pack(self) -> bytes:
        """Return the counts as bytes."""
        parts = [part.tobytes() for part in (self._key, self._a, self._drug, self._event)]
        return msgspec.msgpack.encode([self.total, *parts, sorted(self.touched)])

    def load(self, packed: bytes) -> None:
        """Take over packed counts."""
        self.total, *parts, touched = msgspec.msgpack.decode(packed)
        for mine, part in zip((self._key, self._a, self._drug, self._event), parts, strict=True):
            del mine[:]
            mine.frombytes(part)
        self._number = {key: pair for pair, key in enumerate(self._key)}
        self.touched = set(touched)


def _grow(counts: array[int], code: int) -> None:
    if code >= len(counts):
        counts.extend([0] * (code + 1 - len(counts)))


def _at(counts: array[int], codes: Counts) -> NDArray[np.float64]:
    """Return counts by code, 0 beyond their end."""
    whole = np.array(counts, dtype=np.float64)
    inside = codes < len(whole)
    found = np.zeros(len(codes))
    found[inside] = whole[codes[inside]]
    return found
