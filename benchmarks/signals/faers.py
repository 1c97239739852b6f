"""FAERS through Kafka on one worker: ``python -m benchmarks.signals.faers FILE.csv.gz`` (columns CASEID, did, eid)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import psutil
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from producers.loader import load
from producers.reports import ReportColumns, encoded, report_rows, safety_reports
from schemas.safety import SignalState
from schemas.topics import all_topics
from streams.pipelines.pharma import FAERS
from tidewatch.broker import start_brokers

_PATIENCE = 600.0


def main() -> None:
    """Load the reports, start a worker, and print how long it took until the last state was published."""
    columns = ReportColumns("CASEID", "did", "eid")
    rows = report_rows(Path(sys.argv[1]), columns)
    with start_brokers(1) as kafka:
        connection: dict[str, str | int] = dict(kafka.connection)
        wanted = [spec for spec in all_topics() if spec.name.startswith("pharma.")]
        topics = [NewTopic(spec.name, spec.partitions, 1, config=spec.config) for spec in wanted]
        admin = AdminClient(dict(kafka.connection))  # held, lest it be gone before it has answered
        for future in admin.create_topics(topics).values():
            future.result(30)
        reports = safety_reports(rows, columns, source="faers", population="faers")
        sent = load(connection, FAERS.source, encoded(reports, lambda _: None)).delivered
        command = [sys.executable, "-m", "tidewatch", "worker", "faers", "--metrics-port", "0"]
        environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
        started = time.monotonic()
        worker = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        try:
            counted, finished, states = _watch(connection, sent, started)
            cpu = psutil.Process(worker.pid).cpu_times()
        finally:
            worker.terminate()
            worker.wait(60)
    found = {
        "reports": sent,
        "rows": len(rows),
        "all_counted_s": round(counted, 1),
        "all_pairs_refreshed_s": round(finished, 1),
        "worker_cpu_s": round(cpu.user + cpu.system, 1),
        "state_records": states,
        "load_before": round(os.getloadavg()[1], 1),
    }
    print(json.dumps(found))


def _watch(connection: dict[str, str | int], sent: int, started: float) -> tuple[float, float, int]:
    """Return when the last report was counted and when the last state came, in seconds, and how many states there are."""
    consumer = Consumer(
        {**connection, "group.id": "watch", "isolation.level": "read_committed", "enable.auto.commit": False}
    )
    decode, counted, before, changed = msgspec.json.Decoder(SignalState).decode, 0.0, 0, started
    try:
        while time.monotonic() - started < _PATIENCE:
            time.sleep(0.5)
            places = [TopicPartition(FAERS.states, partition) for partition in range(4)]
            ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
            total, now = sum(ends), time.monotonic()
            if total != before:
                before, changed = total, now
            if not total:
                continue
            busy = max(range(4), key=ends.__getitem__)
            # The last offsets are markers of transactions; a state is not far before them.
            consumer.assign([TopicPartition(FAERS.states, busy, max(ends[busy] - 20, 0))])
            values = [m.value() or b"" for m in consumer.consume(20, 1.0) if m.error() is None]
            newest = max((decode(value).received for value in values if value), default=0)
            if newest == sent and not counted:
                counted = now - started
            if newest == sent and now - changed > 8:
                return counted, changed - started, total
    finally:
        consumer.close()
    raise TimeoutError("the worker did not come to the end")


if __name__ == "__main__":
    main()
