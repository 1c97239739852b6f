"""What a gateway counts: received, sent, let go of, and how much is still on its disk; read when asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.gateway import Gateway
from schemas.metrics import (
    GATEWAY_PENDING,
    GATEWAY_RESTARTS,
    GATEWAY_SPOOL_BYTES,
    PRODUCER_DISCARDED,
    PRODUCER_RECEIVED,
    PRODUCER_SENT,
)
from schemas.metrics import Metric as Declared


class GatewayCollector(Collector):
    """Shows a gateway's counts under its name."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    def collect(self) -> Iterable[Metric]:
        """Return the counts as they are now."""
        gateway, counts = self._gateway, self._gateway.counts
        yield self._family(PRODUCER_RECEIVED, counts.accepted + counts.passed_on)
        yield self._family(PRODUCER_SENT, counts.delivered)
        yield self._family(PRODUCER_DISCARDED, counts.dropped, "spool_full")
        yield self._family(GATEWAY_RESTARTS, gateway.restarts)
        yield self._family(GATEWAY_PENDING, counts.pending)
        yield self._family(GATEWAY_SPOOL_BYTES, gateway.backlog)

    def _family(self, declared: Declared, value: int, *labels: str) -> Metric:
        kind = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
        family = kind(declared.name, declared.help, labels=declared.labels)
        family.add_metric((self._gateway.name, *labels), value)
        return family
