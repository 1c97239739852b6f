"""What a worker says of itself: its metrics, at the address in its log."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

_ADDRESS = re.compile(r"metrics on (http://\S+)")


@dataclass(slots=True)
class Said:
    """What is read of a worker's metrics; ``longest_block`` is the bound of the bucket of the event loop's longest lag."""

    processed: float = 0.0
    cpu_seconds: float = 0.0
    commit_cpu_seconds: float = 0.0
    checkpoint_bytes: float = 0.0
    longest_block: float = 0.0
    restored: int = 0
    restore_seconds: float = 0.0
    positions: dict[int, int] = field(default_factory=dict)


def asked(log: Path) -> Said | None:
    """Return what the newest worker that writes this log says, None where there is none or it does not answer."""
    found = _ADDRESS.findall(log.read_text(errors="replace")) if log.exists() else []
    if not found:
        return None
    try:
        with urlopen(found[-1], timeout=5) as answer:
            return read(text_string_to_metric_families(answer.read().decode()))
    except (URLError, OSError):
        return None


def read(families: Iterable[Metric]) -> Said:
    """Read metrics as a worker exposes them."""
    said, below = Said(), list[tuple[float, float]]()
    for sample in (sample for family in families for sample in family.samples):
        match sample.name:
            case "tidewatch_events_processed_total":
                said.processed = sample.value
            case "process_cpu_seconds_total":
                said.cpu_seconds = sample.value
            case "tidewatch_checkpoint_cpu_seconds_total":
                said.commit_cpu_seconds += sample.value
            case "tidewatch_checkpoint_bytes_total":
                said.checkpoint_bytes = sample.value
            case "tidewatch_event_loop_lag_seconds_bucket":
                below.append((float(sample.labels["le"]), sample.value))
            case "tidewatch_restore_seconds_count":
                said.restored = int(sample.value)
            case "tidewatch_restore_seconds_sum":
                said.restore_seconds = sample.value
            case "tidewatch_position":
                said.positions[int(sample.labels["partition"])] = int(sample.value)
    most = max((count for _, count in below), default=0.0)
    said.longest_block = min((bound for bound, count in below if count == most and most), default=0.0)
    return said
