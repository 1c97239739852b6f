"""Thousands of gauges in a few milliseconds: families that write their own lines, and the server that shows them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import inf, isfinite

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as Exposed
from prometheus_client.registry import Collector

from schemas.metrics import Metric

Labels = tuple[str, ...]
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Family(Collector):
    """A gauge with labels of which only those shown last remain. One thread shows, any may read."""

    def __init__(self, metric: Metric, registry: CollectorRegistry) -> None:
        if metric.kind != "gauge":
            raise ValueError(f"{metric.name} is declared as a {metric.kind}, not a gauge")
        self._metric = metric
        self._values: dict[Labels, float] = {}
        self._heads: dict[Labels, str] = {}
        registry.register(self)

    def show(self, values: Iterable[tuple[Labels, float | None]]) -> None:
        """Show the given series and no others; ``None`` is no value."""
        now = {labels: float(value) for labels, value in values if value is not None}
        self._heads = {labels: self._heads.get(labels) or self._head(labels) for labels in now}
        self._values = now

    def collect(self) -> Iterable[Exposed]:
        """Return the family as the client library wants it."""
        family = GaugeMetricFamily(self._metric.name, self._metric.help, labels=self._metric.labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        yield family

    def text(self) -> str:
        """Return the family in Prometheus' text format."""
        values, heads = self._values, self._heads
        lines = [f"# HELP {self._metric.name} {self._metric.help}\n# TYPE {self._metric.name} gauge\n"]
        lines += [
            f"{heads.get(labels) or self._head(labels)}{_number(value)}\n" for labels, value in values.items()
        ]
        return "".join(lines)

    def _head(self, labels: Labels) -> str:
        named = sorted(zip(self._metric.labels, labels, strict=True))
        pairs = ",".join([f'{name}="{_escaped(text)}"' for name, text in named])
        return f"{self._metric.name}{{{pairs}}} "


class Exposition(CollectorRegistry):
    """A registry that knows its families and lets them write themselves; the client library writes the rest."""

    def __init__(self) -> None:
        super().__init__()
        self._families: list[Family] = []
        self._others = CollectorRegistry()

    def register(self, collector: Collector) -> None:
        """Take a collector."""
        super().register(collector)
        if isinstance(collector, Family):
            self._families.append(collector)
        else:
            self._others.register(collector)

    def text(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._others) + "".join(family.text() for family in self._families).encode()


def serve(exposition: Exposition, host: str, port: int) -> tuple[ThreadingHTTPServer, threading.Thread]:
    """Serve metrics on a thread of its own and return the server and the thread; port 0 takes a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = exposition.text()
            self.send_response(200)
            self.send_header("Content-Type", TEXT)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: it is asked every few seconds."""

    server = ThreadingHTTPServer((host, port), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="tw-metrics", daemon=True)
    thread.start()
    return server, thread


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number(value: float) -> str:
    if isfinite(value):
        return repr(value)
    return "+Inf" if value == inf else "-Inf" if value == -inf else "NaN"
