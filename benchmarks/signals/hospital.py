"""FHIR resources through Kafka into counts, on one worker: ``python -m benchmarks.signals.hospital [COURSES]``."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

import psutil
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.signals.clinical import run
from producers.hospitals import Network, records
from producers.loader import load
from producers.pseudonyms import Pseudonyms
from schemas.topics import all_topics
from streams.derivation import DeriveTask
from streams.pipelines.pharma import HOSPITAL, PHARMA
from tidewatch.broker import start_brokers

_PATIENCE = 200.0
_COUNTED = {"new", "changed", "repeated", "retracted", "unknown"}


def main() -> None:
    """Send the resources, start a worker, and print how fast they were derived and counted."""
    network = Network(courses=int(sys.argv[1]) if len(sys.argv) > 1 else 150_000)
    sent = records(network, Pseudonyms(b"any key of sixteen bytes does"))
    resources: list[tuple[bytes | None, bytes | None]] = [(one.key, one.value) for one in sent]
    reports = len(run(HOSPITAL.decode, DeriveTask(HOSPITAL), resources)[0])
    with start_brokers(1) as kafka, TemporaryDirectory() as folder:
        wanted = [spec for spec in all_topics() if spec.name.startswith(("pharma.", "hospital."))]
        admin = AdminClient(dict(kafka.connection))  # held, lest it be gone before it has answered
        topics = [NewTopic(spec.name, spec.partitions, 1, config=spec.config) for spec in wanted]
        for future in admin.create_topics(topics).values():
            future.result(30)
        load(kafka.connection, HOSPITAL.source, [(one.key, one.value) for one in sent])
        with _worker(kafka.bootstrap, Path(folder) / "log") as (worker, address):
            started, cpu = _reach(address, "tidewatch_events_received_total", 1), _cpu(worker)
            ended = _reach(address, "tidewatch_reports_total", reports)
            cpu = _cpu(worker) - cpu
    seconds = ended - started
    found = {
        "resources": len(resources), "reports": reports, "seconds": round(seconds, 1), "worker_cpu_s": round(cpu, 1),
        "resources_per_s": round(len(resources) / seconds), "resources_per_cpu_s": round(len(resources) / cpu),
        "load_before": round(os.getloadavg()[1], 1),
    }  # fmt: skip
    print(json.dumps(found))


@contextmanager
def _worker(bootstrap: str, log: Path) -> Iterator[tuple[psutil.Process, str]]:
    """Run a worker of both pipelines; give its process and the address of its metrics."""
    pipelines = [HOSPITAL.name, PHARMA.name, "--app-id", "bench", "--metrics-port", "0"]
    command = [sys.executable, "-m", "tidewatch", "worker", *pipelines]
    with log.open("wb") as output:
        child = subprocess.Popen(command, env=os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap}, stderr=output)
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (found := re.search(r"metrics on (\S+)", log.read_text())):
            if time.monotonic() > deadline:
                raise TimeoutError(log.read_text())
            time.sleep(0.05)
        yield psutil.Process(child.pid), found[1]
    finally:
        child.terminate()
        child.wait(60)


def _reach(address: str, metric: str, least: float) -> float:
    """Wait until a metric of the worker is so large, and return when."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        text = urlopen(address, timeout=30).read().decode()
        if _total(text, metric) >= least:
            return time.monotonic()
        time.sleep(0.2)
    raise TimeoutError(f"{metric} never came to {least}")


def _total(text: str, metric: str) -> float:
    """Return the sum over a metric's labels; of what became of reports, those that say it of each report once."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == metric and sample.labels.get("outcome", "new") in _COUNTED
    )


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system


if __name__ == "__main__":
    main()
