"""Replay: order, shift, rejects and counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.errors import EventRejectedError, SourceError
from producers.mapping import ColumnMap
from producers.pacing import Pacer
from producers.rejects import RejectReason, Rejects
from producers.replay import ReplayReport, file_readings, replay, time_span
from schemas.events import SensorReading

MAP = ColumnMap({"sensor_id": "id", "value": "v", "time": "t"}, {"quantity": "pm25", "unit": "ug/m3"})
AT_ONCE = Pacer(None, lambda: 0.0, lambda _: None)


def table(tmp_path: Path, *rows: str) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("\n".join(["id,v,t", *rows, ""]))
    return path


def test_file_order_is_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = table(tmp_path, "a,1,30", "b,2,10", "c,3,10")
    chunks = {flag: list(file_readings(path, MAP, Rejects(), ordered=flag)) for flag in (False, True)}
    names = {flag: [e.sensor_id for chunk in found for e in chunk.events] for flag, found in chunks.items()}
    assert names == {False: ["a", "b", "c"], True: ["b", "c", "a"]}


def test_the_span_is_that_of_valid_rows(tmp_path: Path) -> None:
    assert time_span(table(tmp_path, "a,1,30", "b,2,10", "c,x,99"), MAP) == (10_000, 30_000)
    with pytest.raises(SourceError, match="no row is a valid reading"):
        time_span(table(tmp_path, "c,x,99"), MAP)


def test_shifted_times_are_sent_and_reported(tmp_path: Path) -> None:
    sent: list[SensorReading] = []
    rejects = Rejects()
    chunks = file_readings(table(tmp_path, "a,1,30", "b,x,10", "c,3,20"), MAP, rejects)
    report = replay(chunks, sent.append, AT_ONCE, ReplayReport(rejects=rejects), shift=5)
    assert [(e.sensor_id, e.time) for e in sent] == [("a", 30_005), ("c", 20_005)]
    assert (report.events, report.first_time, report.last_time) == (2, 20_005, 30_005)
    assert report.rejects.counts == {RejectReason.NOT_A_NUMBER: 1}


def test_a_reading_that_cannot_be_sent_is_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    sent: list[SensorReading] = []

    def send(event: SensorReading) -> None:
        if event.sensor_id == "a":
            raise EventRejectedError("too large")
        sent.append(event)

    report = replay(
        file_readings(table(tmp_path, "a,1,1", "b,1,1"), MAP, Rejects()), send, AT_ONCE, ReplayReport()
    )
    assert (report.events, [e.sensor_id for e in sent]) == (1, ["b"])
    assert report.rejects.counts == {RejectReason.REFUSED: 1}
