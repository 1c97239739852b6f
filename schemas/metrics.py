"""Every metric that any part exposes to Prometheus, declared once: name, kind, unit, labels, help."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Final, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

Kind = Literal["counter", "gauge", "histogram"]
Component = Literal["worker", "producer", "sink", "canary", "monitor", "site values", "signals"]

LATENCY_BUCKETS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0),
)


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric; ``name`` is what Prometheus shows, but that counters gain the suffix ``_total``."""

    component: Component
    kind: Kind
    name: str
    help: str
    labels: tuple[str, ...] = ()
    unit: str = ""

    @property
    def exposed(self) -> str:
        """The name to use in a query (of a histogram, without ``_bucket``)."""
        return f"{self.name}_total" if self.kind == "counter" else self.name


def counter(metric: Metric, registry: CollectorRegistry) -> Counter:
    """Return the counter of a declaration in a registry."""
    _check(metric, "counter")
    return Counter(metric.name, metric.help, metric.labels, unit=metric.unit, registry=registry)


def gauge(metric: Metric, registry: CollectorRegistry) -> Gauge:
    """Return the gauge of a declaration in a registry."""
    _check(metric, "gauge")
    return Gauge(metric.name, metric.help, metric.labels, unit=metric.unit, registry=registry)


def histogram(metric: Metric, registry: CollectorRegistry) -> Histogram:
    """Return the histogram of a declaration in a registry; times of 1 ms to 300 s."""
    _check(metric, "histogram")
    return Histogram(
        metric.name, metric.help, metric.labels, unit=metric.unit, buckets=LATENCY_BUCKETS, registry=registry
    )


def _check(metric: Metric, kind: Kind) -> None:
    if metric.kind != kind:
        raise ValueError(f"{metric.name} is declared as a {metric.kind}, not a {kind}")


EVENTS_RECEIVED: Final = Metric(
    "worker", "counter", "tidewatch_events_received", "Records taken from the source partitions."
)
EVENTS_PROCESSED: Final = Metric(
    "worker", "counter", "tidewatch_events_processed", "Records taken through the task."
)
ERRORS: Final = Metric(
    "worker", "counter", "tidewatch_errors", "Events and batches that failed.", ("stage", "code")
)
LATE: Final = Metric("worker", "counter", "tidewatch_late", "Events that came after their window had closed.")
DEAD: Final = Metric(
    "worker", "counter", "tidewatch_dead", "Events written to the dead-letter topic.", ("code",)
)
RESULTS: Final = Metric(
    "worker", "counter", "tidewatch_results", "Records written to the output topics.", ("kind",)
)
END_TO_END: Final = Metric(
    "worker",
    "histogram",
    "tidewatch_end_to_end_latency_seconds",
    "Time from the log-append time of the oldest event of a commit to its results being visible.",
    unit="seconds",
)
WATERMARK: Final = Metric(
    "worker",
    "gauge",
    "tidewatch_watermark_timestamp_seconds",
    "Event time, in seconds since the epoch, before which nothing more is expected.",
    ("topic", "partition"),
    "seconds",
)
POSITION: Final = Metric(
    "worker",
    "gauge",
    "tidewatch_position",
    "Committed position: the next offset to read.",
    ("topic", "partition"),
)
CHECKPOINT_SECONDS: Final = Metric(
    "worker",
    "histogram",
    "tidewatch_checkpoint_seconds",
    "Duration of a commit, with or without state.",
    ("kind",),
    "seconds",
)
CHECKPOINT_CPU: Final = Metric(
    "worker",
    "counter",
    "tidewatch_checkpoint_cpu_seconds",
    "Processor time of commits; beside `process_cpu_seconds_total`, their share of all work.",
    ("kind",),
    "seconds",
)
CHECKPOINT_BYTES: Final = Metric(
    "worker", "counter", "tidewatch_checkpoint_bytes", "State written to the checkpoint topic.", (), "bytes"
)
RESTORE_SECONDS: Final = Metric(
    "worker",
    "histogram",
    "tidewatch_restore_seconds",
    "Time from owning a partition to being ready for it.",
    (),
    "seconds",
)
LOOP_LAG: Final = Metric(
    "worker",
    "histogram",
    "tidewatch_event_loop_lag_seconds",
    "By how much the event loop came late, looked at every 20 ms; heartbeats and deliveries wait as long.",
    (),
    "seconds",
)
BUFFERED_BYTES: Final = Metric(
    "worker", "gauge", "tidewatch_buffered_bytes", "Input fetched and not yet processed.", (), "bytes"
)
BREAKER_OPEN: Final = Metric(
    "worker",
    "gauge",
    "tidewatch_breaker_open",
    "1 while a partition is stopped because nearly all of its input is bad, else 0.",
)
PARTITION_STOPPED: Final = Metric(
    "worker",
    "gauge",
    "tidewatch_partition_stopped",
    "1 while an owned partition is stopped by an error, else 0.",
    ("partition",),
)
REBALANCES: Final = Metric(
    "worker", "counter", "tidewatch_rebalance", "Assignments of partitions to this worker."
)
REBALANCE_PAUSE: Final = Metric(
    "worker",
    "histogram",
    "tidewatch_rebalance_pause_seconds",
    "Time from giving up its partitions in a rebalance to working again on one of those assigned then.",
    (),
    "seconds",
)
FENCED: Final = Metric(
    "worker", "counter", "tidewatch_fenced", "Partitions lost to another worker while working on them."
)
TAKEOVERS: Final = Metric(
    "worker", "counter", "tidewatch_takeovers", "Partitions taken from a worker that trailed."
)
STANDBY_BYTES: Final = Metric(
    "worker",
    "gauge",
    "tidewatch_standby_bytes",
    "Copies of other workers' state held to take over from.",
    (),
    "bytes",
)
REPORTS: Final = Metric(
    "worker",
    "counter",
    "tidewatch_reports",
    "What became of safety reports received, and what was noticed about them; one report may be several of these.",
    ("pipeline", "outcome"),
)
PRIOR_FITS: Final = Metric(
    "worker", "counter", "tidewatch_prior_fits", "Fits of the prior of EBGM to all pairs.", ("pipeline",)
)
LOST_RECORDS: Final = Metric(
    "worker",
    "counter",
    "tidewatch_lost_records",
    "Source records that retention removed before they were processed.",
)


