"""Puts what the monitor sees into Prometheus metrics, under kafka_exporter's names where it has them."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry

from schemas.metrics import (
    MONITOR_BROKERS,
    MONITOR_END_OFFSET,
    MONITOR_GROUP_OFFSET,
    MONITOR_IN_SYNC,
    MONITOR_LAG,
    MONITOR_LAG_SECONDS,
    MONITOR_LEADERLESS,
    MONITOR_LOOKS,
    MONITOR_OLDEST_OFFSET,
    MONITOR_REPLICAS,
    MONITOR_VERDICT,
    MONITOR_WORKING,
    counter,
    gauge,
)
from tidewatch.monitor.cluster import Snapshot
from tidewatch.monitor.exposition import Family
from tidewatch.monitor.history import History
from tidewatch.monitor.verdict import VERDICTS, lag_seconds, verdict

_OUTCOMES: Final = ("answered", "failed")


class Exporter:
    """The monitor's metrics in one registry; series of what is gone go with the next snapshot."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._brokers = gauge(MONITOR_BROKERS, registry)
        self._looks = counter(MONITOR_LOOKS, registry)
        self._working = Family(MONITOR_WORKING, registry)
        self._end = Family(MONITOR_END_OFFSET, registry)
        self._oldest = Family(MONITOR_OLDEST_OFFSET, registry)
        self._replicas = Family(MONITOR_REPLICAS, registry)
        self._in_sync = Family(MONITOR_IN_SYNC, registry)
        self._leaderless = Family(MONITOR_LEADERLESS, registry)
        self._committed = Family(MONITOR_GROUP_OFFSET, registry)
        self._lag = Family(MONITOR_LAG, registry)
        self._lag_seconds = Family(MONITOR_LAG_SECONDS, registry)
        self._verdict = Family(MONITOR_VERDICT, registry)
        for outcome in _OUTCOMES:
            self._looks.labels(outcome)

    def failed(self) -> None:
        """Count a look that the cluster did not answer; what was seen last stays, but for the brokers."""
        self._looks.labels("failed").inc()
        self._brokers.set(0)

    def show(self, snapshot: Snapshot, history: History) -> None:
        """Show a snapshot and what the history, which holds it already, says."""
        self._looks.labels("answered").inc()
        self._brokers.set(snapshot.brokers)
        places = {(topic, str(number)): look for (topic, number), look in snapshot.partitions.items()}
        self._end.show((place, look.end) for place, look in places.items())
        self._oldest.show((place, look.oldest) for place, look in places.items())
        self._replicas.show((place, look.replicas) for place, look in places.items())
        self._in_sync.show((place, look.in_sync) for place, look in places.items())
        self._leaderless.show((place, int(not look.has_leader)) for place, look in places.items())
        self._working.show(((name,), int(group.working)) for name, group in snapshot.groups.items())
        self._show_groups(history)

    def _show_groups(self, history: History) -> None:
        looks = {
            (group, topic, str(number)): list(of) for (group, topic, number), of in history.looks.items()
        }
        self._committed.show((place, of[-1].committed) for place, of in looks.items())
        self._lag.show((place, of[-1].lag) for place, of in looks.items())
        self._lag_seconds.show((place, lag_seconds(of)) for place, of in looks.items())
        verdicts = {place: verdict(of) for place, of in looks.items()}
        self._verdict.show(
            ((*place, name), int(name == found)) for place, found in verdicts.items() for name in VERDICTS
        )
