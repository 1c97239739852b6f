"""A gateway whose broker dies and that is killed itself, twice: windows equal a recount, nothing is lost, doubled or late."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from producers.spool_entries import Entry, scan
from schemas.codec import ARROW, Decoder
from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from schemas.results import WindowSummary
from tests.streams.harness import PARTITIONS, ROOT, Reader, eventually, make_topics, workers
from tidewatch.broker import start_brokers
from tidewatch.broker.cluster import LocalKafka

pytestmark = pytest.mark.slow

START = 1_750_000_000_000
TWO_HOURS = 7_200_000
STEP = 5_000  # between the readings of a site
DECLARATION = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, SourceWatermark, Tumbling

MINE = Pipeline(
    name="mine", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "site"),
    window=Tumbling(60_000), results="{source}.out", alerts="{source}.alert", idle_timeout_ms=None,
    watermark=SourceWatermark(label="site", max_lag_ms=3 * 3_600_000), resolution=0.1,
)
"""


@pytest.fixture
def broker() -> Iterator[LocalKafka]:
    with start_brokers(1) as one:
        yield one


def line(site: str, i: int) -> bytes:
    reading = {
        "sensor_id": f"{site}-{i % 5}", "site": site, "quantity": "temperature", "unit": "degC",
        "value": (i * 37 % 400) / 10, "time": START + i * STEP,
    }  # fmt: skip
    return json.dumps(reading).encode() + b"\n"


class GatewayProcess:
    """The real command, fed through a pipe."""

    def __init__(self, broker: LocalKafka, site: str, folder: Path, source: str, *more: str) -> None:
        command = [
            sys.executable, "-m", "tidewatch", "gateway", site, "--topic", source, "--spool", str(folder / site),
            "--batch", "100", "--linger", "0.2", "--partitions", str(PARTITIONS), "--drain", "90", "--json", *more,
        ]  # fmt: skip
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "TIDEWATCH_BOOTSTRAP": broker.bootstrap}
        self.spool = folder / site
        with (folder / f"{site}.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
            )

    def feed(self, lines: list[bytes]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"".join(lines))
        self.process.stdin.flush()

    def on_disk(self) -> set[int]:
        """The times of all readings in the segments."""
        return times_in(self.spool)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate()
        assert self.process.returncode == -signal.SIGKILL

    def end(self) -> dict[str, object]:
        out, _ = self.process.communicate(timeout=120)
        assert self.process.returncode == 0, out
        return dict(json.loads(out))


def times_in(spool: Path) -> set[int]:
    entries: list[Entry] = []
    for path in sorted(spool.glob("*.seg")):
        try:
            with path.open("rb") as file:
                entries += scan(file)
        except FileNotFoundError:  # delivered meanwhile
            continue
    n, decode = len(entries), Decoder(SENSOR_READING)
    numbers, values = np.arange(n), [entry.value for entry in entries]
    batch = RawBatch("t", 0, 0, n, numbers, np.full(n, -1), [None] * n, values, [ARROW] * n)
    return set(decode(batch).event_time.tolist()) if n else set()


