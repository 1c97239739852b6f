"""Copies of checkpoint partitions: what is read on from one is what is read from the beginning, or else they are not used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.checkpoint import (
    FORMAT,
    MANIFEST,
    Manifest,
    Progress,
    Restored,
    StateLedger,
    Warm,
    block_key,
    progress_record,
    read_checkpoint,
)
from streams.config import EngineConfig, Stage
from streams.copies import Copies
from streams.followers import Followers
from streams.positions import log_range
from streams.runner import StageRunner, signature_of
from streams.saving import StateSaver
from streams.stages import stage_of
from tests.streams.harness import PATIENCE, eventually
from tests.streams.windowing import columns, pipeline

Entry = tuple[bytes, bytes]


def progress(transaction: int) -> Entry:
    return progress_record(Progress("me", transaction, {"t": 10 * transaction}, []))


def manifest(transaction: int, blocks: dict[str, int], base: int = 0) -> Entry:
    live = {f"t\0{n}": at for n, at in blocks.items()}
    said = Manifest(FORMAT, "s", 1, {"t": 10 * transaction}, {"t": 0}, live, base)
    return MANIFEST, msgspec.msgpack.encode(said)


def block(name: str, transaction: int, size: int = 1_000) -> Entry:
    return block_key("t", name, transaction), b"%d" % transaction * size


BASE = [progress(1), block("a", 1), block("b", 1), manifest(1, {"a": 1, "b": 1})]
DELTA = [progress(2), block("b", 2), manifest(2, {"a": 1, "b": 2}), progress(3)]
NEW_BASE = [progress(4), block("a", 4), block("b", 4), manifest(4, {"a": 4, "b": 4})]


class Log:
    """One app's checkpoint topic with one partition."""

    def __init__(self, bootstrap: str, app: str) -> None:
        self.config = EngineConfig(app, {"bootstrap.servers": bootstrap})
        self._admin = AdminClient(dict(self.config.connection))
        self._producer = Producer(dict(self.config.connection))
        self._admin.create_topics([NewTopic(self.config.checkpoint_topic, 1)])[
            self.config.checkpoint_topic
        ].result(60)

    def append(self, entries: Sequence[Entry]) -> None:
        for key, value in entries:
            self._producer.produce(self.config.checkpoint_topic, value, key, 0)
        assert self._producer.flush(PATIENCE) == 0

    def delete_before(self, offset: int) -> None:
        place = TopicPartition(self.config.checkpoint_topic, 0, offset)
        for future in self._admin.delete_records([place]).values():
            future.result(60)

    def copies(self, stages: Sequence[Stage] = (), **limits: int) -> Copies:
        return Copies(replace(self.config, **limits), lambda _: None, stages)  # type: ignore[arg-type]

    def read(self, warm: Warm | None = None) -> Any:
        return read_checkpoint(self.config.connection, self.config.checkpoint_topic, 0, lambda: True, warm)


@pytest.fixture
def log(kafka: Any, topic_prefix: str) -> Log:
    return Log(kafka.bootstrap, topic_prefix)


@pytest.fixture
def copies(log: Log) -> Iterator[Copies]:
    following = log.copies()
    log.append(BASE)
    following.follow([0])
    eventually(lambda: following.held().get(0) == len(BASE), "nothing is copied")
    yield following
    following.stop()


@pytest.mark.kafka
def test_reading_on_from_a_copy_gives_what_reading_from_the_beginning_gives(log: Log, copies: Copies) -> None:
    log.append(DELTA[:2])
    eventually(lambda: copies.held().get(0) == len(BASE) + 2, "the copy does not follow")
    log.append(DELTA[2:])
    warm = copies.take(0)
    assert warm is not None
    assert copies.take(0) is None
    found = log.read(warm)
    assert found == log.read()
    assert found.state("t") == {"a": b"1" * 1_000, "b": b"2" * 1_000}
    assert found.progress.transaction == 3


@pytest.mark.kafka
def test_a_copy_that_a_new_base_has_overtaken_is_not_used(log: Log, copies: Copies) -> None:
    warm = copies.take(0)
    assert warm is not None
    log.append([*DELTA, *NEW_BASE])
    log.delete_before(len(BASE) + len(DELTA))
    assert log.read(warm) == log.read()
    assert log.read().state("t") == {"a": b"4" * 1_000, "b": b"4" * 1_000}


@pytest.mark.kafka
def test_a_copy_that_does_not_lead_to_a_whole_state_is_not_used(log: Log, copies: Copies) -> None:
    warm = copies.take(0)
    assert warm is not None
    warm.restored.blocks.clear()
    log.append(DELTA)
    assert log.read(warm).state("t") == {"a": b"1" * 1_000, "b": b"2" * 1_000}
    other = Warm(log.read(), 1_000)  # of another log that was longer
    assert log.read(other) == log.read()


@pytest.mark.kafka
def test_copies_take_no_more_memory_than_they_may(log: Log) -> None:
    following = log.copies(standby_bytes=1_500)
    log.append(BASE)
    following.follow([0])
    try:
        eventually(lambda: following.held() == {}, "the copy is kept")
        assert following.take(0) is None
    finally:
        following.stop()


