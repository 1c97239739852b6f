"""Group assignment by partition number: whoever gets a partition of one source gets it of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from streams.membership import Member, decode_joining, decode_told, encode
from streams.placement import share_out

VERSION = 0


class TogetherAssignor(AbstractPartitionAssignor):
    """Share out partition numbers by what they cost; a member keeps those it has as far as that is even.

    All members of an app subscribe to the same topics, which have equally many partitions; numbers that only some topics have go to
    members like any other, so that the engine sees and refuses them. ``member`` says what this one has and hears what it is to
    do beside.
    """

    name = "tidewatch-together"

    def __init__(self, member: Member) -> None:
        self._member = member

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Return the assignment of every member; called on the group's leader."""
        topics = sorted({topic for metadata in members.values() for topic in metadata.subscription})
        numbers = {topic: set(cluster.partitions_for_topic(topic) or ()) for topic in topics}
        said = {member: decode_joining(metadata.user_data or b"") for member, metadata in members.items()}
        shares = share_out(set().union(*numbers.values()), said, self._member.copies_wanted)
        return {
            member: ConsumerProtocolMemberAssignment(
                VERSION,
                [(t, [n for n in share.partitions if n in numbers[t]]) for t in topics],
                encode(share.told),
            )
            for member, share in shares.items()
        }

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this member tells the leader: its topics and what it holds."""
        return ConsumerProtocolMemberMetadata(VERSION, list(topics), encode(self._member.joining()))

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Pass on what the leader told this member."""
        self._member.heard(decode_told(assignment.user_data or b""))
