"""Is everything well, and if not, where? One row of tiles, then cause by cause."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from grafana.build.panels import INSTANCE, dashboard, heat, lines, tile, variable

GREEN, YELLOW, RED = "green", "yellow", "red"
SINCE_CANARY = 'time() - max by (app, partition) (tidewatch_canary_sent_timestamp_seconds{stage="published"})'


def pipeline_health() -> build.Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "Pipeline health",
        "tidewatch-health",
        "Workers, throughput, latency, lag, event time, errors and checkpoints.",
    )
    board = board.with_variable(variable("instance", "Worker", 'up{job="tidewatch-worker"}', "instance"))
    for row in (_tiles, _throughput, _latency, _lag, _errors, _checkpoints):
        board = row(board)
    return board


def _tiles(board: build.Dashboard) -> build.Dashboard:
    return (
        board.with_panel(
            tile(
                "Workers up",
                "Workers that answered the last scrape.",
                'sum(up{job="tidewatch-worker"}) or vector(0)',
                "short",
                [(None, RED), (1, GREEN)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Events per second",
                "Records taken through the tasks of all workers.",
                "sum(rate(tidewatch_events_processed_total[$__rate_interval]))",
                "eps",
                [(None, "blue")],
                width=3,
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Worst lag",
                "Age of the oldest record that a group has not committed.",
                "max(tidewatch_consumergroup_lag_seconds)",
                "s",
                [(None, GREEN), (30, YELLOW), (300, RED)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Slow commits, 1 h",
                "Share of commits that made their oldest event visible after more than a second; the objective is 1%.",
                "tidewatch:slow_commits:ratio_rate1h",
                "percentunit",
                [(None, GREEN), (0.01, YELLOW), (0.144, RED)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Dead letters, 5 min",
                "Share of events that could not be read.",
                "tidewatch:dead_letters:ratio_rate5m",
                "percentunit",
                [(None, GREEN), (0.001, YELLOW), (0.01, RED)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Stopped partitions",
                "Partitions that a worker has stopped after an error.",
                "sum(tidewatch_partition_stopped)",
                "short",
                [(None, GREEN), (1, RED)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Newest canary",
                "Time since the newest canary was sent that came out with an app's results, of the worst partition.",
                f"max({SINCE_CANARY})",
                "s",
                [(None, GREEN), (15, YELLOW), (30, RED)],
                width=3,
            )
        )
        .with_panel(
            tile(
                "Open alerts",
                "Alerts about the data that are open now.",
                "sum(tidewatch_alerts_open) or vector(0)",
                "short",
                [(None, GREEN), (1, YELLOW)],
                width=3,
            )
        )
    )


def _throughput(board: build.Dashboard) -> build.Dashboard:
    rate = f"rate(tidewatch_events_processed_total{{{INSTANCE}}}[$__rate_interval])"
    results = f"sum by (kind) (rate(tidewatch_results_total{{{INSTANCE}}}[$__rate_interval]))"
    return (
        board.with_row(build.Row("Throughput"))
        .with_panel(
            lines(
                "Events processed",
                "Records taken through the task, by worker.",
                [(f"sum by (instance) ({rate})", "{{instance}}")],
                "eps",
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Records published",
                "Results, alerts, late events and dead letters.",
                [(results, "{{kind}}")],
                "eps",
            )
        )
    )


def _latency(board: build.Dashboard) -> build.Dashboard:
    buckets = (
        f"sum by (le) (rate(tidewatch_end_to_end_latency_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))"
    )
    quantiles = [(f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}") for q in (0.5, 0.95, 0.99)]
    return (
        board.with_row(build.Row("Latency"))
        .with_panel(
            lines(
                "End to end",
                "From the append of the oldest event of a commit until its results are visible. Dashed: the objective of a second.",
                quantiles,
                "s",
                width=8,
                steps=[(None, "transparent"), (1, RED)],
            )
        )
        .with_panel(
            heat("End-to-end distribution", "Commits by their end-to-end latency.", buckets, "s", width=8)
        )
        .with_panel(
            lines(
                "Canaries",
                "Age of the newest canary when each stage had it; the oldest over apps and partitions.",
                [("max by (stage) (tidewatch_canary_age_seconds)", "{{stage}}")],
                "s",
                width=8,
            )
        )
    )


def _lag(board: build.Dashboard) -> build.Dashboard:
    behind = f"time() - min by (topic, partition) (tidewatch_watermark_timestamp_seconds{{{INSTANCE}}})"
    return (
        board.with_row(build.Row("Lag and event time"))
        .with_panel(
            lines(
                "Lag",
                "Age of the oldest uncommitted record, by group and topic.",
                [
                    (
                        "max by (consumergroup, topic) (tidewatch_consumergroup_lag_seconds)",
                        "{{consumergroup}} {{topic}}",
                    )
                ],
                "s",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Records behind",
                "Records between the committed position and the end, by partition.",
                [("sum by (topic, partition) (kafka_consumergroup_lag)", "{{topic}}[{{partition}}]")],
                "short",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Watermark behind the clock",
                "Wall clock less watermark; large where history is replayed.",
                [(behind, "{{topic}}[{{partition}}]")],
                "s",
                width=8,
                low=None,
            )
        )
    )


def _errors(board: build.Dashboard) -> build.Dashboard:
    dead = f"sum by (code) (rate(tidewatch_dead_total{{{INSTANCE}}}[$__rate_interval])) > 0"
    verdicts = "sum by (verdict) (tidewatch_consumergroup_verdict)"
    return (
        board.with_row(build.Row("Errors"))
        .with_panel(
            lines(
                "Dead letters by reason",
                "Events that could not be read, by error code.",
                [(dead, "{{code}}")],
                "eps",
                width=8,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Late events",
                "Events that came after their window was published for good.",
                [
                    (
                        f"sum by (instance) (rate(tidewatch_late_total{{{INSTANCE}}}[$__rate_interval]))",
                        "{{instance}}",
                    )
                ],
                "eps",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Verdicts on groups",
                "Partitions of consumer groups by verdict: ok, warn, stall, stop, rewind.",
                [(verdicts, "{{verdict}}")],
                "short",
                width=8,
            )
        )
    )


def _checkpoints(board: build.Dashboard) -> build.Dashboard:
    buckets = f"sum by (le, kind) (rate(tidewatch_checkpoint_seconds_bucket{{{INSTANCE}}}[$__rate_interval]))"
    changes = [
        (f"sum(increase(tidewatch_rebalance_total{{{INSTANCE}}}[$__rate_interval]))", "assignments"),
        (f"sum(increase(tidewatch_fenced_total{{{INSTANCE}}}[$__rate_interval]))", "fenced"),
        (f"sum(increase(tidewatch_takeovers_total{{{INSTANCE}}}[$__rate_interval]))", "taken over"),
    ]
    return (
        board.with_row(build.Row("Checkpoints and rebalances"))
        .with_panel(
            lines(
                "Commit time, p99",
                "Emission commits carry results; state commits carry changed state too.",
                [(f"histogram_quantile(0.99, {buckets})", "{{kind}}")],
                "s",
                width=8,
            )
        )
        .with_panel(
            lines(
                "State written",
                "Bytes of state written to the checkpoint topic.",
                [
                    (
                        f"sum by (instance) (rate(tidewatch_checkpoint_bytes_total{{{INSTANCE}}}[$__rate_interval]))",
                        "{{instance}}",
                    )
                ],
                "Bps",
                width=8,
            )
        )
        .with_panel(
            lines(
                "Rebalances",
                "Assignments of partitions to workers, and partitions lost while working on them.",
                changes,
                "short",
                width=8,
            )
        )
    )
