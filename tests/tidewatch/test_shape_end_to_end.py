"""Shapes of sites by real workers on a real broker: sensors to windows to roll-ups to shapes, a worker killed on the way."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from producers.loader import load
from schemas.columns import RawBatch
from schemas.contributions import as_columns
from schemas.results import Alert
from streams.shape import ShapePipeline
from streams.shape_task import ShapeTask
from tests.streams.harness import read, until
from tests.tidewatch.test_worker_end_to_end import worker

pytestmark = pytest.mark.slow

PIPELINES = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling
from streams.shape import ShapePipeline

SITES = Pipeline(
    name="sites", source="{source}", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="{source}.out", alerts="{source}.alert", partials="{source}.partial",
    totals="{source}.total", idle_timeout_ms=None,
    rollups=(RollUp(by=("site", "quantity"), together=("quantity",)),),
)
SHAPES = {shapes}
"""
START, PARTITIONS, WINDOWS = 1_750_000_000_000, 3, 60
SITES, SENSORS = 3, 18
OUTPUTS = ("site", "barycenter", "forecast", "shape.alert", "shape.late", "shape.dlq")


def shapes(source: str) -> ShapePipeline:
    return ShapePipeline(
        name="shapes", upstream="sites:by-site-quantity", source=f"{source}.total", reference=20, order=1, drift_at=400.0,
        sites=f"{source}.site", barycenters=f"{source}.barycenter", forecasts=f"{source}.forecast",
        alerts=f"{source}.shape.alert", late=f"{source}.shape.late", dead=f"{source}.shape.dlq", idle_timeout_ms=None,
    )  # fmt: skip


def readings() -> list[tuple[bytes, bytes]]:
    """Two quantities at three sites; from window 40 on, site 2's temperatures spread four times as far."""
    rng = np.random.default_rng(7)
    records = []
    for window in range(WINDOWS + 1):
        for i in range(SENSORS * 12):
            sensor = i % SENSORS
            site = sensor % SITES
            wide = 4.0 if window >= 40 and site == 2 and sensor < 9 else 1.0
            quantity, unit = ("temperature", "degC") if sensor < 9 else ("humidity", "%")
            value = round(20 + 2 * site + wide * rng.normal(), 3)
            event = {
                "sensor_id": f"s{sensor}", "site": f"site-{site}", "quantity": quantity, "unit": unit, "value": value,
                "time": START + window * 10_000 + i * 40,
            }  # fmt: skip
            records.append((f"s{sensor}".encode(), msgspec.json.encode(event)))
    return records


def recomputed(bootstrap: str, source: str, partition: int) -> dict[str, list[bytes]]:
    """Return what the pure task makes of the roll-ups on a partition."""
    values = read(bootstrap, f"{source}.total", partition)
    n = len(values)
    batch = RawBatch(
        f"{source}.total", partition, 0, n, np.arange(n), np.zeros(n, np.int64), [None] * n, values
    )
    outputs = ShapeTask(shapes(source), partition).process(as_columns(batch))
    topics = shapes(source).outputs
    made: dict[str, list[bytes]] = {topic: [] for topic in topics.values()}
    for output in outputs:
        assert output.value is not None
        made[topics[output.kind]].append(output.value)
    return made


def without_offset(topic: str, values: list[bytes]) -> list[Any]:
    """Alerts name the offset of their cause, which transaction markers shift."""
    if not topic.endswith("alert"):
        return values
    return [msgspec.structs.replace(msgspec.json.decode(value, type=Alert), offset=0) for value in values]


@pytest.mark.kafka
@pytest.mark.parametrize("failpoint", ["commit-produced:4", "state-done:2"])
def test_shapes_agree_with_the_pure_task_though_a_worker_is_killed(
    kafka, topic_prefix: str, tmp_path: Path, failpoint: str
) -> None:
    source = f"{topic_prefix}.in"
    names = [source + suffix for suffix in ("", ".out", ".alert", ".late", ".dlq", ".total", ".partial")]
    names += [f"{source}.partial.late", f"{source}.partial.dlq", *(f"{source}.{name}" for name in OUTPUTS)]
    admin = AdminClient(kafka.connection)
    for future in admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names]).values():
        future.result(30)
    file = tmp_path / "mine.py"
    file.write_text(PIPELINES.format(source=source, shapes=repr(shapes(source))))
    records = readings()
    half = len(records) // 2

    def count(topic: str) -> int:
        return sum(len(read(kafka.bootstrap, topic, partition)) for partition in range(PARTITIONS))

    with (
        worker(f"{file}:SITES", kafka.bootstrap, f"{topic_prefix}a"),
        worker(f"{file}:SHAPES", kafka.bootstrap, f"{topic_prefix}b"),
    ):
        load(kafka.connection, source, records[:half])
        until(lambda: count(f"{source}.total") >= 2 * SITES * WINDOWS // 3, 240, "no roll-ups")
        # It takes partitions over and dies on the way; the other worker goes on where it left.
        with worker(f"{file}:SHAPES", kafka.bootstrap, f"{topic_prefix}b", failpoint):
            load(kafka.connection, source, records[half:])
            until(lambda: count(f"{source}.total") >= 2 * SITES * WINDOWS, 240, "roll-ups are missing")
            # The last window of each quantity waits for one after it.
            until(lambda: count(f"{source}.barycenter") >= 2 * (WINDOWS - 1), 240, "shapes are missing")
    for partition in range(PARTITIONS):
        for topic, expected in recomputed(kafka.bootstrap, source, partition).items():
            published = read(kafka.bootstrap, topic, partition)
            assert without_offset(topic, published) == without_offset(topic, expected), topic
    alerts = [
        msgspec.json.decode(value, type=Alert)
        for partition in range(PARTITIONS)
        for value in read(kafka.bootstrap, f"{source}.shape.alert", partition)
    ]
    drifted = {
        alert.labels["site"] for alert in alerts if (alert.rule, alert.state) == ("shape.drift", "open")
    }
    assert drifted == {"site-2"}
