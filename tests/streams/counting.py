"""A pipeline whose every output shows how many records came before it, so that a lost or doubled one is seen at once.

Run as a program it is a worker: ``python counting.py SOURCE[,SOURCE...] BOOTSTRAP [STATE_INTERVAL]``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from schemas.columns import Columns, RawBatch
from streams.config import EngineConfig, Stage
from streams.task import Blocks, Output

NEVER = -(1 << 63)
POISON = b"-666"
FLAKY = b"-777"


def decode(batch: RawBatch) -> Columns:
    """Decode records that are decimal integers; 'hang' makes the thread stick for ever, 'broken' fails always."""
    values = list(batch.values)
    n = len(values)
    if b"hang" in values:
        time.sleep(3600)
    if b"broken" in values:
        raise RuntimeError("no row is to blame")
    numbers = np.array([float(value or 0) for value in values])
    rows = np.zeros(n, np.int32)
    return Columns(
        batch.topic, batch.partition, batch.start, batch.next, batch.offsets, rows, batch.log_times,
        batch.log_times, {"value": numbers}, {}, lambda i: (None, values[i] or b""),
    )  # fmt: skip


class Counting:
    """Publish count and sum so far with every record; fail at a poisonous one, and once at a flaky one.

    ``ballast`` bytes of state, different at each count, make snapshots as large as a test wants, ``work`` seconds of CPU time its
    records as dear.
    """

    watermark = 0
    max_event_time = NEVER
    stumbled = False
    ballast = int(os.environ.get("COUNTING_BALLAST", "0"))
    work = float(os.environ.get("COUNTING_WORK", "0"))

    def __init__(self, partition: int = 0) -> None:  # noqa: ARG002
        self.count = self.sum = 0

    def process(self, columns: Columns) -> list[Output]:
        outputs = []
        done = time.thread_time() + self.work * len(columns)
        while self.work and time.thread_time() < done:
            pass
        for value in columns.numbers["value"]:
            if value == float(POISON):
                raise ValueError("poison")
            if value == float(FLAKY) and not Counting.stumbled:
                Counting.stumbled = True
                raise ConnectionError("only once")
            self.count += 1
            self.sum += int(value)
            outputs.append(Output("result", None, b"%d %d" % (self.count, self.sum)))
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        return [Output("alert", None, b"idle %d %d" % (position, watermark))]

    def snapshot(self, *, full: bool) -> Blocks:  # noqa: ARG002
        blocks: Blocks = {"state": b"%d %d" % (self.count, self.sum)}
        if self.ballast:
            blocks["ballast"] = self._ballast()
        return blocks

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        if blocks:
            self.count, self.sum = map(int, blocks["state"].split())
            assert not self.ballast or blocks["ballast"] == self._ballast()

    def _ballast(self) -> bytes:
        return np.random.default_rng(self.count).bytes(self.ballast)


def stage(source: str, signature: str = "counting-1") -> Stage:
    """Return the stage on ``source``."""
    outputs = {
        "result": f"{source}.out",
        "alert": f"{source}.alert",
        "late": f"{source}.late",
        "dead": f"{source}.dlq",
    }
    return Stage(source, decode, Counting, outputs, signature)  # type: ignore[arg-type]


def work(sources: list[str], bootstrap: str, state_interval: float) -> None:
    """Run a worker until it is told to stop; the first source names the app."""
    from prometheus_client import CollectorRegistry, start_http_server

    from streams.app import create_app
    from streams.engine import Engine
    from streams.errors import EngineError
    from streams.metrics import Metrics
    from streams.preflight import prepare

    config = EngineConfig(
        sources[0],
        {"bootstrap.servers": bootstrap},
        state_interval=state_interval,
        session_timeout=float(os.environ.get("COUNTING_SESSION", "4")),
        emission_interval=float(os.environ.get("COUNTING_EMISSION", "0.1")),
        fetch_records=int(os.environ.get("COUNTING_FETCH", "20000")),
        accept_loss=bool(os.environ.get("COUNTING_ACCEPT_LOSS")),
        takeover_after=float(os.environ.get("COUNTING_TAKEOVER", "10")),
        standbys=int(os.environ.get("COUNTING_STANDBYS", "0")),
    )
    stages = [stage(source, os.environ.get("COUNTING_SIGNATURE", "counting-1")) for source in sources]

    def fatal(error: BaseException) -> None:
        sys.stderr.write(f"{error}\n")
        sys.stderr.flush()
        os._exit(3)

    try:
        partitions = prepare(config, stages, lambda _: None)
    except EngineError as error:
        fatal(error)
    registry = CollectorRegistry()
    server, _ = start_http_server(0, "127.0.0.1", registry)
    sys.stderr.write(f"metrics on http://127.0.0.1:{server.server_port}/metrics\n")
    engine = Engine(config, stages, partitions, Metrics(registry), fatal)
    app = create_app(engine, datadir=tempfile.mkdtemp())
    app.Worker(loglevel="INFO", redirect_stdouts=False).execute_from_commandline()


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    work(sys.argv[1].split(","), sys.argv[2], float(sys.argv[3]) if len(sys.argv) > 3 else 0.5)
