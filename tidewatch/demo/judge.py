"""Reads everything back, as any reader would, and judges the published results by the recount."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from schemas.results import Alert, WindowSummary
from sinks.reader import read_to_end
from streams.pipeline import Pipeline
from tidewatch.demo.feeds import Ledger, digest_of
from tidewatch.demo.recount import Recount, recount
from tidewatch.demo.verdict import (
    Place,
    Verdict,
    compare_places,
    compare_windows,
    place_of_dead,
    place_of_late,
    window_ms,
)
from tidewatch.live.records import headers_of

Connection = Mapping[str, str | int]


@dataclass(slots=True)
class Published:
    """What read_committed readers see of all pipelines together."""

    windows: dict[str, list[WindowSummary]] = field(default_factory=lambda: defaultdict(list))
    alerts: list[Alert] = field(default_factory=list)
    late: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    dead: dict[str, list[Place]] = field(default_factory=lambda: defaultdict(list))
    codes: Counter[str] = field(default_factory=Counter)


def read_published(connection: Connection, pipelines: Sequence[Pipeline]) -> Published:
    """Read the output topics of pipelines from beginning to end."""
    found = Published()
    results, alerts = {p.results for p in pipelines}, {p.alerts for p in pipelines}
    summary, alert = msgspec.json.Decoder(WindowSummary).decode, msgspec.json.Decoder(Alert).decode
    outputs = sorted({topic for pipeline in pipelines for topic in pipeline.outputs.values()})
    for batch in read_to_end(connection, outputs):
        for message in batch:
            topic, value = message.topic() or "", message.value() or b""
            if topic in results:
                window = summary(value)
                found.windows[window.pipeline].append(window)
            elif topic in alerts:
                found.alerts.append(alert(value))
            elif topic.endswith(".late"):
                found.late[topic].append(place_of_late(headers_of(message)))
            else:
                place, code = place_of_dead(headers_of(message))
                found.dead[topic].append(place)
                found.codes[code] += 1
    return found


def recount_source(
    connection: Connection, pipeline: Pipeline, ledger: Ledger
) -> tuple[dict[int, Recount], list[str]]:
    """Read a source topic back and recount it by partition; say where it is not what the producer delivered."""
    offsets: dict[int, list[int]] = defaultdict(list)
    values: dict[int, list[bytes]] = defaultdict(list)
    seen = Ledger()
    for batch in read_to_end(connection, [pipeline.source]):
        for message in batch:
            partition, value = message.partition() or 0, message.value() or b""
            offsets[partition].append(message.offset() or 0)
            values[partition].append(value)
            seen.accepted += 1
            seen.digest = (seen.digest + digest_of(message.key(), value)) % 2**64
    problems = []
    if not ledger.accepted == ledger.delivered == seen.accepted:
        problems.append(
            f"{pipeline.source}: {ledger.accepted} accepted, {ledger.delivered} delivered, {seen.accepted} on the topic"
        )
    elif ledger.digest != seen.digest:
        problems.append(f"{pipeline.source}: the records are not those that were sent")
    options = {"size_ms": window_ms(pipeline), "out_of_orderness_ms": pipeline.out_of_orderness_ms}
    return {p: recount(offsets[p], values[p], **options) for p in sorted(offsets)}, problems


def judge(connection: Connection, ledgers: Mapping[Pipeline, Ledger], published: Published) -> Verdict:
    """Compare windows, late rows and dead letters of all pipelines with their recounts, and look for doubled alerts."""
    verdict = Verdict()
    for pipeline, ledger in ledgers.items():
        truth, problems = recount_source(connection, pipeline, ledger)
        verdict.differences += problems
        verdict.add(compare_windows(pipeline, truth.values(), published.windows[pipeline.name]))
        for what in ("late", "dead"):
            expected = {(p, offset) for p, one in truth.items() for offset in getattr(one, what).tolist()}
            mine = getattr(published, what)[pipeline.outputs["late" if what == "late" else "dead"]]
            setattr(verdict, what, getattr(verdict, what) + len(expected))
            verdict.differences += compare_places(f"{what} record of {pipeline.name}", expected, mine)
    doubled = [name for name, n in Counter(alert.id for alert in published.alerts).items() if n > 1]
    verdict.differences += [f"alert published more than once: {name}" for name in doubled[:5]]
    return verdict
