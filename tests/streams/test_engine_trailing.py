"""Workers that get too little of a core are fenced by others, write nothing after that, and are spared for a while."""

from __future__ import annotations

import re
import uuid
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.streams.cases import CountingCase, feeding
from tests.streams.harness import PARTITIONS, eventually, throttled, workers, working_members, writers
from tests.streams.test_engine_faults import owners_take_turns
from tests.streams.test_engine_kills import WARM

# Records dear enough for a twentieth of a core to fall behind, and a session so long that only progress can give it away.
CRAWLING = {"COUNTING_WORK": "0.0005", "COUNTING_SESSION": "45", "COUNTING_TAKEOVER": "4"}


@pytest.fixture
def case(kafka: Any) -> CountingCase:
    return CountingCase(kafka.bootstrap, f"trail-{uuid.uuid4().hex[:8]}")


def later_owners_only(case: CountingCase) -> None:
    """In the logs as they are, aborted records and all, no batch of a fenced owner follows one of its heir's."""
    for partition in range(PARTITIONS):
        for topic in (f"{case.source}.out", f"tw.{case.app}.checkpoint"):
            found = writers(case.bootstrap, topic, partition)
            assert len({producer for producer, _ in found}) == 1  # one transactional id, whoever has it
            assert all(before[1] <= after[1] for before, after in pairwise(found)), (topic, partition)


@pytest.mark.chaos
def test_a_worker_that_crawls_is_fenced_and_then_writes_nothing(case: CountingCase, tmp_path: Path) -> None:
    with feeding(case) as feed, workers(case.command(), tmp_path, CRAWLING) as group:
        slow = group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        group.start()
        eventually(lambda: working_members(case.bootstrap, case.app) == 2, "two workers never shared")
        seen = case.visible()
        eventually(lambda: case.visible() > seen + WARM, lambda: f"nobody goes on: {group.log()[-3000:]}")
        with throttled(slow):
            eventually(
                lambda: group.metric("tidewatch_takeovers_total") == PARTITIONS // 2,
                lambda: f"nobody took over: {group.log()[-3000:]}",
            )
            seen = case.visible()
            eventually(lambda: case.visible() > seen + WARM, lambda: f"nobody goes on: {group.log()[-3000:]}")
        eventually(
            lambda: re.search("taken over|earlier owner ended", group.log(0)) is not None, "not noticed"
        )
        eventually(
            lambda: working_members(case.bootstrap, case.app) == 1,
            lambda: f"the slow one is not spared: {group.log(0)[-3000:]} {group.log()[-3000:]}",
        )
        seen = case.visible()
        eventually(lambda: case.visible() > seen + WARM, lambda: f"nobody goes on: {group.log()[-3000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        assert group.metric("tidewatch_takeovers_total") == PARTITIONS // 2
    case.check(sent)
    owners_take_turns(case)  # type: ignore[arg-type]
    later_owners_only(case)
