"""FHIR resources into counts, the tasks chained on one core without Kafka: ``python -m benchmarks.signals.clinical [COURSES]``."""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from producers.hospitals import Network, records
from producers.pseudonyms import Pseudonyms
from schemas.columns import Columns, RawBatch
from streams.derivation import DeriveTask
from streams.pipelines.pharma import HOSPITAL, PHARMA
from streams.report_task import ReportTask
from streams.task import Output, Task

_BATCH = 10_000
_NOW = 4_000_000_000_000


def batches(records: list[tuple[bytes | None, bytes | None]], topic: str) -> Iterator[RawBatch]:
    """Cut records into batches as they come from the log."""
    for start in range(0, len(records), _BATCH):
        part = records[start : start + _BATCH]
        n = len(part)
        offsets, times = np.arange(start, start + n, dtype=np.int64), np.full(n, _NOW)
        yield RawBatch(
            topic, 0, start, start + n, offsets, times, [key for key, _ in part], [value for _, value in part]
        )


def run(
    decode: Callable[[RawBatch], Columns], task: Task, records: list[tuple[bytes | None, bytes | None]]
) -> tuple[list[Output], float]:
    """Return all outputs and the seconds of CPU."""
    outputs: list[Output] = []
    given = list(batches(records, "bench"))
    started = time.process_time()
    for batch in given:
        outputs += task.process(decode(batch))
    return outputs, time.process_time() - started


def main() -> None:
    """Measure and print one JSON object."""
    gc.set_threshold(50_000, 20, 50)  # as workers have it
    network = Network(courses=int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
    sent = records(network, Pseudonyms(b"any key of sixteen bytes does"))
    resources: list[tuple[bytes | None, bytes | None]] = [(one.key, one.value) for one in sent]
    derived, deriving = run(HOSPITAL.decode, DeriveTask(HOSPITAL), resources)
    reports: list[tuple[bytes | None, bytes | None]] = [(o.key, o.value) for o in derived]
    found: dict[str, float] = {
        "resources": len(resources),
        "reports": len(reports),
        "deriving_us_a_resource": round(deriving / len(resources) * 1e6, 1),
    }
    for refresh in (1_000, 10_000):
        pipeline = replace(PHARMA, refresh=refresh)
        _, counting = run(pipeline.stage().decode, ReportTask(pipeline), reports)
        found[f"counting_us_a_report_refreshed_every_{refresh}"] = round(counting / len(reports) * 1e6, 1)
        found[f"resources_per_cpu_s_refreshed_every_{refresh}"] = round(
            len(resources) / (deriving + counting)
        )
    print(json.dumps(found | {"load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
