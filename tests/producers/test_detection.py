"""The rules of the air quality pipeline find the simulator's incidents, and little else."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from producers.simulator import Arrivals, CitySpec, draw_incidents, simulate
from producers.truth import score_alerts
from schemas.codec import decode
from schemas.columns import Columns, RawBatch
from schemas.event_types import SENSOR_READING
from schemas.results import Alert
from streams.pipelines.air_quality import AIR_QUALITY
from streams.window_task import WindowTask

MIDNIGHT = 1_750_032_000_000


def columns(batch: Arrivals, start: int) -> Columns:
    end = start + len(batch)
    raw = RawBatch("s", 0, start, end, np.arange(start, end), batch.times, batch.keys, batch.values)
    return decode(raw, SENSOR_READING)


@pytest.mark.parametrize(("hour", "interval", "seed"), [(0, 1.0, 1), (8, 2.0, 2), (16, 5.0, 3)])
def test_precision_and_recall_over_an_hour(hour: int, interval: float, seed: int) -> None:
    spec = CitySpec(start=MIDNIGHT + hour * 3_600_000, sensors=20, interval=interval)
    task, position, alerts = WindowTask(AIR_QUALITY), 0, []
    kinds, expected = Counter[str](), Counter[str]()
    for batch in simulate(spec, seed):
        outputs = task.process(columns(batch, position))
        position += len(batch)
        kinds.update(output.kind for output in outputs)
        expected.update(late=batch.late, dead=batch.malformed)
        alerts += [msgspec.json.decode(o.value or b"", type=Alert) for o in outputs if o.kind == "alert"]
    score = score_alerts(draw_incidents(spec, seed), alerts, tolerance_ms=15_000)
    assert score.incidents >= 12
    assert score.precision >= 0.95, score.false
    assert score.recall >= 0.95, score.missed
    assert kinds["dead"] == expected["dead"]
    # Nothing newer follows the last events, so that some of those delayed at the very end are not late.
    assert expected["late"] - 12 <= kinds["late"] <= expected["late"]
