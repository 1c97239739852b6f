"""Asks workers how they are, at the address where they serve their metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT = 2.0

Source = tuple[str, int]


class WorkerFacts(msgspec.Struct, kw_only=True):
    """What one worker said: ``processed`` events since it started, positions and watermarks (ms) of what it owns."""

    url: str
    processed: float = 0.0
    results: float = 0.0
    positions: dict[Source, int] = msgspec.field(default_factory=dict)
    watermarks: dict[Source, int] = msgspec.field(default_factory=dict)
    stopped: tuple[int, ...] = ()


class _Targets(msgspec.Struct):
    targets: list[str]


def ask_all(urls: Sequence[str]) -> list[WorkerFacts]:
    """Return the facts of those workers that answer, in the order of their addresses."""
    if not urls:
        return []
    with ThreadPoolExecutor(min(len(urls), 8)) as pool:
        return [facts for facts in pool.map(ask, urls) if facts is not None]


def ask(url: str) -> WorkerFacts | None:
    """Return what the worker at ``url`` (``http://host:port/metrics``) says, ``None`` where nobody answers."""
    try:
        with urlopen(url, timeout=_TIMEOUT) as answer:
            return parse(url, answer.read().decode())
    except (URLError, OSError, ValueError):
        return None


def addresses_in(path: Path) -> dict[str, str]:
    """Return the metrics addresses by name (host:port) that a file for Prometheus' file_sd_configs lists.

    A file that is not there, or not a list of targets, has none: workers write it when they start.
    """
    try:
        groups = msgspec.json.decode(path.read_bytes(), type=list[_Targets])
    except (OSError, msgspec.MsgspecError):
        return {}
    return {target: f"http://{target}/metrics" for group in groups for target in group.targets}


def parse(url: str, text: str) -> WorkerFacts:
    """Read a worker's metrics in Prometheus' text format. Raises ValueError where it is none."""
    facts = WorkerFacts(url=url)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _note(facts, sample.name, sample.labels, sample.value)
    return facts


def merged(facts: Iterable[WorkerFacts]) -> dict[Source, WorkerFacts]:
    """Return who owns each source partition: of several that claim it, the one that is furthest."""
    owners: dict[Source, WorkerFacts] = {}
    for worker in facts:
        for source, position in worker.positions.items():
            known = owners.get(source)
            if known is None or position > known.positions[source]:
                owners[source] = worker
    return owners


def _note(facts: WorkerFacts, name: str, labels: dict[str, str], value: float) -> None:
    match name:
        case "tidewatch_events_processed_total":
            facts.processed = value
        case "tidewatch_results_total":
            facts.results += value
        case "tidewatch_position":
            facts.positions[labels["topic"], int(labels["partition"])] = int(value)
        case "tidewatch_watermark_timestamp_seconds":
            facts.watermarks[labels["topic"], int(labels["partition"])] = round(value * 1000)
        case "tidewatch_partition_stopped" if value:
            facts.stopped += (int(labels["partition"]),)
