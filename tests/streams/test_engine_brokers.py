"""One of three brokers dies and comes back, alone or together with a worker: no result changes."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.streams.cases import Case, CountingCase, WindowCase, environment, feeding
from tests.streams.harness import backlog, eventually, workers
from tests.streams.test_engine_kills import WARM
from tidewatch.broker import start_brokers
from tidewatch.broker.cluster import LocalKafka

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalKafka]:
    with start_brokers(3) as three:
        yield three


def case_on(cluster: LocalKafka, kind: str, folder: Path) -> Case:
    name = f"broker-{uuid.uuid4().hex[:8]}"
    if kind == "windows":
        return WindowCase(cluster.bootstrap, name, folder)
    return CountingCase(cluster.bootstrap, name)


@pytest.mark.parametrize(("kind", "victim"), [("counting", 0), ("windows", 1), ("counting", 2)])
def test_a_broker_dies_and_returns(cluster: LocalKafka, tmp_path: Path, kind: str, victim: int) -> None:
    case = case_on(cluster, kind, tmp_path)
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        cluster.kill(victim)
        seen = case.visible()
        eventually(
            lambda: case.visible() > seen + WARM, lambda: f"two brokers do not go on: {group.log()[-3000:]}"
        )
        cluster.restart(victim)
        seen = case.visible()
        eventually(lambda: case.visible() > seen + WARM, lambda: f"three do not go on: {group.log()[-3000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


@pytest.mark.parametrize("kind", ["counting", "windows"])
def test_a_worker_and_a_broker_die_at_once(cluster: LocalKafka, tmp_path: Path, kind: str) -> None:
    case = case_on(cluster, kind, tmp_path)
    with feeding(case) as feed, workers(case.command(), tmp_path, environment(case)) as group:
        worker = group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        worker.kill()
        cluster.kill(1)
        assert worker.wait(30) == -9
        time.sleep(0.5)
        assert backlog(case.bootstrap, case.app, case.source) > 0
        group.start()
        seen = case.visible()
        eventually(lambda: case.visible() > seen, lambda: f"nobody went on: {group.log()[-3000:]}")
        cluster.restart(1)
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)
