"""Duplicates across sources: a hit-miss score of two reports, as in vigiMatch (Norén, Orre, Bate and Edwards 2007)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec

DAY = 86_400_000


class Traits(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What two reports of one case would share; -1 and empty texts are unknown. ``onset`` is a whole day."""

    source: str
    age: int
    sex: str
    onset: int
    drugs: tuple[int, ...]
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class HitMiss:
    """How often fields of true duplicates agree by more than chance.

    Each field's weight is the log2 of how much likelier its values are in duplicates than in unrelated reports: with
    probability ``hit`` both sources recorded the truth, else they are independent. ``ages`` and ``days`` are how many values
    are about equally common. Reports that score ``threshold`` or more are taken for duplicates.
    """

    hit: float = 0.9
    ages: float = 80.0
    days: float = 365.0
    threshold: float = 18.0

    def score(self, one: Traits, other: Traits, share_of_drug: Share, share_of_event: Share) -> float:
        """Return the evidence in bits that two reports are of one case; unknown fields say nothing."""
        total = self._field(one.age, other.age, 1 / self.ages, -1)
        total += self._field(one.sex, other.sex, 0.5, "")
        total += self._days(one.onset, other.onset)
        for mine, theirs, share in (
            (one.drugs, other.drugs, share_of_drug),
            (one.events, other.events, share_of_event),
        ):
            total += self._terms(mine, theirs, share)
        return total

    def _field(self, mine: object, theirs: object, chance: float, unknown: object) -> float:
        if unknown in (mine, theirs):
            return 0.0
        return self._agree(chance) if mine == theirs else self._differ()

    def _agree(self, chance: float) -> float:
        return math.log2((self.hit + (1 - self.hit) * chance) / chance)

    def _differ(self) -> float:
        return math.log2(1 - self.hit)

    def _days(self, mine: int, theirs: int) -> float:
        if -1 in (mine, theirs):
            return 0.0
        apart = abs(mine - theirs)
        # A week apart is often one date written in two ways.
        return (
            self._agree(1 / self.days)
            if apart == 0
            else self._agree(15 / self.days)
            if apart <= 7
            else self._differ()
        )

    def _terms(self, mine: Sequence[int], theirs: Sequence[int], share: Share) -> float:
        both, either = set(mine) & set(theirs), set(mine) | set(theirs)
        # A rare term in common tells more; each term of one alone tells a little against.
        return sum(self._agree(max(share(term), 1e-6)) for term in sorted(both)) + (
            len(either) - len(both)
        ) * math.log2(1 - self.hit / 2)


Share = Callable[[int], float]


class Candidates:
    """Finds reports worth comparing: same drug and onset within a week (blocking), the newest few of each source."""

    def __init__(self, most: int = 50) -> None:
        self._most = most
        self._blocks: dict[tuple[int, int], dict[str, list[str]]] = {}
        self._traits: dict[str, Traits] = {}

    def near(self, traits: Traits) -> list[tuple[str, Traits]]:
        """Return the remembered reports of other sources that share a block, each once, in order of arrival."""
        if traits.onset < 0:
            return []
        seen: dict[str, None] = {}
        own, week = traits.source, traits.onset // 7
        for drug in traits.drugs:
            for at in (week - 1, week, week + 1):
                block = self._blocks.get((drug, at))
                if block is None or (len(block) == 1 and own in block):
                    continue
                for source, keys in block.items():
                    if source != own:
                        seen.update(dict.fromkeys(keys))
        return [(key, self._traits[key]) for key in seen]

    def remember(self, key: str, traits: Traits) -> None:
        """Add a report; one without onset joins no block and is found by none."""
        if traits.onset < 0:
            return
        self._traits[key] = traits
        week = traits.onset // 7
        for drug in traits.drugs:
            block = self._blocks.get((drug, week))
            if block is None:
                block = self._blocks[drug, week] = {}
            kept = block.setdefault(traits.source, [])
            kept.append(key)
            if len(kept) > self._most:
                del kept[0]

    def forget(self, known: Callable[[str], bool]) -> None:
        """Drop the reports that are no longer ``known``."""
        self._traits = {key: traits for key, traits in self._traits.items() if known(key)}
        left: dict[tuple[int, int], dict[str, list[str]]] = {}
        for block, by_source in self._blocks.items():
            for source, keys in by_source.items():
                kept = [key for key in keys if key in self._traits]
                if kept:
                    left.setdefault(block, {})[source] = kept
        self._blocks = left

    def pack(self) -> bytes:
        """Return the memory as bytes."""
        return msgspec.msgpack.encode(
            [self._traits, [[*block, by_source] for block, by_source in self._blocks.items()]]
        )

    def load(self, packed: bytes) -> None:
        """Take over a packed memory."""
        form = tuple[dict[str, Traits], list[tuple[int, int, dict[str, list[str]]]]]
        self._traits, blocks = msgspec.msgpack.decode(packed, type=form)
        self._blocks = {(drug, week): keys for drug, week, keys in blocks}
