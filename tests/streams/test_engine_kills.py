"""Killing workers at named points changes no result: every partition's outputs are byte-equal to an undisturbed run."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

import pytest

from streams.failpoints import POINTS
from tests.streams.cases import Case, CountingCase, WindowCase, environment, feeding
from tests.streams.harness import Workers, backlog, eventually, workers

RESTORING = ("restore-begin", "restore-read", "replay")
REBALANCING = ("assigned", "revoked", "revoke")
WORKING = tuple(point for point in POINTS if point not in RESTORING + REBALANCING)
SEED = 20250614
WARM = 50  # results in every partition before anybody is killed


def case_of(kind: str, kafka: Any, folder: Path) -> Case:
    name = f"kill-{uuid.uuid4().hex[:8]}"
    if kind == "windows":
        return WindowCase(kafka.bootstrap, name, folder)
    return CountingCase(kafka.bootstrap, name)


def drawn(kind: str, points: tuple[str, ...]) -> tuple[str, str]:
    """Choose a point by seed, and how often it is passed before it strikes."""
    rng = random.Random(f"{SEED} {kind} {points}")
    point = rng.choice(points)
    return kind, f"{point}:{rng.randint(1, 20) if point in WORKING else 1}"


QUICK = [
    drawn("windows", WORKING),
    drawn("windows", RESTORING),
    drawn("counting", REBALANCING),
]
EVERY = [drawn(kind, (point,)) for kind in ("windows", "counting") for point in POINTS]


def kill_at(case: Case, logs: Path, failpoint: str) -> None:
    point = failpoint.split(":", maxsplit=1)[0]
    with feeding(case) as feed, workers(case.command(), logs, environment(case)) as group:
        group.start()
        eventually(lambda: case.visible() >= WARM, lambda: f"no results: {group.log()[-3000:]}")
        if point in RESTORING:
            kill_restoring(group, failpoint)
        elif point in REBALANCING:
            kill_rebalancing(group, failpoint)
        else:
            group.arm(failpoint)
            group.died(0, failpoint)
        # A kill of an idle worker would prove nothing: this one had published, and events were waiting for it.
        assert backlog(case.bootstrap, case.app, case.source) > 0
        group.start()
        seen = case.visible()
        eventually(lambda: case.visible() > seen, lambda: f"nobody went on: {group.log()[-3000:]}")
        sent = feed.stop()
        eventually(lambda: case.done(sent), lambda: f"results are missing: {group.log()[-3000:]}")
        case.check(sent)


def kill_restoring(group: Workers, failpoint: str) -> None:
    """Kill one that has state and published more since, and then its heir, who reads that state."""
    group.arm("batch-processed:3")
    group.died(0, "batch-processed")
    group.start(failpoint)
    group.died(1, failpoint)


def kill_rebalancing(group: Workers, failpoint: str) -> None:
    """Kill the one that works when another joins."""
    group.arm(failpoint)
    group.start()
    group.died(0, failpoint)


@pytest.mark.kafka
@pytest.mark.parametrize(("kind", "failpoint"), QUICK)
def test_kill_changes_no_result(kafka: Any, tmp_path: Path, kind: str, failpoint: str) -> None:
    kill_at(case_of(kind, kafka, tmp_path), tmp_path, failpoint)


@pytest.mark.chaos
@pytest.mark.parametrize(("kind", "failpoint"), EVERY)
def test_kill_anywhere_changes_no_result(kafka: Any, tmp_path: Path, kind: str, failpoint: str) -> None:
    kill_at(case_of(kind, kafka, tmp_path), tmp_path, failpoint)
