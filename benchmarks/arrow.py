"""Arrow end to end: a topic filled by a gateway, drained by one worker, every result held against a recount.

Run ``python -m benchmarks.arrow [SMALL] [LARGE] [PER_WINDOW]``; start-up is differenced out by the two numbers of readings.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from confluent_kafka.admin import AdminClient

from benchmarks.drain import ENDINGS, Bench
from benchmarks.events import Workload
from benchmarks.oracle import Plain
from benchmarks.place import bench
from benchmarks.scenario import Scenario
from benchmarks.systems import systems
from benchmarks.texts import closing
from producers.gateway import Gateway, GatewayLimits
from producers.spool import SpoolLimits

ROWS = 4_000  # of a batch; four partitions make records of 1,000


class ArrowBench(Bench):
    """Fills topics through a gateway."""

    def fill(self, scenario: Scenario) -> str:
        """Make a topic of a workload's readings in Arrow records, unless it is there, and return its name."""
        if not isinstance(scenario, Workload):
            raise TypeError("a gateway takes readings only")
        workload, name = scenario, f"arrow.{scenario.name}"
        admin = AdminClient({"bootstrap.servers": self.bootstrap})
        if name in admin.list_topics(timeout=30).topics:
            return name
        self.make_topics([name + ending for ending in ENDINGS], workload.partitions)
        with tempfile.TemporaryDirectory() as spool:
            began, cpu = time.monotonic(), time.process_time()
            gateway = Gateway(
                {"bootstrap.servers": self.bootstrap},
                name,
                "bench",
                Path(spool),
                limits=GatewayLimits(batch_rows=ROWS),
                spool_limits=SpoolLimits(max_bytes=4 << 30),
            )
            for first in range(0, workload.events, ROWS):
                gateway.send_table(_table(workload, first, min(first + ROWS, workload.events)))
            gateway.send_table(_closers(workload))
            if not gateway.wait_until_delivered(120.0):
                raise RuntimeError(f"not delivered: {gateway.problem}")
            seconds, cpu = time.monotonic() - began, time.process_time() - cpu
            gateway.close(10.0)
        rate = {
            "events": workload.events,
            "gateway_seconds": seconds,
            "gateway_cpu_us": cpu / workload.events * 1e6,
        }
        sys.stderr.write(json.dumps(rate) + "\n")
        return name


def _table(workload: Workload, first: int, last: int) -> pa.Table:
    number = workload.key[first:last]
    names = pa.array([workload.sensor(i) for i in range(workload.keys)])
    sites = pa.array([f"city-{i:02d}" for i in range(10)])
    n = last - first
    zeros = pa.array(np.zeros(n, np.int8))
    return pa.table(
        {
            "sensor_id": pa.DictionaryArray.from_arrays(pa.array(number.astype(np.int32)), names),
            "site": pa.DictionaryArray.from_arrays(pa.array((number % 10).astype(np.int32)), sites),
            "quantity": pa.DictionaryArray.from_arrays(zeros, pa.array(["pm25"])),
            "unit": pa.DictionaryArray.from_arrays(zeros, pa.array(["ug/m3"])),
            "value": pa.array(workload.value[first:last]),
            "time": pa.array(workload.time[first:last]),
        }
    )


def _closers(workload: Workload) -> pa.Table:
    names = closing(workload.partitions)
    n = len(names)
    return pa.table(
        {
            "sensor_id": names, "site": ["city-00"] * n, "quantity": ["pm25"] * n, "unit": ["ug/m3"] * n,
            "value": [1.0] * n, "time": [int(workload.time[-1]) + 3_600_000] * n,
        }
    )  # fmt: skip


def main(small: int, large: int, per_window: int) -> None:
    """Measure, and print one JSON object."""
    system = systems()["tidewatch"]
    system.missing(print)  # compiles its loops, lest the smaller drain do it
    with bench() as place:
        made = ArrowBench(place.bootstrap, place.system_cores, place.broker_cores, place.directory)
        drains = []
        for events in (small, large):
            scenario = Plain(events, 1_000, per_window)
            made.fill(scenario)
            drains.append(made.drain(system, scenario, scenario.answer(), f"tw{events}", 100.0))
    a, b = drains
    more, seconds, cpu = b.events - a.events, b.seconds - a.seconds, b.cpu_seconds - a.cpu_seconds
    facts = {
        "readings_a_second": more / seconds,
        "cpu_us_a_reading": cpu / more * 1e6,
        "peak_mb": b.peak_mb,
        "seconds": [a.seconds, b.seconds],
        "cpu_seconds": [a.cpu_seconds, b.cpu_seconds],
        "faults": a.faults + b.faults,
    }
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(*(int(text) for text in (sys.argv[1:] + ["1000000", "9000000", "100"][len(sys.argv) - 1 :])))
