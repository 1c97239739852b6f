"""What a worker sees of its group's progress on a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AioPartition
from aiokafka.structs import OffsetAndMetadata
from confluent_kafka.admin import AdminClient, NewTopic

from streams.balance import Note, encode_note
from streams.config import EngineConfig
from streams.offsets import reader_of
from streams.overseer import Overseer
from tests.streams.harness import send


async def commit(bootstrap: str, group: str, offsets: dict[AioPartition, OffsetAndMetadata]) -> None:
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(list(offsets))
        await consumer.commit(offsets)
    finally:
        await consumer.stop()


@pytest.mark.kafka
def test_ends_positions_and_notes_are_those_of_the_group(kafka: Any, topic_prefix: str) -> None:
    """Notes end where they should, also those of different lengths and of members that write none."""
    topic = f"{topic_prefix}.in"
    settings = {"bootstrap.servers": kafka.bootstrap}
    admin = AdminClient(settings)
    admin.create_topics([NewTopic(topic, 4)])[topic].result(60)
    for partition in range(4):
        send(kafka.bootstrap, topic, [b"x"] * (5 + partition), partition)
    notes = [encode_note(Note("w" * 12, 0.1234)), encode_note(Note("v", None)), ""]
    offsets = {AioPartition(topic, p): OffsetAndMetadata(3 + p, note) for p, note in enumerate(notes)}
    asyncio.run(commit(kafka.bootstrap, topic_prefix, offsets))
    overseer = Overseer(
        EngineConfig(topic_prefix, settings),
        [(topic, p) for p in range(4)],
        "me",
        lambda *_: None,
        lambda: None,
        dict,
    )
    ends, positions, noted = overseer._look(admin, reader_of(settings, topic_prefix))
    assert ends == {(topic, p): 5 + p for p in range(4)}
    assert [positions[topic, p] for p in range(3)] == [3, 4, 5]
    assert positions[topic, 3] < 0
    assert noted == {0: Note("w" * 12, 0.1234), 1: Note("v", None), 2: Note(), 3: Note()}