PRODUCER_RECEIVED: Final = Metric(
    "producer", "counter", "tidewatch_producer_received", "Events that a producer accepted.", ("producer",)
)
PRODUCER_SENT: Final = Metric(
    "producer", "counter", "tidewatch_producer_sent", "Events that the broker acknowledged.", ("producer",)
)
PRODUCER_ERRORS: Final = Metric(
    "producer",
    "counter",
    "tidewatch_producer_errors",
    "Accepted events that a producer had to give up.",
    ("producer", "stage", "code"),
)
PRODUCER_DISCARDED: Final = Metric(
    "producer",
    "counter",
    "tidewatch_producer_discarded",
    "Rows, or values of them, that became no event.",
    ("producer", "reason"),
)
GATEWAY_SPOOL_BYTES: Final = Metric(
    "producer",
    "gauge",
    "tidewatch_gateway_spool_bytes",
    "Batches on a gateway's disk, those delivered but not yet removed among them.",
    ("producer",),
    "bytes",
)
GATEWAY_PENDING: Final = Metric(
    "producer",
    "gauge",
    "tidewatch_gateway_pending",
    "Rows that a gateway took in this life and that are not yet on the topic.",
    ("producer",),
)
GATEWAY_RESTARTS: Final = Metric(
    "producer",
    "counter",
    "tidewatch_gateway_restarts",
    "Times that a gateway had to begin sending anew, because its broker refused something.",
    ("producer",),
)

