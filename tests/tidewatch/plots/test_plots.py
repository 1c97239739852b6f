"""Figures: what they are drawn from is right, and files come out in the format asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer

from schemas.results import Alert, Severity
from tests.tidewatch.monitor.test_monitor_run import create
from tests.tidewatch.monitor.test_site_values import summary
from tidewatch.monitor.cluster import GroupLook, PartitionLook, Snapshot
from tidewatch.monitor.history import History
from tidewatch.plots import alerts, distributions, lag
from tidewatch.plots.canvas import NothingToPlotError, save, styled


def alert(state: str, time: int, revision: int, severity: Severity = "warning", group: str = "g") -> Alert:
    return Alert(
        id=f"{group}|{revision}", alert_id=group, pipeline="p", rule="r", kind="k", group=group, labels={},
        state=state, severity=severity, revision=revision, opened_at=0, time=time, partition=0, offset=0,
        value=None, threshold=None, message="",
    )  # fmt: skip


def is_image(path: Path) -> bool:
    start = path.read_bytes()[:300]
    return start.startswith((b"\x89PNG", b"%PDF")) or b"<svg" in start or b"<?xml" in start


def test_sites_are_merged_by_window_and_revisions_replace() -> None:
    found = distributions.by_site(
        [
            summary("a", 0, [1.0]),
            summary("b", 0, [3.0]),
            summary("a", 10, [5.0]),
            summary("a", 0, [1.0, 8.0], revision=1),
            summary("c", 0, [100.0], site="south"),
        ],
        "temperature",
    )
    assert {site: [(v.end, v.count) for v in values] for site, values in found.items()} == {
        "north": [(10, 3), (20, 1)],
        "south": [(10, 1)],
    }


def test_a_quantity_that_is_not_there_is_told_what_is() -> None:
    with pytest.raises(NothingToPlotError, match="there are: temperature"):
        distributions.by_site([summary("a", 0, [1.0])], "pm25")


def test_an_alert_is_a_stretch_for_each_severity_it_had() -> None:
    found = alerts.spans(
        [
            alert("open", 10, 0),
            alert("update", 20, 1, "critical"),
            alert("close", 35, 2),
            alert("open", 30, 0, group="h"),
        ]
    )
    assert [(s.group, s.severity, s.start, s.end, s.open) for s in found] == [
        ("g", "warning", 10, 20, False),
        ("g", "critical", 20, 35, False),
        ("h", "warning", 30, 35, True),
    ]


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_figures_are_written_as_named(tmp_path: Path, suffix: str) -> None:
    rng = np.random.default_rng(2)
    windows = [
        summary(site, 10 * i, rng.normal(20, 3, 50).tolist(), site) for site in "xyz" for i in range(5)
    ]
    history = History(100.0)
    for second in range(3):
        partitions = {("t", 0): PartitionLook(0, 10 * second, 1, 1, has_leader=True)}
        history.add(Snapshot(float(second), 1, partitions, {"mine": GroupLook(True, {("t", 0): 3 * second})}))
    with styled() as plt:
        for name, figure in {
            "d": distributions.draw(plt, distributions.by_site(windows, "temperature"), "temperature"),
            "a": alerts.draw(plt, alerts.spans([alert("open", 10, 0), alert("close", 20, 1)])),
            "l": lag.draw(plt, history),
        }.items():
            path = tmp_path / f"{name}.{suffix}"
            save(figure, path)
            assert is_image(path)


def test_an_unknown_format_is_refused(tmp_path: Path) -> None:
    with styled() as plt, pytest.raises(ValueError, match=r"\.png, \.svg, \.pdf"):
        save(plt.figure(), tmp_path / "figure.bmp")


def test_no_groups_is_said() -> None:
    with styled() as plt, pytest.raises(NothingToPlotError, match="is a worker running"):
        lag.draw(plt, History(1.0))


@pytest.mark.kafka
def test_the_verbs_draw_what_is_on_the_topics(kafka: Any, topic_prefix: str, tmp_path: Path) -> None:
    create(kafka, f"{topic_prefix}.w", f"{topic_prefix}.a")
    producer = Producer(kafka.connection)
    for group in ("a", "b"):
        producer.produce(f"{topic_prefix}.w", msgspec.json.encode(summary(group, 0, [1.0, 2.0])))
    producer.produce(f"{topic_prefix}.a", msgspec.json.encode(alert("open", 10, 0)))
    producer.flush()

    def plot(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tidewatch", "plot", *arguments]
        environment = os.environ | {"TIDEWATCH_BOOTSTRAP": kafka.bootstrap}
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    drawn = plot("distributions", "--quantity", "temperature", "--topic", f"{topic_prefix}.w", "-o", "d.svg")
    assert "1 sites drawn to d.svg" in drawn.stderr, drawn
    assert is_image(tmp_path / "d.svg")
    drawn = plot("alerts", "--topic", f"{topic_prefix}.a")
    assert drawn.returncode == 0, drawn
    assert is_image(tmp_path / "alerts.png")
    refused = plot("distributions", "--quantity", "pm25", "--topic", f"{topic_prefix}.w")
    assert refused.returncode == 1
    assert "there are: temperature" in refused.stderr
