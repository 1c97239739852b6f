"""Placing partitions by load: complete, even, sticky, by the same rules for whoever computes it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.membership import Joining
from streams.placement import LEAST_COST, SLACK, WORTH, Share, by_count, heaviest, share_out

COUNT = 12
owners = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.lists(st.integers(0, 11)), min_size=1, max_size=5
)
costs = st.one_of(st.none(), st.floats(0.0, 1.0))
groups = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.builds(
        Joining,
        worker=st.text("uvwxyz", max_size=2),
        round=st.integers(0, 3),
        owned=st.dictionaries(st.integers(0, COUNT + 3), costs, max_size=COUNT),
        copies=st.lists(st.integers(0, COUNT - 1), max_size=4),
        moves=st.dictionaries(st.integers(0, COUNT - 1), st.integers(0, 5), max_size=4),
        resting=st.dictionaries(st.text("uvwxyz", max_size=2), st.floats(-1.0, 500.0), max_size=2),
    ),
    min_size=1,
    max_size=5,
)


def partitions(shares: dict[str, Share]) -> dict[str, list[int]]:
    return {member: share.partitions for member, share in shares.items()}


def again(
    members: dict[str, Joining], shares: dict[str, Share], costs: dict[int, float | None]
) -> dict[str, Joining]:
    """Return what the members of ``shares`` say when they join once more."""
    return {
        m: Joining(
            members[m].worker,
            share.told.round,
            {p: costs.get(p) for p in share.partitions},
            share.told.copies,
            share.told.moves,
            share.told.resting,
        )
        for m, share in shares.items()
    }


@given(count=st.integers(1, 12), owned=owners)
def test_by_count_every_number_goes_to_one_member_and_shares_are_even(
    count: int, owned: dict[str, list[int]]
) -> None:
    shares = by_count(range(count), owned)
    assert sorted(n for share in shares.values() for n in share) == list(range(count))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert shares.keys() == owned.keys()


@given(members=groups, copies=st.integers(0, 2))
def test_every_partition_goes_to_exactly_one_member_who_is_not_its_own_heir(
    members: dict[str, Joining], copies: int
) -> None:
    shares = share_out(range(COUNT), members, copies)
    assert shares.keys() == members.keys()
    assert sorted(p for share in shares.values() for p in share.partitions) == list(range(COUNT))
    heirs = [p for share in shares.values() for p in share.told.heirdoms]
    assert len(heirs) == len(set(heirs))
    for share in shares.values():
        assert not set(share.partitions) & (share.told.heirdoms.keys() | set(share.told.copies))
    copied = [p for share in shares.values() for p in share.told.copies]
    assert all(copied.count(p) <= copies for p in range(COUNT))


@given(members=groups, copies=st.integers(0, 2))
def test_the_order_in_which_members_are_listed_does_not_matter(
    members: dict[str, Joining], copies: int
) -> None:
    assert share_out(range(COUNT), dict(reversed(members.items())), copies) == share_out(
        range(COUNT), members, copies
    )


@given(members=groups, copies=st.integers(0, 2), loads=st.lists(st.floats(0, 1), min_size=12, max_size=12))
def test_a_steady_group_moves_nothing(members: dict[str, Joining], copies: int, loads: list[float]) -> None:
    """Not even copies, and whatever the costs were when it was formed: once it is even by them, it stays."""
    known: dict[int, float | None] = dict(enumerate(loads))
    formed = share_out(range(COUNT), again(members, share_out(range(COUNT), members, copies), known), copies)
    kept = share_out(range(COUNT), again(members, formed, known), copies)
    assert partitions(kept) == partitions(formed)
    third = share_out(range(COUNT), again(members, kept, known), copies)
    assert {m: s.told.copies for m, s in third.items()} == {m: s.told.copies for m, s in kept.items()}


@given(
    loads=st.lists(st.floats(0, 1), min_size=12, max_size=12), owner=st.lists(st.integers(0, 3), min_size=12)
)
def test_never_worse_than_by_count_by_more_than_a_move_has_to_gain(
    loads: list[float], owner: list[int]
) -> None:
    members = {
        f"m{i}": Joining(f"w{i}", 1, {p: loads[p] for p in range(COUNT) if owner[p] == i}) for i in range(4)
    }
    known = {p: max(load, LEAST_COST) for p, load in enumerate(loads)}
    placed = partitions(share_out(range(COUNT), members))
    counted = by_count(range(COUNT), {m: list(said.owned) for m, said in members.items()})
    mean = sum(known.values()) / 4
    assert heaviest(placed, known) <= heaviest(counted, known) * (1 + SLACK) / (1 - WORTH) + WORTH * mean


@given(count=st.integers(1, 12), owned=owners)
def test_idle_partitions_are_shared_by_their_number(count: int, owned: dict[str, list[int]]) -> None:
    members = {m: Joining(m, 1, dict.fromkeys(numbers, 0.0)) for m, numbers in owned.items()}
    sizes = [len(share) for share in partitions(share_out(range(count), members)).values()]
    assert max(sizes) - min(sizes) <= 1


def test_a_dear_partition_is_left_alone_with_its_owner() -> None:
    alone = {"a": Joining("wa", 1, {0: 0.9, 1: 0.1, 2: 0.1, 3: 0.1}), "b": Joining("wb", 1)}
    shares = partitions(share_out(range(4), alone))
    assert sorted(map(sorted, shares.values())) == [[0], [1, 2, 3]]


def test_small_gains_move_nothing() -> None:
    uneven = {"a": Joining("wa", 1, {0: 0.30, 1: 0.30}), "b": Joining("wb", 1, {2: 0.28, 3: 0.25})}
    assert partitions(share_out(range(4), uneven)) == {"a": [0, 1], "b": [2, 3]}


def test_a_member_that_leaves_gives_only_its_own_away_and_to_holders_of_copies() -> None:
    left = {
        "a": Joining("wa", 1, {0: 0.2, 1: 0.2}, copies=[5]),
        "c": Joining("wc", 1, {2: 0.2, 3: 0.2}, copies=[4]),
    }
    assert partitions(share_out(range(6), left)) == {"a": [0, 1, 5], "c": [2, 3, 4]}


def test_one_that_slept_does_not_keep_what_others_have_gone_on_with() -> None:
    slept = {"old": Joining("wo", 3, {0: 0.1, 1: 0.1}), "new": Joining("wn", 4, {0: 0.1, 1: 0.1})}
    share = share_out(range(2), slept)["new"].partitions
    assert len(share) == 1
    taken = {"old": Joining("wo", 4, {0: 0.1}), "new": Joining("wn", 4, {0: 0.1, 1: 0.1}, moves={0: 1})}
    assert share_out([0], taken)["new"].partitions == [0]


def test_a_worker_that_trailed_is_spared_while_there_are_others() -> None:
    members = {
        "slow": Joining("ws", 2),
        "heir": Joining("wh", 2, {0: 0.1, 1: 0.1}, moves={0: 1}, resting={"ws": 60.0}),
    }
    shares = share_out(range(2), members, 1)
    assert shares["slow"].partitions == shares["slow"].told.copies == []
    assert shares["slow"].told.heirdoms == {}
    assert shares["slow"].told.resting == {"ws": 60.0}
    assert shares["heir"].told.moves == {0: 1}
    alone = {"slow": Joining("ws", 3, resting={"ws": 60.0})}
    assert share_out(range(2), alone)["slow"].partitions == [0, 1]


def test_an_heir_knows_whom_it_inherits_from() -> None:
    members = {"a": Joining("wa", 1, {0: 0.1, 1: 0.1}), "b": Joining("wb", 1, {2: 0.1}), "old": Joining()}
    shares = share_out(range(4), members)
    (heirdom,) = (share.told.heirdoms[0] for member, share in shares.items() if 0 in share.told.heirdoms)
    assert (heirdom.owner, heirdom.siblings, heirdom.moves, heirdom.fresh) == ("wa", [1], 0, False)
    assert shares["old"].told.heirdoms == {}
    newly = next(share.told.heirdoms[2] for share in shares.values() if 2 in share.told.heirdoms)
    assert newly.fresh is False
