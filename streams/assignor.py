"""Group assignment by partition number: whoever gets a partition of one source gets it of all of them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

VERSION = 0


class TogetherAssignor(AbstractPartitionAssignor):
    """Share out partition numbers evenly; a member keeps those it has as far as that is even.

    All members of an app subscribe to the same topics, which have equally many partitions; numbers that only some topics have go to
    members like any other, so that the engine sees and refuses them.
    """

    name = "tidewatch-together"

    def __init__(self) -> None:
        self._owned: list[int] = []

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return the assignment of every member; called on the group's leader."""
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        numbers = {topic: set(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        owned = {member: _owned(metadata.user_data) for member, metadata in members.items()}
        shares = shared_out(set().union(*numbers.values()), owned)
        return {
            member: ConsumerProtocolMemberAssignment(
                VERSION, [(t, [n for n in share if n in numbers[t]]) for t in topics], b""
            )
            for member, share in shares.items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the leader: its topics and the partition numbers it has."""
        return ConsumerProtocolMemberMetadata(VERSION, list(topics), json.dumps(self._owned).encode())

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what this member was given."""
        self._owned = sorted({number for _, numbers in assignment.assignment for number in numbers})


def shared_out(numbers: Iterable[int], owned: Mapping[str, list[int]]) -> dict[str, list[int]]:
    """Return numbers by member, sizes differing by at most one, each member keeping as many of its own as that allows."""
    left = set(numbers)
    members = sorted(owned, key=lambda member: (-len(left.intersection(owned[member])), member))
    least, more = divmod(len(left), len(members))
    shares: dict[str, list[int]] = {}
    for i, member in enumerate(members):
        shares[member] = sorted(left.intersection(owned[member]))[: least + (i < more)]
        left.difference_update(shares[member])
    for i, member in enumerate(members):
        wanted = least + (i < more) - len(shares[member])
        fresh = sorted(left)[:wanted]
        shares[member] = sorted(shares[member] + fresh)
        left.difference_update(fresh)
    return shares


def _owned(user_data: bytes) -> list[int]:
    try:
        return [int(number) for number in json.loads(user_data or b"[]")]
    except (ValueError, TypeError):
        return []
