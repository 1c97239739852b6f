"""The console's self-check: is what the page shows true, fresh and well?"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

import msgspec

from tidewatch.live.snapshot import Snapshot

State = Literal["ok", "warning", "error"]

STALE_MS = 5_000
LAG_SECONDS = 10.0
DEAD_SHARE = 0.05


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was looked at, how it is, and what to do about it."""

    name: str
    state: State
    detail: str
    remedy: str = ""


def checks(snapshot: Snapshot, now_ms: int) -> tuple[Check, ...]:
    """Return all checks of a snapshot at wall-clock time ``now_ms``."""
    return tuple(check for make in _ALL for check in make(snapshot, now_ms))


def _cluster(snapshot: Snapshot, now_ms: int) -> Iterator[Check]:
    if snapshot.looked and now_ms - snapshot.looked < STALE_MS:
        age = max(0, now_ms - snapshot.looked) / 1000
        yield Check(name="Kafka answers", state="ok", detail=f"last looked {age:.1f} s ago")
    else:
        said = snapshot.problem or "no answer yet"
        yield Check(
            name="Kafka answers",
            state="error",
            detail=f"everything here may be old: {said}",
            remedy="Look with `tidewatch broker status`, or at the cluster that TIDEWATCH_BOOTSTRAP names.",
        )


def _workers(snapshot: Snapshot, _: int) -> Iterator[Check]:
    away = [worker.name for worker in snapshot.workers if not worker.alive]
    if not snapshot.workers:
        yield Check(
            name="workers answer",
            state="warning",
            detail="no worker's address is known, so owners and watermarks are not",
            remedy="Name them: --worker http://127.0.0.1:PORT/metrics (each worker prints its own).",
        )
    elif away:
        yield Check(
            name="workers answer",
            state="error" if len(away) == len(snapshot.workers) else "warning",
            detail=f"no answer from {', '.join(away)}",
            remedy="Start a worker in its place; the others take over its partitions meanwhile.",
        )
    else:
        yield Check(
            name="workers answer", state="ok", detail=f"{len(snapshot.workers)} of {len(snapshot.workers)}"
        )


def _owners(snapshot: Snapshot, _: int) -> Iterator[Check]:
    orphans = [f"{row.topic}[{row.partition}]" for row in snapshot.partitions if not row.owner]
    if snapshot.workers and orphans:
        yield Check(
            name="partitions have owners",
            state="warning",
            detail=f"nobody owns {', '.join(orphans[:4])}"
            + (f" and {len(orphans) - 4} more" if len(orphans) > 4 else ""),
            remedy="Right after a worker's death this lasts for its session timeout; if it stays, start a worker.",
        )
    elif snapshot.workers:
        yield Check(name="partitions have owners", state="ok", detail=f"all {len(snapshot.partitions)}")


def _stopped(snapshot: Snapshot, _: int) -> Iterator[Check]:
    if snapshot.stopped:
        yield Check(
            name="no partition is stopped",
            state="error",
            detail=f"an error stopped partition {', '.join(map(str, snapshot.stopped))}",
            remedy="The worker's log says why and what to do.",
        )
    else:
        yield Check(name="no partition is stopped", state="ok", detail="none")


def _lag(snapshot: Snapshot, _: int) -> Iterator[Check]:
    pace = max(snapshot.processed_per_s, snapshot.produced_per_s)
    slow = snapshot.lag > LAG_SECONDS * max(pace, 1.0)
    yield Check(
        name="workers keep up",
        state="warning" if slow else "ok",
        detail=f"{snapshot.lag:,} events wait, {snapshot.processed_per_s:,.0f} a second are processed",
        remedy="Start more workers, up to one a partition." if slow else "",
    )


def _dead(snapshot: Snapshot, _: int) -> Iterator[Check]:
    dead = sum(snapshot.dead.values())
    share = dead / snapshot.processed if snapshot.processed else 0.0
    bad = share > DEAD_SHARE
    yield Check(
        name="input is good",
        state="warning" if bad else "ok",
        detail=f"{dead:,} dead letters, {share:.2%} of what was processed",
        remedy="See the reasons under dead letters, and mend the producer." if bad else "",
    )


def _operations(snapshot: Snapshot, _: int) -> Iterator[Check]:
    said = snapshot.operations
    if said is None:
        return
    for number, alert in enumerate(said.firing, 1):
        yield Check(
            name=f"{alert.name} ({number})",
            state="error" if alert.severity == "critical" else "warning",
            detail=alert.summary,
            remedy=alert.remedy and f"See {alert.remedy}.",
        )
    if said.problem:
        yield Check(
            name="no alert is firing",
            state="warning",
            detail=said.problem,
            remedy="Look at the address that --alertmanager gives.",
        )
    elif not said.firing:
        yield Check(name="no alert is firing", state="ok", detail="Alertmanager has none about the operation")


_ALL: tuple[Callable[[Snapshot, int], Iterator[Check]], ...] = (
    _cluster,
    _workers,
    _owners,
    _stopped,
    _lag,
    _dead,
    _operations,
)
