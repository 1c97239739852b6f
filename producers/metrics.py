"""What every producer counts: received, sent, errors by stage and code, discarded; read when asked for, so sending pays nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from producers.producer import FAILURE_CODES, EventProducer
from producers.rejects import RejectReason, Rejects
from schemas.metrics import PRODUCER_DISCARDED, PRODUCER_ERRORS, PRODUCER_RECEIVED, PRODUCER_SENT
from schemas.metrics import Metric as Declared

STAGE: Final = "deliver"


class ProducerCollector(Collector):
    """Shows a producer's counts, and those of rows that became no event, under the producer's name."""

    def __init__(self, name: str, producer: EventProducer, rejects: Rejects | None = None) -> None:
        self._name = name
        self._producer = producer
        self._rejects = rejects or Rejects()

    def collect(self) -> Iterable[Metric]:
        """Return the counts as they are now; bounded labels are there from the start with 0."""
        counts, failures = self._producer.counts, dict(self._producer.failures)
        yield self._family(PRODUCER_RECEIVED, {(): counts.accepted})
        yield self._family(PRODUCER_SENT, {(): counts.delivered})
        yield self._family(PRODUCER_ERRORS, {(STAGE, code): failures.get(code, 0) for code in FAILURE_CODES})
        discarded = dict(self._rejects.counts)
        yield self._family(PRODUCER_DISCARDED, {(str(why),): discarded.get(why, 0) for why in RejectReason})

    def _family(self, declared: Declared, values: dict[tuple[str, ...], int]) -> CounterMetricFamily:
        family = CounterMetricFamily(declared.name, declared.help, labels=declared.labels)
        for labels, value in values.items():
            family.add_metric((self._name, *labels), value)
        return family


def register(
    name: str, producer: EventProducer, registry: CollectorRegistry, rejects: Rejects | None = None
) -> None:
    """Show a producer's counts in a registry."""
    registry.register(ProducerCollector(name, producer, rejects))