SINK_RECEIVED: Final = Metric(
    "sink", "counter", "tidewatch_sink_received", "Records that a sink took from its topics.", ("sink",)
)
SINK_SENT: Final = Metric(
    "sink", "counter", "tidewatch_sink_sent", "Records that a sink's target holds for certain.", ("sink",)
)
SINK_ERRORS: Final = Metric(
    "sink",
    "counter",
    "tidewatch_sink_errors",
    "Failures of a sink; a batch that is offered again counts each time.",
    ("sink", "stage", "code"),
)
SINK_DISCARDED: Final = Metric(
    "sink",
    "counter",
    "tidewatch_sink_discarded",
    "Records that a sink left out on purpose, as not readable or not wanted.",
    ("sink", "reason"),
)
SINK_WRITE_SECONDS: Final = Metric(
    "sink",
    "histogram",
    "tidewatch_sink_write_seconds",
    "Duration of writing a batch.",
    ("sink",),
    "seconds",
)
SINK_WAITING: Final = Metric(
    "sink",
    "gauge",
    "tidewatch_sink_waiting",
    "1 while a sink waits for its target to take a batch, else 0.",
    ("sink",),
)

CANARY_AGE: Final = Metric(
    "canary",
    "gauge",
    "tidewatch_canary_age_seconds",
    "Age of the newest canary of a partition when a stage had it.",
    ("app", "partition", "stage"),
    "seconds",
)
CANARY_SENT: Final = Metric(
    "canary",
    "gauge",
    "tidewatch_canary_sent_timestamp_seconds",
    "When the newest canary that a stage has had was sent.",
    ("app", "partition", "stage"),
    "seconds",
)

MONITOR_LAG: Final = Metric(
    "monitor",
    "gauge",
    "kafka_consumergroup_lag",
    "Records between a group's committed offset and the end of the partition.",
    ("consumergroup", "topic", "partition"),
)
MONITOR_GROUP_OFFSET: Final = Metric(
    "monitor",
    "gauge",
    "kafka_consumergroup_current_offset",
    "Committed offset of a group.",
    ("consumergroup", "topic", "partition"),
)
MONITOR_WORKING: Final = Metric(
    "monitor", "gauge", "tidewatch_group_working", "1 while a group has members.", ("consumergroup",)
)
MONITOR_LAG_SECONDS: Final = Metric(
    "monitor",
    "gauge",
    "tidewatch_consumergroup_lag_seconds",
    "Age of the oldest record that a group has not yet committed, estimated from when the end of the log passed it.",
    ("consumergroup", "topic", "partition"),
    "seconds",
)
MONITOR_VERDICT: Final = Metric(
    "monitor",
    "gauge",
    "tidewatch_consumergroup_verdict",
    "1 for the verdict on a partition of a group, 0 for the others: ok, warn, stall, stop, rewind.",
    ("consumergroup", "topic", "partition", "verdict"),
)
MONITOR_END_OFFSET: Final = Metric(
    "monitor",
    "gauge",
    "kafka_topic_partition_current_offset",
    "End of a partition.",
    ("topic", "partition"),
)
MONITOR_OLDEST_OFFSET: Final = Metric(
    "monitor",
    "gauge",
    "kafka_topic_partition_oldest_offset",
    "Oldest offset that a partition holds.",
    ("topic", "partition"),
)
MONITOR_REPLICAS: Final = Metric(
    "monitor", "gauge", "kafka_topic_partition_replicas", "Replicas of a partition.", ("topic", "partition")
)
MONITOR_IN_SYNC: Final = Metric(
    "monitor",
    "gauge",
    "kafka_topic_partition_in_sync_replica",
    "Replicas of a partition that are in sync.",
    ("topic", "partition"),
)
MONITOR_LEADERLESS: Final = Metric(
    "monitor",
    "gauge",
    "kafka_topic_partition_leaderless",
    "1 while a partition has no leader, so that nobody can read or write it, else 0.",
    ("topic", "partition"),
)
MONITOR_BROKERS: Final = Metric("monitor", "gauge", "kafka_brokers", "Brokers of the cluster that answer.")
MONITOR_LOOKS: Final = Metric(
    "monitor",
    "counter",
    "tidewatch_monitor_looks",
    "Looks at the cluster, by whether it answered.",
    ("outcome",),
)

