"""Safety reports for tests: rows in short form, batches of them, and a plain recount."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from hypothesis import strategies as st

from schemas.columns import Columns, RawBatch
from schemas.safety import SafetyReport, SignalChange, SignalState
from schemas.wire_reports import decode_reports
from streams.report_task import ReportTask
from streams.task import Output, Task

START = 1_700_000_000_000
DAY = 86_400_000
_Task = TypeVar("_Task", bound=Task)


def report(number: int, drugs: str = "", events: str = "", day: float = 0, **fields: Any) -> SafetyReport:
    """Give a report whose drugs and events are single letters."""
    given = {"source": "a", "time": START + int(day * DAY), **fields}
    return SafetyReport(id=str(number), drugs=list(drugs), events=list(events), **given)


def columns(reports: Sequence[SafetyReport | bytes], first: int = 0) -> Columns:
    """Give reports, or raw bytes, as one decoded batch."""
    values = [r if isinstance(r, bytes) else msgspec.json.encode(r) for r in reports]
    n = len(values)
    offsets = np.arange(first, first + n, dtype=np.int64)
    batch = RawBatch(
        "reports", 0, first, first + n, offsets, np.full(n, START + 900 * DAY), [None] * n, values
    )
    return decode_reports(batch)


def counted(task: ReportTask) -> tuple[dict[tuple[str, str], int], Counter[str], Counter[str], int]:
    """Give a task's counts: pairs above 0, drugs, events, and the total."""
    drugs, events, contingency = task.counts()
    counts = contingency.counts()
    pairs: dict[tuple[str, str], int] = {}
    by_drug: Counter[str] = Counter()
    by_event: Counter[str] = Counter()
    for d, e, a, nd, ne in zip(
        counts.drug, counts.event, counts.a, counts.drug_total, counts.event_total, strict=True
    ):
        if a:
            pairs[drugs[d], events[e]] = int(a)
        by_drug[drugs[d]], by_event[events[e]] = int(nd), int(ne)
    return pairs, +by_drug, +by_event, counts.total


def recount(cases: Iterable[tuple[Sequence[str], Sequence[str]]]) -> tuple[Any, ...]:
    """Count cases from scratch, in the form of ``counted``."""
    pairs: Counter[tuple[str, str]] = Counter()
    by_drug: Counter[str] = Counter()
    by_event: Counter[str] = Counter()
    total = 0
    for drugs, events in cases:
        total += 1
        by_drug.update(set(drugs))
        by_event.update(set(events))
        pairs.update((d, e) for d in set(drugs) for e in set(events))
    return dict(pairs), by_drug, by_event, total


def states(outputs: Iterable[Output]) -> dict[str, SignalState]:
    """Give the latest state of every pair."""
    decoder = msgspec.json.Decoder(SignalState)
    found = (decoder.decode(o.value or b"") for o in outputs if o.kind == "result" and o.value)
    return {state.id: state for state in found}


def changes(outputs: Iterable[Output]) -> list[SignalChange]:
    """Give the steps of signals in order."""
    decoder = msgspec.json.Decoder(SignalChange)
    return [decoder.decode(o.value or b"") for o in outputs if o.kind == "alert"]


def headers(output: Output) -> dict[str, str]:
    """Give an output's headers as text."""
    return {name: value.decode() for name, value in output.headers}


def maybe_saved(data: st.DataObject, task: _Task, held: dict[str, bytes], anew: Callable[[], _Task]) -> _Task:
    """Perhaps save a task to the blocks held, whole or what changed, and perhaps go on with one restored from them."""
    if not data.draw(st.booleans()):
        return task
    full = data.draw(st.booleans())
    if full:
        held.clear()
    for name, block in task.snapshot(full=full).items():
        held.pop(name, None) if block is None else held.__setitem__(name, block)
    if data.draw(st.booleans()):
        task = anew()
        task.restore(held)
    return task