def test_brokers_and_gateways_die_and_no_window_changes(
    broker: LocalKafka, tmp_path: Path, topic_prefix: str
) -> None:
    source, count = topic_prefix, TWO_HOURS // STEP
    make_topics(broker.bootstrap, source)
    (tmp_path / "mine.py").write_text(DECLARATION.format(source=source))
    command = [
        sys.executable, "-m", "tidewatch", "worker", f"{tmp_path / 'mine.py'}:MINE", "--app-id", source,
        "--session-timeout", "4", "--state-interval", "0.5",
    ]  # fmt: skip
    with workers(command, tmp_path, {"TIDEWATCH_BOOTSTRAP": broker.bootstrap}) as group:
        group.start()
        lines = {site: [line(site, i) for i in range(count)] for site in ("near", "far")}
        third, two_thirds = count // 3, 2 * count // 3

        # The far gateway delivers some, then its broker is away.
        far = GatewayProcess(broker, "far", tmp_path, source)
        far.feed(lines["far"][:third])
        reader = Reader(broker.bootstrap, [source])
        eventually(lambda: visible(reader, source, third // 100), "the gateway delivers nothing")
        reader.close()
        broker.kill(0)
        far.feed(lines["far"][third:two_thirds])
        newest = START + (two_thirds - 1) * STEP
        eventually(lambda: newest in far.on_disk(), "the gateway keeps nothing on disk")
        far.kill()

        # Started again without a broker, it takes more, and is killed while the broker comes back and it delivers.
        far = GatewayProcess(broker, "far", tmp_path, source)
        far.feed(lines["far"][two_thirds:-50])
        newest = START + (count - 51) * STEP
        eventually(lambda: newest in far.on_disk(), "the gateway started without a broker keeps nothing")
        broker.restart(0)

        # Meanwhile the near gateway has gone on for two hours, the first half of it with panes instead of readings.
        panes = GatewayProcess(
            broker, "near", tmp_path, source, "--aggregate", f"{tmp_path / 'mine.py'}:MINE"
        )
        panes.feed(lines["near"][: count // 2])
        assert panes.end()["delivered"] == count // 2
        near = GatewayProcess(broker, "near", tmp_path, source)
        near.feed(lines["near"][count // 2 :])
        assert near.end()["delivered"] == count - count // 2
        far.kill()
        # What was acknowledged is forgotten, as if the power had failed before it was written down: all of it goes again.
        (tmp_path / "far" / "acked").unlink()

        far = GatewayProcess(broker, "far", tmp_path, source)
        far.feed(lines["far"][-50:])
        facts = far.end()
        assert (facts["accepted"], facts["on_disk"]) == (50, False)

        # An event two windows on lets the last windows of each site close.
        for site in ("near", "far"):
            closing = GatewayProcess(broker, site, tmp_path, source)
            closing.feed([line(site, i) for i in range(count + 24, count + 29)])
            closing.end()
        expected = recount(lines)
        found = Results(broker.bootstrap, source)
        eventually(
            lambda: found.windows().keys() >= expected.keys(),
            lambda: (
                f"{len(expected.keys() - found.windows().keys())} windows are missing: {group.log()[-2000:]}"
            ),
        )
        windows = found.windows()
        assert {key: windows[key] for key in expected} == expected
        found.check_no_letters()
        found.close()
    # The test has bitten: records were sent again.
    assert repeated(broker.bootstrap, source) > 0


def visible(reader: Reader, source: str, records: int) -> bool:
    reader.read()
    return sum(len(reader.messages[source, p]) for p in range(PARTITIONS)) >= records


def repeated(bootstrap: str, source: str) -> int:
    reader = Reader(bootstrap, [source])
    reader.read_all()
    reader.close()
    keys = [message.key() for messages in reader.messages.values() for message in messages]
    return len(keys) - len(set(keys))


Key = tuple[str, int]


Facts = tuple[int, float, float, float]


def recount(lines: dict[str, list[bytes]]) -> dict[Key, Facts]:
    """Return count, sum, smallest and largest value of each window."""
    windows: dict[Key, list[float]] = defaultdict(list)
    for each in (json.loads(text) for site in lines.values() for text in site):
        windows[each["sensor_id"], each["time"] // 60_000 * 60_000].append(each["value"])
    return {
        key: (len(values), sum(round(10 * value) for value in values) / 10, min(values), max(values))
        for key, values in windows.items()
    }


class Results:
    """The windows that a reader sees, and the letters."""

    def __init__(self, bootstrap: str, source: str) -> None:
        self._source = source
        self._reader = Reader(bootstrap, [f"{source}.{suffix}" for suffix in ("out", "late", "dlq")])

    def windows(self) -> dict[Key, Facts]:
        self._reader.read()
        found: dict[Key, Facts] = {}
        for message in self._of("out"):
            summary = msgspec.json.decode(message, type=WindowSummary)
            key = summary.labels["sensor_id"], summary.start
            assert key not in found or summary.revision > 0
            found[key] = summary.count, summary.sum, summary.min, summary.max
        return found

    def check_no_letters(self) -> None:
        assert (self._of("late"), self._of("dlq")) == ([], [])

    def close(self) -> None:
        self._reader.close()

    def _of(self, suffix: str) -> list[bytes]:
        topic = f"{self._source}.{suffix}"
        return [m.value() or b"" for p in range(PARTITIONS) for m in self._reader.messages[topic, p]]
