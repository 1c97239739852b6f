"""Who gets which partition, who is to inherit it, and who keeps a copy of its state: pure functions of what members say."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from streams.membership import Heirdom, Joining, Told

LEAST_COST = 0.02  # cores: cheaper partitions are shared by their number
SLACK = 0.1  # loads that exceed the mean by no more than this are even
WORTH = 0.1  # of a mean load: what less of misplaced load is not worth moving state for

Shares = dict[str, list[int]]


@dataclass(frozen=True, slots=True)
class Share:
    """What one member gets, and what it is told beside."""

    partitions: list[int]
    told: Told = field(default_factory=Told)


def share_out(numbers: Iterable[int], members: Mapping[str, Joining], copies: int = 0) -> dict[str, Share]:
    """Return every member's share of the partition ``numbers``, each given to exactly one.

    Owners keep what they have unless moving it makes loads more even by a good deal. Workers that trailed lately are spared while
    there are others. ``copies`` is how many members keep a copy of each partition's state.
    """
    numbers = sorted(set(numbers))
    resting = _resting(members)
    active = sorted(m for m, said in members.items() if said.worker not in resting) or sorted(members)
    owners = _owners(numbers, members)
    costs = _costs(numbers, members, owners)
    holders = {p: {m for m in active if p in members[m].copies} for p in numbers}
    kept: Shares = {m: [p for p in numbers if owners.get(p) == m] for m in active}
    shares = _placed(kept, costs, holders)
    return _told(shares, members, owners, costs, holders, resting, copies)


def by_count(numbers: Iterable[int], owned: Mapping[str, Collection[int]]) -> Shares:
    """Return shares whose sizes differ by at most one, each member keeping as many of its own as that allows."""
    left = set(numbers)
    members = sorted(owned, key=lambda member: (-len(left.intersection(owned[member])), member))
    least, more = divmod(len(left), len(members))
    shares: Shares = {}
    for i, member in enumerate(members):
        shares[member] = sorted(left.intersection(owned[member]))[: least + (i < more)]
        left.difference_update(shares[member])
    for i, member in enumerate(members):
        wanted = least + (i < more) - len(shares[member])
        new = sorted(left)[:wanted]
        shares[member] = sorted(shares[member] + new)
        left.difference_update(new)
    return shares


def heaviest(shares: Shares, costs: Mapping[int, float]) -> float:
    """Return the largest load of a member."""
    return max(sum(costs[p] for p in share) for share in shares.values())


def _placed(kept: Shares, costs: Mapping[int, float], holders: Mapping[int, set[str]]) -> Shares:
    settled = _adopt(kept, costs, holders)
    moved = _even(settled, costs, holders)
    counted = by_count(costs, kept)
    if heaviest(counted, costs) < (1 - WORTH) * heaviest(moved, costs):
        moved = counted
    mean = sum(costs.values()) / len(kept)
    worth = _misplaced(settled, costs, mean) - _misplaced(moved, costs, mean) >= WORTH * mean
    return moved if worth else settled


def _adopt(kept: Shares, costs: Mapping[int, float], holders: Mapping[int, set[str]]) -> Shares:
    """Give partitions without an owner, the dearest first, to whoever has a copy and room, or else to the least loaded."""
    shares = {member: list(share) for member, share in kept.items()}
    loads = {member: sum(costs[p] for p in share) for member, share in kept.items()}
    room = (1 + SLACK) * sum(costs.values()) / len(kept)
    owned = {p for share in kept.values() for p in share}
    for p in sorted(costs.keys() - owned, key=lambda p: (-costs[p], p)):
        with_copy = [m for m in holders[p] if loads[m] + costs[p] <= room]
        chosen = min(with_copy or loads, key=lambda m: (loads[m], len(shares[m]), m))
        shares[chosen].append(p)
        loads[chosen] += costs[p]
    return {member: sorted(share) for member, share in shares.items()}


def _even(settled: Shares, costs: Mapping[int, float], holders: Mapping[int, set[str]]) -> Shares:
    """Move partitions from the most to the least loaded member for as long as that helps, to one with a copy where it is equal."""
    shares = {member: list(share) for member, share in settled.items()}
    loads = {member: sum(costs[p] for p in share) for member, share in shares.items()}
    enough = (1 + SLACK) * sum(costs.values()) / len(shares)
    for _ in range(2 * len(costs)):
        heavy = max(loads, key=lambda m: (loads[m], m))
        light = min(loads, key=lambda m: (loads[m], m))
        if loads[heavy] <= enough or not shares[heavy]:
            break
        after = {p: max(loads[heavy] - costs[p], loads[light] + costs[p]) for p in shares[heavy]}
        best = min(after, key=lambda p: (round(after[p], 6), light not in holders[p], p))
        if after[best] >= loads[heavy] - 1e-9:
            break
        shares[heavy].remove(best)
        shares[light].append(best)
        loads[heavy] -= costs[best]
        loads[light] += costs[best]
    return {member: sorted(share) for member, share in shares.items()}


def _misplaced(shares: Shares, costs: Mapping[int, float], mean: float) -> float:
    return sum(abs(sum(costs[p] for p in share) - mean) for share in shares.values())


def _owners(numbers: Sequence[int], members: Mapping[str, Joining]) -> dict[int, str]:
    """Return who owns what: of several that say so the one that heard of a later round, or else that took it from the other."""
    owners: dict[int, str] = {}
    for member in sorted(members):
        for p in members[member].owned:
            if p not in owners or _claim(members[member], p) > _claim(members[owners[p]], p):
                owners[p] = member
    return {p: owners[p] for p in numbers if p in owners}


def _claim(said: Joining, partition: int) -> tuple[int, int]:
    return said.round, said.moves.get(partition, 0)


def _costs(
    numbers: Sequence[int], members: Mapping[str, Joining], owners: Mapping[int, str]
) -> dict[int, float]:
    """Return what each partition costs; one that nobody has measured counts as the mean of the others."""
    measured = {p: members[m].owned[p] for p, m in owners.items()}
    known = {p: max(cost, LEAST_COST) for p, cost in measured.items() if cost is not None}
    unknown = sum(known.values()) / len(known) if known else LEAST_COST
    return {p: known.get(p, unknown) for p in numbers}


def _resting(members: Mapping[str, Joining]) -> dict[str, float]:
    resting: dict[str, float] = {}
    for said in members.values():
        for worker, seconds in said.resting.items():
            resting[worker] = max(seconds, resting.get(worker, 0.0))
    return {worker: seconds for worker, seconds in resting.items() if seconds > 0}


def _told(
    shares: Shares,
    members: Mapping[str, Joining],
    owners: Mapping[int, str],
    costs: Mapping[int, float],
    holders: Mapping[int, set[str]],
    resting: Mapping[str, float],
    copies: int,
) -> dict[str, Share]:
    now_with = {p: m for m, share in shares.items() for p in share}
    moves = {p: members[m].moves.get(p, 0) for p, m in owners.items()}
    heirs = _heirs(now_with, sorted(shares), members, costs, holders, max(copies, 1))
    number = max(said.round for said in members.values()) + 1
    told: dict[str, Share] = {}
    for member in members:
        share = shares.get(member, [])
        heirdoms = {
            p: Heirdom(
                members[owner].worker,
                [s for s in shares[owner] if s != p],
                moves.get(p, 0),
                owners.get(p) != owner,
            )
            for p, owner in now_with.items()
            if heirs[p][:1] == [member] and members[owner].worker
        }
        copied = sorted(p for p in now_with if member in heirs[p][:copies])
        passed_on = {p: moves[p] for p in share if moves.get(p)}
        told[member] = Share(share, Told(number, heirdoms, copied, passed_on, dict(resting)))
    return told


def _heirs(
    now_with: Mapping[int, str],
    active: Iterable[str],
    members: Mapping[str, Joining],
    costs: Mapping[int, float],
    holders: Mapping[int, set[str]],
    wanted: int,
) -> dict[int, list[str]]:
    """Return the heirs of each partition, the one that would take it first: evenly, holders of copies before others."""
    able = [m for m in active if members[m].worker]
    burden = dict.fromkeys(able, 0)
    most = -(-len(now_with) * wanted // max(len(able), 1))
    heirs: dict[int, list[str]] = {}
    for p in sorted(now_with, key=lambda p: (-costs[p], p)):
        others = [m for m in able if m != now_with[p]]
        heirs[p] = sorted(others, key=lambda m: (burden[m] >= most, m not in holders[p], burden[m], m))[
            :wanted
        ]
        for m in heirs[p]:
            burden[m] += 1
    return heirs
