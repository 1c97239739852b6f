"""What watching costs, and how soon people see an alert: ``python -m benchmarks.people exporter|metrics|console|alerts``.

``console`` needs Chromium, ``alerts`` Prometheus' Alertmanager; both are taken from the path.
"""

from __future__ import annotations

import cProfile
import itertools
import json
import os
import pstats
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import psutil
import yaml
from confluent_kafka import Producer
from prometheus_client import CollectorRegistry

from schemas.results import WindowSummary
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping
from tidewatch.broker import start_brokers

BUDGET = 500
VIEWERS = 10
ALERTS = 20
PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.threshold import Threshold

WATCHED = Pipeline(
    name="watched", source="iot.sensor.reading.v1", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(1_000), out_of_orderness_ms=0, rules=(Threshold(name="hot", source="mean", above=30.0, severity="critical"),),
)
"""


# --- the exporter


def exporter() -> dict[str, Any]:
    """Scrape a monitor that has spent its whole budget, over 60 topics of 4 partitions and 5 groups, by HTTP."""
    from tidewatch.monitor.cluster import GroupLook, PartitionLook, Snapshot
    from tidewatch.monitor.exporter import Exporter
    from tidewatch.monitor.exposition import Exposition, serve
    from tidewatch.monitor.history import History
    from tidewatch.monitor.results import ResultsExporter

    registry = Exposition()
    results, cluster, history = ResultsExporter(registry, BUDGET), Exporter(registry), History(60.0)
    for site, quantity, end in itertools.product(range(BUDGET // 4), range(4), (1, 2)):
        results.take_summary(_summary(f"site-{site}", f"quantity-{quantity}", end * 10_000), 0)
    places = [(f"topic-{number}", partition) for number in range(60) for partition in range(4)]
    look = Snapshot(
        0.0, 3, {place: PartitionLook(0, 1_000, 3, 3, True) for place in places},
        {f"group-{n}": GroupLook(True, dict.fromkeys(places[: 4 * 10], 900)) for n in range(5)},
    )  # fmt: skip
    history.add(look)
    cluster.show(look, history)
    results.show()
    server, thread = serve(registry, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.server_port}/metrics"
    took, body = [], b""
    for _ in range(50):
        began = time.perf_counter()
        body = urllib.request.urlopen(url, timeout=30).read()
        took.append(1000 * (time.perf_counter() - began))
    server.shutdown()
    server.server_close()
    thread.join(5)
    lines = body.decode().splitlines()
    return {
        "series": sum(not line.startswith("#") for line in lines),
        "kB": len(body) // 1000,
        "ms": _spread(took),
    }


def _summary(site: str, quantity: str, end: int) -> WindowSummary:
    (sketch,) = encode_many(
        LogMapping(0.01), np.array([0, 30]), np.arange(400, 430).astype(np.int32), np.full(30, 7, np.int64)
    )
    labels = {"site": site, "quantity": quantity}
    return WindowSummary(
        id=f"p|{site}|{end}", pipeline="p", group=f"{site}/{quantity}", labels=labels, start=end - 10_000, end=end, revision=0,
        count=210, sum=4_200.0, mean=20.0, variance=1.0, min=11.5, max=31.25, first=20.0, last=20.0, quantiles={}, alpha=0.01,
        sketch=sketch,
    )  # fmt: skip


# --- metric code in a worker


def metrics() -> dict[str, Any]:
    """Profile the thread of a partition, air quality over 400,000 events, in its own CPU time."""
    from confluent_kafka.admin import AdminClient

    from benchmarks.events import Workload
    from producers.loader import load
    from schemas.topics import all_topics, checkpoint_spec
    from streams.config import EngineConfig
    from streams.fetcher import Delivery, Fetcher
    from streams.metrics import Metrics
    from streams.pipelines.air_quality import AIR_QUALITY
    from streams.stages import stage_of
    from streams.unit import Unit
    from tidewatch.topics import create
    from tidewatch.warm import warm_up

    with start_brokers(1) as kafka:
        create(AdminClient({**kafka.connection}), [*all_topics(), checkpoint_spec("bench", 4)])
        load(kafka.connection, AIR_QUALITY.source, Workload(1_600_000).records())
        stages, registry = [stage_of(AIR_QUALITY, 4)], CollectorRegistry()
        warm_up(stages)

        def deliver(delivery: Delivery) -> None:
            unit.submit(delivery)

        config = EngineConfig("bench", kafka.connection)
        fetcher = Fetcher(config, deliver, lambda _: None, lambda _: None)
        unit = Unit(0, 4, stages, config, fetcher, Metrics(registry), lambda *_: None)
        profile, run = cProfile.Profile(time.thread_time), unit.run
        unit.run = lambda: profile.runcall(run)  # type: ignore[method-assign]
        began = time.process_time()
        fetcher.start()
        unit.start()
        before, still = -1.0, 0
        while still < 5:
            time.sleep(1)
            done = registry.get_sample_value("tidewatch_events_processed_total") or 0.0
            before, still = done, still + 1 if done == before and done > 0 else 0
        used = time.process_time() - began
        unit.stop(30)
        unit.join(60)
        fetcher.stop()
    stats = pstats.Stats(profile)
    inside = _seconds_in(stats, "streams/metrics.py")
    total: float = stats.total_tt  # type: ignore[attr-defined]
    return {
        "events": int(before), "cpu_s_of_the_thread": round(total, 2), "cpu_s_of_the_process": round(used, 2),
        "metric_code_ms": round(1000 * inside, 1), "of_the_thread": f"{100 * inside / total:.2f}%",
        "of_the_process": f"{100 * inside / used:.2f}%",
    }  # fmt: skip


def _seconds_in(stats: pstats.Stats, file: str) -> float:
    """Return the time spent in calls into a file from elsewhere, with all that they call."""
    return sum(
        edge[3]
        for (where, _, _), (_, _, _, _, callers) in stats.stats.items()  # type: ignore[attr-defined]
        if where.endswith(file)
        for (caller, _, _), edge in callers.items()
        if not caller.endswith(file)
    )


# --- the console


def console() -> dict[str, Any]:
    """Watch a city of 10,000 series through the console: its size, first paint, frames, and its CPU with ten viewers."""
    with ExitStack() as stack:
        kafka = stack.enter_context(start_brokers(1))
        run = _Runs(stack, kafka.bootstrap)
        run.once("topics", "create")
        metrics_at = run.started("worker", "air-quality", "--metrics-port", "0", until="metrics on ")
        run.started("simulate", "--sensors", "2500", "--sites", "25", "--rate", "2000", "--seconds", "600")
        address = run.started(
            "console", "air-quality", "--worker", metrics_at, "--port", "0", until="console at "
        ).rstrip(";")
        process = psutil.Process(run.last.pid)
        time.sleep(30)
        alone = _cpu_share(process, 15)
        payload = urllib.request.urlopen(f"{address}?format=json", timeout=30).read()
        stop = threading.Event()
        viewers = [threading.Thread(target=_view, args=(address, stop)) for _ in range(VIEWERS)]
        for viewer in viewers:
            viewer.start()
        time.sleep(3)
        shared = _cpu_share(process, 20)
        stop.set()
        for viewer in viewers:
            viewer.join(10)
        seen = _in_chromium(address)
    static = sum(file.stat().st_size for file in Path("tidewatch/console/static").iterdir())
    return {
        "keys": 10_000, "static_kB": static / 1000, "payload_kB": len(payload) / 1000,
        "cpu_of_a_core_alone": f"{100 * alone:.1f}%", "cpu_of_a_core_with_ten_viewers": f"{100 * shared:.1f}%", **seen,
    }  # fmt: skip


def _view(address: str, stop: threading.Event) -> None:
    with urllib.request.urlopen(f"{address}events", timeout=30) as answer:
        while not stop.is_set():
            answer.readline()


def _cpu_share(process: psutil.Process, seconds: float) -> float:
    before, began = sum(process.cpu_times()[:2]), time.monotonic()
    time.sleep(seconds)
    return float(sum(process.cpu_times()[:2]) - before) / (time.monotonic() - began)


def _in_chromium(address: str) -> dict[str, Any]:
    from playwright.sync_api import sync_playwright

    frames = """() => new Promise(done => { const gaps = []; let last = performance.now(); const begun = last;
        const step = now => { gaps.push(now - last); last = now; now - begun < 10000 ? requestAnimationFrame(step) : done(gaps); };
        requestAnimationFrame(step); })"""
    paint = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        paints = []
        for _ in range(5):
            page = browser.new_context().new_page()
            page.goto(address)
            page.wait_for_function(paint)
            paints.append(page.evaluate(paint))
        page.wait_for_function("() => document.body.dataset.updated")
        gaps = page.evaluate(frames)
        browser.close()
    return {"first_paint_ms": _spread(paints), "frame_gap_ms": _spread(gaps)}


# --- how soon an alert is seen


class _Received(BaseHTTPRequestHandler):
    """Keeps when which alert first came."""

    firing: ClassVar[dict[str, float]] = {}

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        for alert in body["alerts"]:
            if alert["status"] == "firing":
                self.firing.setdefault(alert["labels"].get("alert_id", ""), time.time())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def alerts() -> dict[str, Any]:
    """Time alerts from the sending of the row that closes their window to the console and, through Alertmanager, a webhook."""
    with ExitStack() as stack:
        kafka = stack.enter_context(start_brokers(1))
        run = _Runs(stack, kafka.bootstrap)
        run.once("topics", "create")
        (run.directory / "watched.py").write_text(PIPELINE)
        name = f"{run.directory / 'watched.py'}:WATCHED"
        run.started("worker", name, "--metrics-port", "0", until="metrics on ")
        address = run.started("console", name, "--port", "0", until="console at ").rstrip(";")
        hook = ThreadingHTTPServer(("127.0.0.1", 0), _Received)
        threading.Thread(target=hook.serve_forever, daemon=True).start()
        stack.callback(hook.shutdown)
        run.started("alerts", "notify", "--alertmanager", run.alertmanager(hook.server_port))
        shown: dict[str, float] = {}
        threading.Thread(target=_watch, args=(address, shown), daemon=True).start()
        time.sleep(15)
        producer, moments = Producer({**kafka.connection, "acks": "all", "linger.ms": 0}), {}
        start = int(time.time()) * 1000 - 600_000
        for number in range(ALERTS):
            _row(producer, start + 2_000 * number, 50.0)
            time.sleep(1.5)
            moments[start + 2_000 * number] = time.time()
            _row(producer, start + 2_000 * number + 1_000, 10.0)
            time.sleep(4.5)
    return {
        "alerts": len(moments),
        "console_s": _spread(_delays(moments, shown)),
        "webhook_s": _spread(_delays(moments, _Received.firing)),
    }


def _row(producer: Producer, moment: int, value: float) -> None:
    row = {
        "sensor_id": "s",
        "site": "north",
        "quantity": "pm25",
        "unit": "ug/m3",
        "value": value,
        "time": moment,
    }
    producer.produce("iot.sensor.reading.v1", json.dumps(row).encode(), b"s", 0)
    producer.flush(10)


def _delays(moments: Mapping[int, float], seen: Mapping[str, float]) -> list[float]:
    """Return how long after its window closed each alert was seen; its id ends in the time at which it opened."""
    opened = {int(name.rpartition("|")[2]): at for name, at in seen.items() if name}
    missing = [moment for moment in moments if not {moment, moment + 1_000} & opened.keys()]
    if missing:
        raise RuntimeError(f"{len(missing)} alerts were not seen")
    return [opened.get(moment, opened.get(moment + 1_000, 0.0)) - at for moment, at in moments.items()]


def _watch(address: str, shown: dict[str, float]) -> None:
    with urllib.request.urlopen(f"{address}events", timeout=60) as answer:
        for line in answer:
            if line.startswith(b"data: "):
                for alert in json.loads(line[6:])["alerts"]:
                    if alert["state"] != "close":
                        shown.setdefault(alert["alert_id"], time.time())


# --- processes


class _Runs:
    """Tidewatch's verbs as processes of their own, ended in the end."""

    def __init__(self, stack: ExitStack, bootstrap: str) -> None:
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tw-people-")))
        self._stack = stack
        self._environment = os.environ | {"TIDEWATCH_BOOTSTRAP": bootstrap}
        self._number = itertools.count()
        self.last: subprocess.Popen[bytes]

    def once(self, *arguments: str) -> None:
        """Run a verb to its end."""
        command = [sys.executable, "-m", "tidewatch", *arguments]
        subprocess.run(command, env=self._environment, check=True, capture_output=True)

    def started(self, *arguments: str, until: str = "") -> str:
        """Start a verb and return the word after ``until`` in what it says."""
        return self.program([sys.executable, "-m", "tidewatch", *arguments], until)

    def program(self, command: list[str], until: str = "") -> str:
        """Start a program and return the word after ``until`` in what it says."""
        log = self.directory / f"{next(self._number)}.log"
        with log.open("wb") as output:
            self.last = subprocess.Popen(
                command, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._stack.callback(_ended, self.last)
        deadline = time.monotonic() + 60
        while until and until not in log.read_text(errors="replace"):
            if time.monotonic() > deadline:
                raise RuntimeError(log.read_text(errors="replace"))
            time.sleep(0.1)
        return log.read_text(errors="replace").partition(until)[2].split()[0] if until else ""

    def alertmanager(self, hook: int) -> str:
        """Start an Alertmanager with the committed routes and return its address."""
        config = yaml.safe_load(Path("grafana/prometheus/alertmanager.yml").read_text())
        config["receivers"][0]["webhook_configs"] = [{"url": f"http://127.0.0.1:{hook}/"}]
        (self.directory / "alertmanager.yml").write_text(yaml.safe_dump(config))
        self.program(
            [
                shutil.which("prometheus-alertmanager") or "alertmanager", f"--config.file={self.directory}/alertmanager.yml",
                f"--storage.path={self.directory}/am", "--cluster.listen-address=", "--web.listen-address=127.0.0.1:19093",
            ],
            until="Listening",
        )  # fmt: skip
        return "http://127.0.0.1:19093"


def _ended(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _spread(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": round(statistics.median(ordered), 3), "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "max": round(ordered[-1], 3),
    }  # fmt: skip


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    "exporter": exporter, "metrics": metrics, "console": console, "alerts": alerts,
}  # fmt: skip

if __name__ == "__main__":
    for part in sys.argv[1:] or PARTS:
        sys.stdout.write(json.dumps({part: PARTS[part](), "load": os.getloadavg()[0]}, indent=2) + "\n")
