"""Zombies, rebalances, stuck and broken tasks, aborted sources, rolling upgrades: none changes a result."""

from __future__ import annotations

import re
import signal
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.streams.cases import CountingCase, environment, expected, feeding
from tests.streams.harness import (
    PARTITIONS,
    eventually,
    make_topics,
    progress_of,
    read,
    read_messages,
    send,
    workers,
    working_members,
)
from tests.streams.test_engine_kills import WARM, case_of


@pytest.fixture
def case(kafka: Any) -> CountingCase:
    return CountingCase(kafka.bootstrap, f"fault-{uuid.uuid4().hex[:8]}")


def owners_take_turns(case: CountingCase) -> None:
    """Once another has committed to a partition, the one before never commits there again."""
    for partition in range(PARTITIONS):
        owners = [progress.owner for progress in progress_of(case.bootstrap, case.app, partition)]
        turns = [owner for owner, before in zip(owners, [None, *owners], strict=False) if owner != before]
        assert len(turns) == len(set(turns))


def zombie(kafka: Any, folder: Path, kind: str) -> None:
    case = case_of(kind, kafka, folder)
    with feeding(case) as feed, workers(case.command(), folder, environment(case)) as group:
        frozen = group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        frozen.send_signal(signal.SIGSTOP)
        time.sleep(0.5)  # what it had sent before is under way
        seen = case.visible()
        group.start()
        eventually(lambda: case.visible() > seen, lambda: f"nobody took over: {group.log()[-3000:]}")
        frozen.send_signal(signal.SIGCONT)
        eventually(
            lambda: re.search("taken over|earlier owner ended", group.log(0)) is not None, "not noticed"
        )
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
    case.check(sent)
    owners_take_turns(case)  # type: ignore[arg-type]


@pytest.mark.kafka
def test_a_zombie_writes_nothing(kafka: Any, tmp_path: Path) -> None:
    zombie(kafka, tmp_path, "counting")


@pytest.mark.chaos
def test_a_zombie_with_windows_writes_nothing(kafka: Any, tmp_path: Path) -> None:
    zombie(kafka, tmp_path, "windows")


