"""Rows passed on one by one: filtered, derived, keyed anew, the same however they are cut."""

from __future__ import annotations

import json

import numpy as np
import pytest

from schemas.columns import Coded, Columns
from schemas.event_types import SENSOR_READING
from streams.pipeline import Derived, Filter
from streams.select import Select, SelectTask
from streams.stages import stages_of

WARM = Filter("warm", lambda columns: columns.numbers["value"] > 20)
KELVIN = Derived("kelvin", lambda columns: columns.numbers["value"] + 273.15)


def rows(values: list[float], first: int = 0) -> Columns:
    n = len(values)
    offset = np.arange(first, first + n, dtype=np.int64)
    sensor = Coded((offset % 2).astype(np.int32), ["a", "b"])
    site = Coded(np.zeros(n, np.int32), ["north"])
    return Columns(
        "t", 3, first, first + n, offset, np.zeros(n, np.int32), offset, 1_000 + offset,
        {"value": np.array(values)}, {"sensor_id": sensor, "site": site}, lambda _: (b"k", b"{}"),
    )  # fmt: skip


def select(**options: object) -> Select:
    chosen = {
        "name": "s",
        "source": "t",
        "event": SENSOR_READING,
        "fields": ("sensor_id", "value"),
        "results": "o",
    }
    return Select(**{**chosen, **options})  # type: ignore[arg-type]


def test_rows_that_pass_come_out_with_their_fields() -> None:
    made = select(fields=("sensor_id", "value", "kelvin"), filters=(WARM,), derived=(KELVIN,))
    task = SelectTask(made, 3)
    first, second = task.process(rows([21.0, 19.0, 30.5]))
    assert json.loads(first.value or b"") == {
        "id": "s|3-0-0",
        "time": 1_000,
        "sensor_id": "a",
        "value": 21.0,
        "kelvin": 294.15,
    }
    assert json.loads(second.value or b"")["id"] == "s|3-2-0"
    assert (first.kind, first.key, first.to) == ("result", b"a", "same")
    assert task.watermark == 1_002


def test_another_key_decides_the_partition() -> None:
    (output,) = SelectTask(select(key="site"), 0).process(rows([1.0]))
    assert (output.key, output.to) == (b"north", "key")


def test_what_is_absent_is_null() -> None:
    (output,) = SelectTask(select(), 0).process(rows([float("nan")]))
    assert json.loads(output.value or b"")["value"] is None


def test_cuts_and_restores_change_no_byte() -> None:
    values = [float(v) for v in range(10, 40)]
    whole = SelectTask(select(filters=(WARM,)), 3)
    one = whole.process(rows(values))
    begun = SelectTask(select(filters=(WARM,)), 3)
    pieces = begun.process(rows(values[:13]))
    again = SelectTask(select(filters=(WARM,)), 3)
    again.restore({name: block for name, block in begun.snapshot(full=True).items() if block is not None})
    assert pieces + again.process(rows(values[13:], 13)) == one
    assert again.watermark == whole.watermark
    assert again.advance(30, 9_999) == []


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="no field 'kelvin'; there are quantity, sensor_id"):
        select(fields=("kelvin",))
    with pytest.raises(ValueError, match="at least one field"):
        select(fields=())
    with pytest.raises(ValueError, match="'value' is no label"):
        select(key="value")


def test_its_stage_reads_and_writes_its_topics_and_its_hash_tells_filters() -> None:
    (stage,) = stages_of(select(), 4)
    assert (stage.topic, dict(stage.outputs)) == ("t", {"result": "o", "dead": "t.dlq"})
    assert select().hash != select(filters=(WARM,)).hash
