"""The assignor between the group protocol and the placement: all topics together, and members of older builds."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace

from aiokafka.coordinator.protocol import ConsumerProtocolMemberMetadata
from hypothesis import given
from hypothesis import strategies as st

from streams.assignor import TogetherAssignor
from streams.membership import Heirdom, Joining, Told, decode_joining, decode_told, encode

TOPICS = ["left", "right", "wide"]
CLUSTER = SimpleNamespace(partitions_for_topic=lambda topic: {0, 1, 2} if topic != "wide" else {0, 1, 2, 3})


@dataclass
class Worker:
    """A member that holds what it was last told."""

    said: Joining
    copies_wanted: int = 1
    told: list[Told] = field(default_factory=list)

    def joining(self) -> Joining:
        return self.said

    def heard(self, told: Told) -> None:
        self.told.append(told)


def test_a_number_goes_to_one_member_for_all_topics() -> None:
    first, second = Worker(Joining("one")), Worker(Joining("two"))
    leader, other = TogetherAssignor(first), TogetherAssignor(second)
    given_out = leader.assign(CLUSTER, {"a": leader.metadata(TOPICS), "b": other.metadata(TOPICS)})
    for assignment in given_out.values():
        by_topic = {topic: set(numbers) for topic, numbers in assignment.assignment}
        assert by_topic["left"] == by_topic["right"] == by_topic["wide"] - {3}
    leader.on_assignment(given_out["a"])
    other.on_assignment(given_out["b"])
    numbers = {n for _, share in given_out["b"].assignment for n in share}
    assert first.told[0].heirdoms.keys() == set(first.told[0].copies) == numbers
    assert {heirdom.owner for heirdom in first.told[0].heirdoms.values()} == {"two"}


def test_members_of_older_builds_keep_their_partitions_and_inherit_nothing() -> None:
    leader = TogetherAssignor(Worker(Joining("one", 1, {2: 0.1})))
    older = ConsumerProtocolMemberMetadata(0, TOPICS[:2], b"[0, 1]")
    given_out = leader.assign(CLUSTER, {"a": leader.metadata(TOPICS[:2]), "b": older})
    assert dict(given_out["b"].assignment) == {"left": [0, 1], "right": [0, 1]}
    assert decode_told(given_out["b"].user_data).heirdoms == {}


def test_a_leader_of_an_older_build_says_nothing() -> None:
    worker = Worker(Joining("one"))
    TogetherAssignor(worker).on_assignment(SimpleNamespace(user_data=b""))
    assert worker.told == [Told()]


@given(
    said=st.builds(
        Joining,
        worker=st.text(max_size=3),
        owned=st.dictionaries(st.integers(0, 99), st.one_of(st.none(), st.floats(0, 9)), max_size=4),
        moves=st.dictionaries(st.integers(0, 99), st.integers(0, 9), max_size=4),
        resting=st.dictionaries(st.text(max_size=3), st.floats(0, 99), max_size=3),
    )
)
def test_what_is_said_arrives(said: Joining) -> None:
    assert decode_joining(encode(said)) == said
    told = Told(3, {7: Heirdom("w", [1, 2], 1, True)}, [4], {5: 2}, {"w": 1.5})
    assert decode_told(encode(told)) == told


@given(noise=st.binary(max_size=30))
def test_noise_counts_as_nothing_said(noise: bytes) -> None:
    assert isinstance(decode_joining(noise), Joining)
    assert isinstance(decode_told(noise), Told)