SITE_MEAN: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_site_mean",
    "Mean of a quantity over a site in its latest complete window, in the quantity's canonical unit.",
    ("pipeline", "site", "quantity"),
)
SITE_QUANTILE: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_site_quantile",
    "Quantile of a quantity over a site in its latest complete window, from merged sketches.",
    ("pipeline", "site", "quantity", "quantile"),
)
SITE_COUNT: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_site_readings",
    "Readings of a quantity at a site in its latest complete window.",
    ("pipeline", "site", "quantity"),
)
SITE_WINDOW_END: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_site_window_end_timestamp_seconds",
    "End of the window that the site's values are of.",
    ("pipeline", "site", "quantity"),
    "seconds",
)
QUANTITY_BUCKETS: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_quantity_readings",
    "Readings of a quantity over all sites in the latest complete window, up to each bound.",
    ("pipeline", "quantity", "le"),
)
SITE_ALERTS: Final = Metric(
    "site values",
    "gauge",
    "tidewatch_alerts_open",
    "Alerts that are open now, by rule and severity.",
    ("pipeline", "rule", "severity"),
)
SITE_DROPPED: Final = Metric(
    "site values",
    "counter",
    "tidewatch_site_series_dropped",
    "Series not exposed because the cardinality budget was spent.",
)


SIGNALS_OPEN: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signals_open",
    "Signals that are open now, by preset and by whether any report of the pair is serious.",
    ("pipeline", "preset", "seriousness"),
)
SIGNAL_STEPS: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signal_steps",
    "Steps of signals so far, all that the topic holds: open, strengthened, weakened, closed.",
    ("pipeline", "preset", "step"),
)
TIME_TO_SIGNAL: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signal_time_to_signal_seconds",
    "Quantile, over the signals opened, of the time from a pair's first report to its signal.",
    ("pipeline", "preset", "quantile"),
    "seconds",
)
SIGNAL_PAIRS: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signal_pairs",
    "Pairs of drug and event with a published state.",
    ("pipeline",),
)
SIGNAL_REPORTS: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signal_reports",
    "Reports (or patients, or pairs) counted, as of the newest state.",
    ("pipeline",),
)
SIGNAL_STATE_TIME: Final = Metric(
    "signals",
    "gauge",
    "tidewatch_signal_state_timestamp_seconds",
    "Time of the newest report in the newest state.",
    ("pipeline",),
    "seconds",
)


def all_metrics() -> tuple[Metric, ...]:
    """Return every declared metric in the order of declaration."""
    return tuple(value for value in globals().values() if isinstance(value, Metric))


def to_markdown() -> str:
    """Return the page that documents every metric, as Markdown."""
    sections = []
    for component in dict.fromkeys(metric.component for metric in all_metrics()):
        rows = [_row(metric) for metric in all_metrics() if metric.component == component]
        sections.append(f"## {component.capitalize()}\n\n{_HEAD}\n" + "\n".join(rows))
    buckets = ", ".join(f"{bucket:g}" for bucket in LATENCY_BUCKETS)
    return _PAGE.format(sections="\n\n".join(sections), buckets=buckets, labels=_label_values())


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    return f"| `{metric.exposed}` | {metric.kind} | {labels} | {metric.unit} | {metric.help} |"


def _label_values() -> str:
    from schemas.errors import ErrorCode

    return "`code`: " + ", ".join(f"`{code}`" for code in ErrorCode)


_HEAD: Final = "| metric | type | labels | unit | meaning |\n|---|---|---|---|---|"
_PAGE: Final = """# Metrics

What each part exposes to Prometheus. The page is generated: `python -m schemas.metrics > docs/metrics.md`.

{sections}

## Labels and buckets

Labels are bounded, and counters with bounded labels start at 0, so that the first error is a rise that a rate sees.
The series of a partition go when it is no longer owned or no longer there. No label ever holds a record's key.

A worker also exposes the `process_*` metrics of Prometheus's clients: its processor time, memory and open files.

- {labels}
- `outcome` of reports: `new`, `changed`, `repeated`, `retracted`, `unknown` (a retraction of none that is known),
  `other-population`, `older-than-horizon`, `possible-duplicate`
- `stage` of canaries: `acknowledged` (the broker has it), `processed` and `committed` (by the worker), `published` (a reader of
  results sees it), the first and the last from the monitor; `postgres`, `webhook`: that sink's target holds what came with it
- `kind` of results: `result`, `alert`, `late`, `dead`; of commits: `emission`, `state`

Histogram buckets are {buckets} seconds.
"""

if __name__ == "__main__":
    sys.stdout.write(to_markdown())
