"""The cluster underneath: brokers, replicas, topics, groups."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from grafana.build.panels import dashboard, lines, tile, variable

TOPIC = 'topic=~"$topic"'


def kafka() -> build.Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "Kafka", "tidewatch-kafka", "Brokers, replicas, topics and consumer groups, seen from outside."
    )
    board = board.with_variable(variable("topic", "Topic", "kafka_topic_partition_current_offset", "topic"))
    end, oldest = "kafka_topic_partition_current_offset", "kafka_topic_partition_oldest_offset"
    held = f"sum by (topic) ({end}{{{TOPIC}}} - {oldest}{{{TOPIC}}})"
    short = "sum(kafka_topic_partition_in_sync_replica < bool kafka_topic_partition_replicas)"
    return (
        board.with_panel(
            tile(
                "Brokers",
                "Brokers that answer.",
                "max(kafka_brokers)",
                "short",
                [(None, "red"), (1, "green")],
                width=6,
            )
        )
        .with_panel(
            tile(
                "Under-replicated",
                "Partitions with fewer replicas in sync than they should have.",
                short,
                "short",
                [(None, "green"), (1, "yellow")],
                width=6,
            )
        )
        .with_panel(
            tile(
                "Without leader",
                "Partitions that nobody can read or write.",
                "sum(kafka_topic_partition_leaderless)",
                "short",
                [(None, "green"), (1, "red")],
                width=6,
            )
        )
        .with_panel(
            tile(
                "Groups at work",
                "Consumer groups with members.",
                "count(tidewatch_group_working == 1)",
                "short",
                [(None, "blue")],
                width=6,
                mode="value",
            )
        )
        .with_row(build.Row("Topics"))
        .with_panel(
            lines(
                "Records written",
                "Growth of the end offset.",
                [
                    (
                        f"sum by (topic) (rate(kafka_topic_partition_current_offset{{{TOPIC}}}[$__rate_interval]))",
                        "{{topic}}",
                    )
                ],
                "eps",
            )
        )
        .with_panel(
            lines(
                "Records held",
                "End less oldest offset.",
                [(held, "{{topic}}")],
                "short",
            )
        )
        .with_row(build.Row("Consumer groups"))
        .with_panel(
            lines(
                "Lag by group",
                "Records not yet committed.",
                [
                    (
                        f"sum by (consumergroup, topic) (kafka_consumergroup_lag{{{TOPIC}}})",
                        "{{consumergroup}} {{topic}}",
                    )
                ],
                "short",
            )
        )
        .with_panel(
            lines(
                "Working",
                "1 while a group has members.",
                [("tidewatch_group_working", "{{consumergroup}}")],
                "short",
            )
        )
        .with_row(build.Row("Replicas"))
        .with_panel(
            lines(
                "In sync",
                "Replicas in sync of each partition.",
                [(f"min by (topic) (kafka_topic_partition_in_sync_replica{{{TOPIC}}})", "{{topic}}")],
                "short",
            )
        )
        .with_panel(
            lines(
                "Answers to the monitor",
                "Looks at the cluster by whether it answered.",
                [("sum by (outcome) (rate(tidewatch_monitor_looks_total[$__rate_interval]))", "{{outcome}}")],
                "ops",
            )
        )
    )
