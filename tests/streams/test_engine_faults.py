"""Zombies, rebalances, stuck and poisoned tasks, aborted sources: none changes a result."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.streams.harness import complete, expected, feed, make_topics, read, until, workers
from tests.streams.test_engine_kills import check


@pytest.fixture
def source(kafka: Any) -> str:
    name = f"fault-{uuid.uuid4().hex[:8]}"
    make_topics(kafka.bootstrap, name)
    return name


@pytest.mark.kafka
def test_a_zombie_writes_nothing(kafka: Any, source: str, tmp_path: Path) -> None:
    count = 32_000
    feeding = threading.Thread(target=feed, args=(kafka.bootstrap, source, count, 4_000.0))
    feeding.start()
    with workers(kafka.bootstrap, source, tmp_path) as group:
        zombie = group.start()
        until(lambda: complete(kafka.bootstrap, source, 500), 30, "no results")
        zombie.send_signal(signal.SIGSTOP)
        group.start()
        feeding.join()
        until(lambda: complete(kafka.bootstrap, source, count // 4), 45, "nobody took over")
        zombie.send_signal(signal.SIGCONT)
        time.sleep(4)
        check(kafka.bootstrap, source, count // 4)


@pytest.mark.kafka
def test_scaling_out_and_in_changes_no_result(kafka: Any, source: str, tmp_path: Path) -> None:
    count = 32_000
    feeding = threading.Thread(target=feed, args=(kafka.bootstrap, source, count, 4_000.0))
    feeding.start()
    with workers(kafka.bootstrap, source, tmp_path) as group:
        group.start()
        until(lambda: complete(kafka.bootstrap, source, 500), 30, "no results")
        second, _ = group.start(), group.start()
        time.sleep(3)
        second.terminate()
        feeding.join()
        until(lambda: complete(kafka.bootstrap, source, count // 4), 45, "results are missing")
        check(kafka.bootstrap, source, count // 4)


@pytest.mark.kafka
def test_poisonous_rows_are_dead_lettered_once_and_the_rest_goes_on(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    for value in (b"1", b"2", b"-666", b"3", b"-666", b"4"):
        producer.produce(source, value, partition=0)
    producer.flush()
    with workers(kafka.bootstrap, source, tmp_path) as group:
        victim = group.start()
        until(lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) >= 4, 30, group.log(0)[-2000:])
        victim.kill()
        victim.wait()
        group.start()
        feed(kafka.bootstrap, source, 4, 100, first=16)
        until(lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) >= 5, 30, group.log(1)[-2000:])
    assert read(kafka.bootstrap, f"{source}.out", 0) == [*expected(4), b"5 15"]
    assert read(kafka.bootstrap, f"{source}.dlq", 0) == [b"-666", b"-666"]


@pytest.mark.kafka
def test_a_stuck_task_does_not_hold_the_others(kafka: Any, source: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap})
    producer.produce(source, b"hang", partition=2)
    producer.flush()
    with workers(kafka.bootstrap, source, tmp_path) as group:
        group.start()
        feed(kafka.bootstrap, source, 4_000, 10_000)
        until(lambda: complete(kafka.bootstrap, source, 1_000, (0, 1, 3)), 30, group.log(0)[-2000:])
        assert read(kafka.bootstrap, f"{source}.out", 2) == []


@pytest.mark.kafka
def test_an_aborted_transaction_is_never_counted(kafka: Any, source: str, tmp_path: Path) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": source})
    producer.init_transactions()
    for committed in (True, False, True):
        producer.begin_transaction()
        values = (b"1", b"2") if committed else (b"1000", b"1000")
        for value in values:
            producer.produce(source, value, partition=0)
        producer.flush()
        if committed:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    with workers(kafka.bootstrap, source, tmp_path) as group:
        group.start()
        until(lambda: len(read(kafka.bootstrap, f"{source}.out", 0)) >= 4, 30, group.log(0)[-2000:])
        time.sleep(0.5)
    assert read(kafka.bootstrap, f"{source}.out", 0) == [b"1 1", b"2 3", b"3 4", b"4 6"]


@pytest.mark.kafka
def test_another_definition_refuses_the_checkpoint_with_a_remedy(
    kafka: Any, source: str, tmp_path: Path
) -> None:
    with workers(kafka.bootstrap, source, tmp_path) as group:
        first = group.start()
        feed(kafka.bootstrap, source, 400, 10_000)
        until(lambda: complete(kafka.bootstrap, source, 100), 30, group.log(0)[-2000:])
        first.terminate()
        first.wait(15)
        changed = group.start(COUNTING_SIGNATURE="counting-2")
        until(lambda: changed.poll() is not None, 30, group.log(1)[-2000:])
        assert changed.returncode == 3
        assert "tidewatch reset" in group.log(1)