@pytest.mark.kafka
def test_a_copy_forgets_blocks_that_no_manifest_lists_any_more(log: Log, copies: Copies) -> None:
    for transaction in range(5, 15):
        log.append([block("b", transaction), manifest(transaction, {"a": 1, "b": transaction})])
    eventually(lambda: copies.held().get(0) == len(BASE) + 20, "the copy does not follow")
    warm = copies.take(0)
    assert warm is not None
    assert len(warm.restored.blocks) == 2


@pytest.mark.kafka
def test_what_lies_before_a_base_goes_even_if_its_writer_died_before_it_could_delete_it(log: Log) -> None:
    log.append([*BASE, *DELTA, *NEW_BASE])
    saver = StateSaver(log.config, [], 0, 1, StateLedger())
    saver.begin(log.read(), anew=False)
    readable = partial(log_range, log.config.connection, log.config.checkpoint_topic, 0)
    assert readable().low == 0, "this manifest names no base to go on from"
    begins = len(BASE) + len(DELTA) + len(NEW_BASE)
    log.append(
        [progress(5), block("a", 5), manifest(5, {"a": 5}, 1_000), progress(6), manifest(6, {"a": 5}, 1_000)]
    )
    saver.begin(log.read(), anew=False)
    eventually(lambda: readable().low == begins, "nothing is deleted")
    assert not saver.ledger.wants_base(2.0)
    assert log.read().state("t") == {"a": b"5" * 1_000}


STAGE = stage_of(replace(pipeline(), rules=()))


def saved(runner: StageRunner, saver: StateSaver, transaction: int) -> list[Entry]:
    positions = {STAGE.topic: transaction}
    written = [
        (r.key or b"", r.value or b"") for r in saver.records({STAGE.topic: runner}, transaction, positions)
    ]
    saver.saved()
    return [progress_record(Progress("me", transaction, positions, [])), *written]


@pytest.mark.kafka
def test_a_copy_is_a_task_that_follows(log: Log) -> None:
    """What was saved before and after the copy began, and after it was last read, is in the task that the taker gets."""
    runner = StageRunner.restored(STAGE, 0, Restored(), 0)
    saver = StateSaver(log.config, [STAGE], 0, 1, StateLedger())
    runner.task.process(columns([(f"g{i:05d}", 5, float(i)) for i in range(20_000)]))
    entries = saved(runner, saver, 1)
    log.append(entries)
    following = log.copies([STAGE])
    following.follow([0])
    try:
        for transaction in (2, 3):
            runner.task.process(columns([("g00007", 6, float(transaction))], 20_000 + transaction))
            log.append(saved(runner, saver, transaction))
        end = log.read().progress.transaction
        eventually(lambda: following.held().get(0, 0) > len(entries), "the copy does not follow")
        warm = following.take(0)
    finally:
        following.stop()
    assert end == 3
    assert warm is not None
    assert warm.size > 20_000 * 100, "tasks take more memory than their bytes"
    runner.task.process(columns([("new", 7, 1.0)], 20_004))
    log.append(saved(runner, saver, 4))
    found = log.read(warm)
    assert not found.blocks
    task = StageRunner.restored(STAGE, 0, found, 0).task
    cold = StageRunner.restored(STAGE, 0, log.read(), 0).task
    assert task.snapshot(full=True) == cold.snapshot(full=True) == runner.task.snapshot(full=True)


@pytest.mark.kafka
def test_a_copy_that_cannot_be_built_is_no_reason_not_to_read_the_log(log: Log) -> None:
    runner = StageRunner.restored(STAGE, 0, Restored(), 0)
    saver = StateSaver(log.config, [STAGE], 0, 1, StateLedger())
    runner.task.process(columns([("a", 1, 1.0)]))
    entries = saved(runner, saver, 1)
    log.append(entries)
    wrong = Restored(followers=Followers([STAGE], 0, signature_of([STAGE])))
    for key, value in entries:
        wrong.take(key, b"nonsense" if key.endswith(b"header") else value)
    task = StageRunner.restored(STAGE, 0, log.read(Warm(wrong, len(entries))), 0).task
    assert task.snapshot(full=True) == runner.task.snapshot(full=True)


@pytest.mark.kafka
def test_tasks_count_by_the_memory_they_take(log: Log) -> None:
    runner = StageRunner.restored(STAGE, 0, Restored(), 0)
    saver = StateSaver(log.config, [STAGE], 0, 1, StateLedger())
    runner.task.process(columns([(f"g{i:05d}", 5, float(i)) for i in range(20_000)]))
    entries = saved(runner, saver, 1)
    size = sum(len(value) for _, value in entries)
    following = log.copies([STAGE], standby_bytes=size + size // 10)
    log.append(entries)
    following.follow([0])
    try:
        eventually(lambda: following.held() == {}, "the copy is kept")
    finally:
        following.stop()
