"""Runs the monitor: look, keep, show, until told to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaException

from tidewatch.monitor.canary import CanaryBook, CanaryRunner
from tidewatch.monitor.cluster import ClusterReader
from tidewatch.monitor.exporter import Exporter
from tidewatch.monitor.exposition import Exposition, serve
from tidewatch.monitor.history import History
from tidewatch.monitor.results import ResultsExporter, ResultsFollower
from tidewatch.monitor.signals import SignalsExporter


def run_monitor(
    connection: Mapping[str, str | int],
    *,
    host: str,
    port: int,
    interval: float,
    window: float,
    budget: int,
    canary: float,
    stopping: threading.Event,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.time,
) -> None:
    """Serve the monitor's metrics until ``stopping`` is set; looks every ``interval`` seconds and judges by those of ``window``.

    Sends canaries every ``canary`` seconds, none at 0. A cluster that does not answer is counted and asked again: the monitor
    outlives what it watches.
    """
    registry = Exposition()
    exporter, history = Exporter(registry), History(window)
    reader = ClusterReader(connection, clock)
    results, signals = ResultsExporter(registry, budget), SignalsExporter(registry)
    server, serving = serve(registry, host, port)
    say(f"metrics on http://{host}:{server.server_port}/metrics")
    book = CanaryBook(registry)
    follower: ResultsFollower | None = None
    canaries: CanaryRunner | None = None
    try:
        while not stopping.is_set():
            began = time.monotonic()
            try:
                snapshot = reader.look()
            except KafkaException as error:
                exporter.failed()
                say(f"Kafka does not answer: {error.args[0].str()}")
            else:
                history.add(snapshot)
                exporter.show(snapshot, history)
                if follower is None or not follower.is_alive():
                    follower = _follow(connection, results, signals)
                if canary and (canaries is None or not canaries.is_alive()):
                    canaries = CanaryRunner(connection, book, canary, say)
                    canaries.start()
            stopping.wait(max(interval - (time.monotonic() - began), 0.05))
    finally:
        for thread in (follower, canaries):
            if thread is not None:
                thread.stop()
        server.shutdown()
        server.server_close()
        serving.join(5)


def _follow(
    connection: Mapping[str, str | int], results: ResultsExporter, signals: SignalsExporter
) -> ResultsFollower:
    from schemas.results import Alert, WindowSummary
    from schemas.safety import SignalChange, SignalState
    from sinks.decoding import topics_of

    follower = ResultsFollower(
        connection,
        topics_of(WindowSummary),
        topics_of(Alert),
        topics_of(SignalState),
        topics_of(SignalChange),
        results,
        signals,
    )
    follower.start()
    return follower
