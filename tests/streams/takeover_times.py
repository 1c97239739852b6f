"""How soon another worker publishes: after a stop, after a throttle to 5% of a core, after a kill with 500 MB of state.

Reproduce: ``python -m tests.streams.takeover_times stop|crawl|restore|standby [--runs 3]``. It starts a Kafka and workers
of its own. Times are of one clock, that of this process; outputs count once a reader of committed records has them.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Producer

from schemas.columns import Coded, Columns
from streams.checkpoint import Progress, Restored, StateLedger, progress_record
from streams.config import EngineConfig
from streams.pipeline import Pipeline
from streams.preflight import prepare
from streams.runner import StageRunner
from streams.saving import StateSaver
from streams.stages import stages_of
from streams.transactions import Record, TransactionalWriter
from tests.streams.cases import START, CountingCase, WindowCase, environment, feeding
from tests.streams.harness import PARTITIONS, Reader, Workers, make_topics, progress_of, throttled, workers
from tests.streams.harness import until as wait_until
from tidewatch.broker import start_brokers
from tidewatch.declarations import find_pipeline

PATIENCE = 150.0
SENSORS, READINGS = 1_250_000, 120  # about 410 bytes of state for each sensor
LARGE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(3_600_000), results="{source}.out", alerts="{source}.alert", idle_timeout_ms=None,
)
"""
Measured = dict[str, float]


def main() -> None:
    """Measure what is asked for, and print one JSON object a run."""
    measures: dict[str, Callable[[str, Path], Measured]] = {
        "stop": stop,
        "crawl": crawl,
        "restore": lambda bootstrap, folder: restore(bootstrap, folder, standbys=0),
        "standby": lambda bootstrap, folder: restore(bootstrap, folder, standbys=1),
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=measures)
    parser.add_argument("--runs", type=int, default=1)
    asked = parser.parse_args()
    with start_brokers(1) as kafka:
        for _ in range(asked.runs):
            with tempfile.TemporaryDirectory() as folder:
                found = measures[asked.what](kafka.connection["bootstrap.servers"], Path(folder))
            figures = {name: round(value, 2) for name, value in found.items()}
            sys.stdout.write(json.dumps({"what": asked.what, **figures, "load": os.getloadavg()[0]}) + "\n")
            sys.stdout.flush()


def stop(bootstrap: str, folder: Path) -> Measured:
    """SIGSTOP one of two workers with default settings; until every partition has results of later events."""
    case = WindowCase(bootstrap, f"stop-{uuid.uuid4().hex[:8]}", folder)
    command = [*case.command(), "--session-timeout", "10", "--state-interval", "10"]
    with feeding(case), workers(command, folder, environment(case)) as group:
        first, _ = _pair(group, lambda: case.visible() > 5)
        first.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        time.sleep(1.0)  # what it had sent before is under way
        before = case.outputs.counts("result")
        wait_until(
            lambda: all(n > m for n, m in zip(case.outputs.counts("result"), before, strict=True)),
            PATIENCE,
            "nobody went on",
        )
        return {"seconds": time.monotonic() - stopped}


def crawl(bootstrap: str, folder: Path) -> Measured:
    """Throttle one of two workers whose load needs a fifth of a core; until others have published on all its partitions."""
    case = CountingCase(bootstrap, f"crawl-{uuid.uuid4().hex[:8]}", state_interval=10.0)
    settings = {"COUNTING_WORK": "0.0005", "COUNTING_SESSION": "10"}
    with feeding(case), workers(case.command(), folder, settings) as group:
        first, owned = _pair(group, lambda: case.visible() > 50)
        before = {p: _owner(case, p) for p in owned}
        with throttled(first):
            began = time.monotonic()
            wait_until(
                lambda: (group.metric("tidewatch_takeovers_total") or 0) >= len(owned),
                PATIENCE,
                "no takeover",
            )
            taken = time.monotonic() - began
            wait_until(
                lambda: all(_owner(case, p) not in ("", owner) for p, owner in before.items()),
                PATIENCE,
                "nobody went on",
            )
            return {"taken": taken, "seconds": time.monotonic() - began}


def restore(bootstrap: str, folder: Path, *, standbys: int) -> Measured:
    """Kill the owner of a partition with 500 MB of state; until its heir is ready, and until it has published.

    ``started`` is what the first worker took to restore all partitions, ``restored`` what the heir took for those it inherited.
    """
    source = f"state-{uuid.uuid4().hex[:8]}"
    file = folder / "mine.py"
    file.write_text(LARGE.format(source=source))
    make_topics(bootstrap, source)
    size = _write_state(bootstrap, source, file)
    command = [
        sys.executable, "-m", "tidewatch", "worker", f"{file}:MINE", "--app-id", source, "--state-interval", "30",
    ]  # fmt: skip
    settings = {
        "TIDEWATCH_BOOTSTRAP": bootstrap,
        "TIDEWATCH_STANDBYS": str(standbys),
        "TIDEWATCH_STANDBY_BYTES": str(4 << 30),
    }
    with workers(command, folder, settings) as group:
        group.start()
        wait_until(lambda: len(_owned(group, 0)) == PARTITIONS, PATIENCE, lambda: group.log()[-2000:])
        cold = group.metric("tidewatch_restore_seconds_sum", 0) or 0.0
        _second(group, lambda: True)
        wait_until(
            lambda: not standbys or _is_built(group, size),
            PATIENCE,
            "no copy",
        )
        copied = _copied(group)
        owner = next(n for n in (0, 1) if 0 in _owned(group, n))
        heir = 1 - owner
        was = group.metric("tidewatch_restore_seconds_sum", heir) or 0.0
        known = group.metric("tidewatch_restore_seconds_count", heir) or 0.0
        reader = Reader(bootstrap, [f"{source}.dlq"])
        group.processes[owner].kill()
        killed = time.monotonic()
        producer = Producer({"bootstrap.servers": bootstrap})

        def published() -> bool:
            producer.produce(source, b"no reading", partition=0)
            producer.poll(0)
            reader.read(0.1)
            return bool(reader.messages[f"{source}.dlq", 0])

        wait_until(published, PATIENCE, lambda: f"nobody went on: {group.log(heir)[-2000:]}")
        took = time.monotonic() - killed
        reader.close()
        gained = PARTITIONS // 2
        wait_until(
            lambda: (group.metric("tidewatch_restore_seconds_count", heir) or 0) >= known + gained,
            PATIENCE,
            "not restored",
        )
        restored = (group.metric("tidewatch_restore_seconds_sum", heir) or 0.0) - was
        found = {"state_mb": size / 1e6, "started": cold, "restored": restored, "seconds": took}
        return found | {"copy_mb": copied / 1e6} if standbys else found


