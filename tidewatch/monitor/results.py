"""Follows result and alert topics and shows, by site, what people want on a dashboard."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import msgspec
from confluent_kafka import Consumer, Message, TopicPartition
from prometheus_client import CollectorRegistry

from schemas.metrics import (
    QUANTITY_BUCKETS,
    SITE_ALERTS,
    SITE_COUNT,
    SITE_DROPPED,
    SITE_MEAN,
    SITE_QUANTILE,
    SITE_WINDOW_END,
    counter,
)
from schemas.results import Alert, WindowSummary
from schemas.safety import SignalChange, SignalState
from tidewatch.monitor.exposition import Family
from tidewatch.monitor.following import follower
from tidewatch.monitor.signals import SignalsExporter
from tidewatch.monitor.site_values import EDGES, LEVELS, SiteValues, by_quantity


class ResultsExporter:
    """Values by site and open alerts as metrics; ``take_*`` and ``show`` are called by one thread."""

    def __init__(self, registry: CollectorRegistry, budget: int) -> None:
        self._values = SiteValues(budget)
        self._open: dict[str, tuple[str, str, str]] = {}
        self._mean = Family(SITE_MEAN, registry)
        self._quantile = Family(SITE_QUANTILE, registry)
        self._count = Family(SITE_COUNT, registry)
        self._end = Family(SITE_WINDOW_END, registry)
        self._buckets = Family(QUANTITY_BUCKETS, registry)
        self._alerts = Family(SITE_ALERTS, registry)
        self._dropped = counter(SITE_DROPPED, registry)
        self._dropped_before = 0

    def take_summary(self, summary: WindowSummary, partition: int) -> None:
        """Take a window result."""
        self._values.add(summary, partition)

    def take_alert(self, alert: Alert) -> None:
        """Take an alert's transition."""
        if alert.state == "close":
            self._open.pop(alert.alert_id, None)
        else:
            self._open[alert.alert_id] = (alert.pipeline, alert.rule, alert.severity)

    def show(self) -> None:
        """Show what has been taken so far."""
        latest = self._values.latest()
        self._mean.show((series, value.mean) for series, value in latest.items())
        self._count.show((series, value.count) for series, value in latest.items())
        self._end.show((series, value.end / 1000) for series, value in latest.items())
        self._quantile.show(
            ((*series, f"{level:g}"), quantile)
            for series, value in latest.items()
            for level, quantile in zip(LEVELS, value.quantiles, strict=True)
        )
        self._buckets.show(
            ((*quantity, _bound(edge)), count)
            for quantity, counts in by_quantity(latest).items()
            for edge, count in zip(EDGES, counts, strict=True)
        )
        self._alerts.show(Counter(self._open.values()).items())
        self._dropped.inc(self._values.dropped - self._dropped_before)
        self._dropped_before = self._values.dropped


class ResultsFollower(threading.Thread):
    """Read every partition of the topics without a group, read_committed; metrics only, so nothing is kept or committed.

    Window results are read from the end on; alerts and signals from the beginning, since one that is open may have been raised
    long ago.
    """

    def __init__(
        self,
        connection: Mapping[str, str | int],
        windows: Sequence[str],
        alerts: Sequence[str],
        states: Sequence[str],
        changes: Sequence[str],
        exporter: ResultsExporter,
        signals: SignalsExporter,
        show_every: int = 1,
    ) -> None:
        super().__init__(name="tw-results", daemon=True)
        self._connection = connection
        self._windows = frozenset(windows)
        self._exporter, self._signals = exporter, signals
        self._takers: dict[str, Callable[[Message, bytes | None], None]] = {
            **dict.fromkeys(windows, self._summary),
            **dict.fromkeys(alerts, self._alert),
            **dict.fromkeys(states, self._state),
            **dict.fromkeys(changes, self._change),
        }
        self._show_every = show_every
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Ask the thread to end, and wait for it."""
        self._stopping.set()
        self.join(10)

    def run(self) -> None:
        """Follow the topics until stopped."""
        consumer = follower(self._connection)
        try:
            self._assign(consumer)
            while not self._stopping.is_set():
                for message in consumer.consume(5_000, self._show_every):
                    self._take(message)
                self._exporter.show()
                self._signals.show()
        finally:
            consumer.close()

    def _assign(self, consumer: Consumer) -> None:
        from confluent_kafka import OFFSET_BEGINNING, OFFSET_END

        known = consumer.list_topics(timeout=30).topics
        places = [
            TopicPartition(name, partition, OFFSET_END if name in self._windows else OFFSET_BEGINNING)
            for name in self._takers
            if name in known
            for partition in known[name].partitions
        ]
        consumer.assign(places)

    def _take(self, message: Message) -> None:
        if message.error() is not None:
            return
        # What was not written by a worker of this version is left out: a dashboard is no place to stop for it.
        with suppress(msgspec.DecodeError, ValueError):
            self._takers[str(message.topic())](message, message.value())

    def _summary(self, message: Message, value: bytes | None) -> None:
        self._exporter.take_summary(_decode_summary(value or b""), int(message.partition() or 0))

    def _alert(self, _: Message, value: bytes | None) -> None:
        self._exporter.take_alert(_decode_alert(value or b""))

    def _state(self, message: Message, value: bytes | None) -> None:
        self._signals.take_state((message.key() or b"").decode(), _decode_state(value) if value else None)

    def _change(self, _: Message, value: bytes | None) -> None:
        self._signals.take_change(_decode_change(value or b""))


_decode_summary = msgspec.json.Decoder(WindowSummary).decode
_decode_alert = msgspec.json.Decoder(Alert).decode
_decode_state = msgspec.json.Decoder(SignalState).decode
_decode_change = msgspec.json.Decoder(SignalChange).decode


def _bound(edge: float) -> str:
    return f"{edge:g}" if edge < float("inf") else "+Inf"
