"""A running Tidewatch with the real Prometheus and Alertmanager, all on loopback and ended with the test."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml

from tests.debian import program
from tidewatch.broker import start_brokers

RULES = Path(__file__).parents[2] / "grafana" / "prometheus"


class Webhook:
    """A real HTTP server that keeps what Alertmanager posts, with the time at which it came."""

    def __init__(self) -> None:
        self.received: list[tuple[float, dict[str, Any]]] = []
        kept = self.received

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kept.append((time.monotonic(), body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def states(self, alert: str) -> list[str]:
        """What was said of an alert, in order."""
        return [
            one["status"]
            for _, body in self.received
            for one in body["alerts"]
            if one["labels"]["alertname"] == alert
        ]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class Stack:
    """The parts by name; each can be killed and started again."""

    def __init__(self, directory: Path, bootstrap: str, webhook: Webhook) -> None:
        self.directory, self.bootstrap, self.webhook = directory, bootstrap, webhook
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ports = dict(
            zip(("worker", "monitor", "prometheus", "alertmanager"), free_ports(4), strict=True)
        )

    def start(self, name: str, command: list[str | Path]) -> None:
        environment = os.environ | {"TIDEWATCH_BOOTSTRAP": self.bootstrap}
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                command, stdout=log, stderr=subprocess.STDOUT, env=environment
            )

    def tidewatch(self, name: str, *arguments: str) -> None:
        self.start(name, [sys.executable, "-m", "tidewatch", *arguments])

    def worker(self) -> None:
        options = ["--metrics-port", str(self.ports["worker"]), "--session-timeout", "6"]
        self.tidewatch("worker", "worker", "air-quality", "pharma", "--app-id", "live", *options)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Ask Prometheus and return the series."""
        answer = self.get("prometheus", f"/api/v1/query?{urllib.parse.urlencode({'query': expression})}")
        assert answer["status"] == "success", (expression, answer)
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def get(self, name: str, path: str) -> Any:
        url = f"http://127.0.0.1:{self.ports[name]}{path}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            if error.code >= 500:
                raise  # it is still starting
            return json.loads(error.read())

    def log(self, name: str) -> str:
        return (self.directory / f"{name}.log").read_text(errors="replace")[-3000:]

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.terminate()
        for process in self.processes.values():
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


def until(condition: Callable[[], Any], seconds: float, what: Callable[[], str] | str) -> Any:
    """Wait for a condition and return what it gave."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        assert time.monotonic() < deadline, what if isinstance(what, str) else what()
        time.sleep(0.25)


@contextmanager
def running(directory: Path) -> Iterator[Stack]:
    """Give a broker, a city's readings at twenty times their speed, one worker, the monitor, Prometheus, Alertmanager."""
    with ExitStack() as stack:
        prometheus = program("prometheus", "prometheus")
        alertmanager = program("prometheus-alertmanager", "prometheus-alertmanager")
        kafka = stack.enter_context(start_brokers(1))
        webhook = Webhook()
        stack.callback(webhook.close)
        parts = Stack(directory, kafka.bootstrap, webhook)
        stack.callback(parts.close)
        parts.tidewatch("topics", "topics", "create")
        assert parts.processes["topics"].wait(120) in {0, 5}, parts.log("topics")
        parts.worker()
        parts.tidewatch(
            "monitor", "monitor", "--port", str(parts.ports["monitor"]), "--interval", "1", "--window", "10"
        )
        _configure(parts)
        ports = parts.ports
        parts.start(
            "alertmanager",
            [alertmanager, f"--config.file={directory / 'alertmanager.yml'}", "--cluster.listen-address=",
             f"--web.listen-address=127.0.0.1:{ports['alertmanager']}", f"--storage.path={directory / 'am'}"],
        )  # fmt: skip
        parts.start(
            "prometheus",
            [prometheus, f"--config.file={directory / 'prometheus.yml'}",
             f"--storage.tsdb.path={directory / 'tsdb'}", f"--web.listen-address=127.0.0.1:{ports['prometheus']}"],
        )  # fmt: skip
        parts.tidewatch("city", "simulate", "--sensors", "20", "--seconds", "3600", "--speed", "20")
        _send_reports(parts)
        url = f"http://127.0.0.1:{ports['alertmanager']}"
        parts.tidewatch("notifier", "alerts", "notify", "--alertmanager", url)
        until(lambda: parts.query("up"), 60, lambda: parts.log("prometheus"))
        yield parts


def _send_reports(parts: Stack) -> None:
    """Send reports of which one pair stands out: drug a and event x."""
    rng = random.Random(7)
    rows = ["id,drug,event,day"]
    for number in range(1_500):
        drug, event = ("a", "x") if number % 15 == 0 else (rng.choice("abcdef"), rng.choice("uvwxyz"))
        rows.append(f"{number},{drug},{event},2025-01-{1 + number // 50:02}")
    (parts.directory / "reports.csv").write_text("\n".join(rows) + "\n")
    parts.tidewatch("reports", "signals", "replay", str(parts.directory / "reports.csv"), "--report", "id", "--drug", "drug",
                    "--event", "event", "--population", "all")  # fmt: skip


def _configure(parts: Stack) -> None:
    """Write the committed configuration with this machine's addresses, and every wait cut to a second."""
    directory, ports = parts.directory, parts.ports
    (directory / "rules").mkdir()
    for name in ("recording.yml", "alerts.yml"):
        text = re.sub(r"(?m)^(\s+)for: .*$", r"\1for: 1s", (RULES / name).read_text())
        (directory / "rules" / name).write_text(text)
    config = yaml.safe_load((RULES / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [
        f"127.0.0.1:{ports['alertmanager']}"
    ]
    targets = {"tidewatch-worker": "worker", "tidewatch-monitor": "monitor", "prometheus": "prometheus"}
    # The sinks' job has nobody to ask here.
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in targets]
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{ports[targets[job['job_name']]]}"]
    (directory / "prometheus.yml").write_text(yaml.safe_dump(config))
    routes = yaml.safe_load((RULES / "alertmanager.yml").read_text())
    routes["receivers"][0]["webhook_configs"] = [{"url": parts.webhook.url, "send_resolved": True}]
    (directory / "alertmanager.yml").write_text(yaml.safe_dump(routes))