def scaling(kafka: Any, folder: Path, kind: str) -> None:
    case = case_of(kind, kafka, folder)
    with feeding(case) as feed, workers(case.command(), folder, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        second = group.start()
        group.start()
        eventually(lambda: working_members(case.bootstrap, case.app) == 3, "three workers never shared")
        seen = case.visible()
        eventually(lambda: case.visible() > seen, "three workers did not go on")
        assert (group.metric("tidewatch_rebalance_pause_seconds_count", 0) or 0) > 0
        second.terminate()
        eventually(lambda: working_members(case.bootstrap, case.app) == 2, "two workers never shared")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


@pytest.mark.chaos
def test_scaling_out_and_in_changes_no_result(kafka: Any, tmp_path: Path) -> None:
    scaling(kafka, tmp_path, "windows")


@pytest.mark.chaos
def test_scaling_a_counting_task_changes_no_result(kafka: Any, tmp_path: Path) -> None:
    scaling(kafka, tmp_path, "counting")


def rolling_upgrade(case: CountingCase, folder: Path, fleet: int) -> None:
    """Swap old workers for new ones, one by one; the new build fetches and commits at other sizes."""
    new = {"COUNTING_FETCH": "137", "COUNTING_EMISSION": "0.03"}
    with feeding(case) as feed, workers(case.command(), folder) as group:
        old = [group.start() for _ in range(fleet)]
        eventually(lambda: working_members(case.bootstrap, case.app) == fleet, "the old ones never shared")
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        for process in old:
            group.start(None, **new)
            eventually(
                lambda: working_members(case.bootstrap, case.app) == fleet + 1, "the new one never shared"
            )
            seen = case.visible()
            process.terminate()
            assert process.wait(60) == 0
            eventually(lambda seen=seen: case.visible() > seen + WARM, "the swap stopped the results")  # type: ignore[misc]
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


@pytest.mark.kafka
def test_a_rolling_upgrade_under_load_changes_no_result(case: CountingCase, tmp_path: Path) -> None:
    rolling_upgrade(case, tmp_path, 1)


@pytest.mark.chaos
def test_a_rolling_upgrade_of_several_changes_no_result(case: CountingCase, tmp_path: Path) -> None:
    rolling_upgrade(case, tmp_path, 3)


@dataclass(frozen=True, slots=True)
class Fates:
    """A worker on four partitions, each with a trouble of its own: what it said and showed before it was killed, and what is there
    once an heir has gone on."""

    case: CountingCase
    log: str
    stopped: dict[int, float | None]


@pytest.fixture(scope="module")
def fates(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Fates:
    case = CountingCase(kafka.bootstrap, f"fates-{uuid.uuid4().hex[:8]}")
    bootstrap, source = case.bootstrap, case.source
    make_topics(bootstrap, source)
    send(bootstrap, source, [b"1", b"2", b"-666", b"3", b"-666", b"4"], 0)
    send(bootstrap, source, [b"-777"], 1)
    send_with_an_abort(bootstrap, source, 1)
    send(bootstrap, source, [b"hang"], 2)
    send(bootstrap, source, [b"broken"], 3)
    with workers(case.command(), tmp_path_factory.mktemp("fates")) as group:
        victim = group.start()
        eventually(lambda: len(read(bootstrap, f"{source}.out", 0)) >= 4, lambda: group.log()[-2000:])
        eventually(
            lambda: any(p.positions[source] == 10 for p in progress_of(bootstrap, case.app, 1)),
            lambda: f"the position never passed the markers: {group.log()[-2000:]}",
        )
        eventually(
            lambda: group.metric("tidewatch_partition_stopped", partition="3") == 1,
            lambda: f"the broken one is not seen: {group.log()[-2000:]}",
        )
        stopped = {
            p: group.metric("tidewatch_partition_stopped", partition=str(p)) for p in range(PARTITIONS)
        }
        log = group.log()
        victim.kill()
        victim.wait()
        group.start()
        for partition in (0, 1):
            send(bootstrap, source, [b"5"], partition)
        eventually(lambda: len(read(bootstrap, f"{source}.out", 0)) >= 5, lambda: group.log()[-2000:])
        eventually(lambda: len(read(bootstrap, f"{source}.out", 1)) >= 6, lambda: group.log()[-2000:])
    return Fates(case, log, stopped)


def send_with_an_abort(bootstrap: str, source: str, partition: int) -> None:
    """Send two records in a transaction, two in one that is aborted, and two more in a third."""
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": source})
    producer.init_transactions()
    for committed in (True, False, True):
        producer.begin_transaction()
        for value in (b"1", b"2") if committed else (b"1000", b"1000"):
            producer.produce(source, value, partition=partition)
        producer.flush()
        if committed:
            producer.commit_transaction()
        else:
            producer.abort_transaction()


@pytest.mark.kafka
def test_poisonous_rows_are_dead_lettered_once_and_the_rest_goes_on(fates: Fates) -> None:
    bootstrap, source = fates.case.bootstrap, fates.case.source
    assert read(bootstrap, f"{source}.out", 0) == expected(5)
    letters = read_messages(bootstrap, f"{source}.dlq", 0)
    assert [letter.value() for letter in letters] == [b"-666", b"-666"]
    assert {dict(letter.headers())["tidewatch.error.code"] for letter in letters} == {b"processing"}


@pytest.mark.kafka
def test_a_failure_that_does_not_come_again_changes_nothing(fates: Fates) -> None:
    assert "only once" in fates.log
    assert read(fates.case.bootstrap, f"{fates.case.source}.out", 1)[0] == b"1 -777"
    assert read(fates.case.bootstrap, f"{fates.case.source}.dlq", 1) == []


@pytest.mark.kafka
def test_an_aborted_transaction_is_never_counted(fates: Fates) -> None:
    found = read(fates.case.bootstrap, f"{fates.case.source}.out", 1)
    assert found == [b"1 -777", b"2 -776", b"3 -774", b"4 -773", b"5 -771", b"6 -766"]


@pytest.mark.kafka
def test_neither_a_stuck_nor_a_broken_partition_holds_the_others(fates: Fates) -> None:
    assert fates.stopped == {0: 0, 1: 0, 2: 0, 3: 1}
    assert "partition 3 is stopped" in fates.log
    assert "no row is to blame" in fates.log
    for partition in (2, 3):
        assert read(fates.case.bootstrap, f"{fates.case.source}.out", partition) == []


@pytest.mark.chaos
def test_a_restore_that_hangs_holds_neither_the_heartbeats_nor_the_other_partitions(
    case: CountingCase, tmp_path: Path
) -> None:
    """The member stays beyond the session timeout and the poll interval, in one generation, and the others go on."""
    with feeding(case), workers(case.command(), tmp_path) as group:
        group.start("restore-read:1:hang:2")
        counts = lambda: [len(read(case.bootstrap, f"{case.source}.out", p)) for p in (0, 1, 3)]  # noqa: E731
        eventually(lambda: min(counts()) >= WARM, lambda: group.log()[-2000:])
        time.sleep(2.5 * 4.0)  # the poll interval is twice the session timeout of 4 s
        before = counts()
        eventually(
            lambda: all(now > then for now, then in zip(counts(), before, strict=True)), "they stopped"
        )
        assert read(case.bootstrap, f"{case.source}.out", 2) == []
        assert group.metric("tidewatch_rebalance_total") == 1