def _pair(group: Workers, working: Callable[[], bool]) -> tuple[subprocess.Popen[bytes], set[int]]:
    """Start two workers that share the partitions evenly; return the first and what it owns."""
    first = group.start()
    wait_until(
        lambda: len(_owned(group, 0)) == PARTITIONS and working(), PATIENCE, lambda: group.log()[-2000:]
    )
    _second(group, working)
    return first, _owned(group, 0)


def _second(group: Workers, working: Callable[[], bool]) -> None:
    """Start another worker, and wait until it has its share and both work."""
    group.start()
    half = PARTITIONS // 2
    wait_until(
        lambda: len(_owned(group, 0)) == len(_owned(group, 1)) == half, PATIENCE, lambda: group.log()[-2000:]
    )
    wait_until(working, PATIENCE, "no results")
    time.sleep(5.0)  # rebalancing is over and its delay worked off


def _owned(group: Workers, number: int) -> set[int]:
    """Return the partitions at which a worker stands ready."""
    return {
        p
        for p in range(PARTITIONS)
        if group.metric("tidewatch_position", number, partition=str(p)) is not None
    }


def _copied(group: Workers) -> float:
    """Return the bytes of copies that the worker with the most of them holds."""
    return max(group.metric("tidewatch_standby_bytes", n) or 0.0 for n in (0, 1))


def _is_built(group: Workers, size: int) -> bool:
    """Whether a copy of so many bytes of state is there and has been the same for a while."""
    before = _copied(group)
    time.sleep(3.0)
    return size <= before == _copied(group)


def _owner(case: CountingCase, partition: int) -> str:
    """Return who wrote the newest progress, "" where a new base has just deleted what was before it."""
    found = progress_of(case.bootstrap, case.app, partition)
    return found[-1].owner if found else ""


def _write_state(bootstrap: str, source: str, file: Path) -> int:
    """Commit a state of more than 500 MB to the checkpoint of partition 0, as a worker would; return its bytes."""
    pipeline = find_pipeline(f"{file}:MINE")
    assert isinstance(pipeline, Pipeline)
    stages = stages_of(pipeline, PARTITIONS)
    config = EngineConfig(source, {"bootstrap.servers": bootstrap}, transaction_timeout=120.0)
    prepare(config, stages, lambda _: None)
    runner = StageRunner.restored(stages[0], 0, Restored(), 0)
    runner.task.restore(_large_state(runner))
    positions = {source: 0}
    saver = StateSaver(config, stages, 0, PARTITIONS, StateLedger())
    progress = progress_record(Progress("writer", 1, positions, []))
    records = [Record(config.checkpoint_topic, 0, *progress), *saver.records({source: runner}, 1, positions)]
    writer = TransactionalWriter(config.connection, config.transactional_id(0), config.transaction_timeout, 0)
    writer.open()
    writer.write(records)
    writer.close()
    return sum(len(record.value or b"") for record in records[1:-1])


def _large_state(runner: StageRunner) -> dict[str, bytes]:
    """Return a state of more than 500 MB, kept in a file since it takes minutes to make."""
    kept = Path(tempfile.gettempdir()) / f"tidewatch-state-{SENSORS}-{READINGS}.msgpack"
    if not kept.exists():
        for first in range(0, SENSORS, 50_000):
            runner.task.process(_readings("any", first, 50_000))
        kept.write_bytes(msgspec.msgpack.encode(runner.snapshot(full=True)))
        runner.task = runner.stage.task(0)
    return msgspec.msgpack.decode(kept.read_bytes(), type=dict[str, bytes])


def _readings(source: str, first: int, sensors: int) -> Columns:
    """Return readings of so many sensors within one hour, spread over several orders of magnitude."""
    rng = np.random.default_rng(first)
    n = READINGS * sensors
    zeros = np.zeros(n, np.int32)
    names = [f"sensor-{number:08d}" for number in range(first, first + sensors)]
    code = np.tile(np.arange(sensors, dtype=np.int32), READINGS)
    times = START - START % 3_600_000 + np.arange(n, dtype=np.int64) % 3_000_000
    return Columns(
        source, 0, 0, 0, np.zeros(n, np.int64), zeros, times, times, {"value": np.exp(rng.normal(3.0, 2.0, n))},
        {"sensor_id": Coded(code, names), "quantity": Coded(zeros, ["temperature"]), "site": Coded(zeros, ["x"])},
        lambda _: (None, b""),
    )  # fmt: skip


if __name__ == "__main__":
    main()
