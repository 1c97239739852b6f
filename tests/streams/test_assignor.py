"""Sharing out partition numbers: even, complete, all topics together, and no more moves than needed."""

from __future__ import annotations

from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import TogetherAssignor, shared_out

owners = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3), st.lists(st.integers(0, 11)), min_size=1, max_size=5
)


@given(count=st.integers(1, 12), owned=owners)
def test_every_number_goes_to_one_member_and_shares_are_even(count: int, owned: dict[str, list[int]]) -> None:
    shares = shared_out(range(count), owned)
    assert sorted(n for share in shares.values() for n in share) == list(range(count))
    sizes = [len(share) for share in shares.values()]
    assert max(sizes) - min(sizes) <= 1
    assert shares.keys() == owned.keys()


@given(count=st.integers(1, 12), members=st.integers(1, 5))
def test_nothing_moves_while_the_members_stay_the_same(count: int, members: int) -> None:
    before = shared_out(range(count), {f"m{i}": [] for i in range(members)})
    renamed = {f"n{9 - i}": before[f"m{i}"] for i in range(members)}
    assert shared_out(range(count), renamed) == renamed


def test_a_member_that_leaves_gives_only_its_own_away() -> None:
    shares = shared_out(range(6), {"a": [0, 1], "c": [4, 5]})
    assert {0, 1} <= set(shares["a"])
    assert {4, 5} <= set(shares["c"])


def test_a_number_goes_to_one_member_for_all_topics() -> None:
    leader, other = TogetherAssignor(), TogetherAssignor()
    cluster = SimpleNamespace(
        partitions_for_topic=lambda topic: {0, 1, 2} if topic != "wide" else {0, 1, 2, 3}
    )
    topics = ["left", "right", "wide"]
    members = {"a": leader.metadata(topics), "b": other.metadata(topics)}
    given_out = leader.assign(cluster, members)
    for assignment in given_out.values():
        by_topic = {topic: set(numbers) for topic, numbers in assignment.assignment}
        assert by_topic["left"] == by_topic["right"] == by_topic["wide"] - {3}
    leader.on_assignment(given_out["a"])
    assert leader.metadata(topics).user_data == b"[0, 1]"
