"""The compiled JSON reader must give what msgspec gives for every record it takes, and leave the rest alone."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import wire_json
from schemas.codec import Decoder, decode
from schemas.columns import Columns
from schemas.draft import Failure
from schemas.event_types import HOSPITAL_EVENT, SENSOR_READING, EventType
from schemas.json_plan import lexicon_of, plan_of
from tests.schemas.batches import T0, raw_batch, reading, reading_json


def _read(values: list[bytes], event: EventType = SENSOR_READING) -> tuple[Any, np.ndarray]:
    """Return the filled table and which records the reader took."""
    batch = raw_batch(values)
    table = wire_json._Table(event, len(values), lexicon_of(event))
    return table, wire_json._read_flat(batch, np.arange(len(values)), event, table)


def _row(table: Any, i: int, event: EventType) -> list[Any]:
    labels = [table.lexicon.texts[k][table.codes[k, i]] for k in range(len(event.labels))]
    return [*labels, *table.floats[:, i].tolist(), *table.times[:, i].tolist()]


def _exact(value: bytes, event: EventType) -> list[Any] | None:
    """Return what msgspec makes of a record, None where it is no event."""
    struct = wire_json.decode_one(value, event)
    if isinstance(struct, Failure):
        return None
    table = wire_json._Table(event, 1, lexicon_of(event))
    table.put(np.array([0]), [struct])
    return _row(table, 0, event)


def _agrees(values: list[bytes], event: EventType = SENSOR_READING) -> np.ndarray:
    table, sure = _read(values, event)
    for i in np.flatnonzero(sure).tolist():
        # repr tells -0.0 from 0.0 and one NaN is as good as another
        assert repr(_row(table, i, event)) == repr(_exact(values[i], event)), values[i]
    return sure


PIECES = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b" ", b"-", b"0", b"1", b".", b"e", b"E", b"+", b"\xff"),
        *(b'"sensor_id"', b'"a"', b'"site":"b"', b'"quantity":"c"', b'"unit":"d"', b'"value":1', b'"time":2', b"null", b"true"),
        *(b'{"sensor_id":"a","site":"b","quantity":"c","unit":"d",', b'"value":1.5,"time":1700000000000}', b"\xc3\xa9", b"\0"),
    ]
)  # fmt: skip
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
    st.from_regex(r"[-+]?[0-9.eE]{1,6}", fullmatch=True),
)
TIMES = st.one_of(
    st.integers(-5, 2 * 10**18).map(str),
    st.from_regex(
        r'"(19[67]|20[0-9]|21)[0-9]-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9]'
        r'(\.[0-9]{1,8})?(Z|z|[+-][0-2][0-9]:?[0-6][0-9])"',
        fullmatch=True,
    ),
    st.sampled_from(["null", "1.0", "1e3", '"now"', '""', "true", "01"]),
)


def _mutations(draw: Any) -> bytes:
    value = bytearray(reading_json(extra="x", more=-1.5e3, none=None))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(value) - 1))
        value[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=2) | PIECES)
    return bytes(value)


def test_plain_readings_are_taken() -> None:
    values = [
        reading_json(),
        reading_json(value=-3),
        reading_json(value=1e-7),
        reading_json(unit="µg/m³").replace(b"\\u00b5", "µ".encode()).replace(b"\\u00b3", "³".encode()),
        reading_json(time="2023-11-14T23:13:20.5+01:00"),
        reading_json(battery=3.1, ok=True, note="fine", gone=None, no=False),
        json.dumps(reading(), indent=2).encode(),
        json.dumps(dict(reversed(reading().items())), separators=(",", ":")).encode(),
    ]
    assert _agrees(values).all()


@pytest.mark.parametrize(
    "value",
    [
        reading_json(site="a\\b"),
        reading_json(site="\n"),
        reading_json(nested={}),
        reading_json(value=None),
        reading_json(value="1"),
        reading_json(time=1.0),
        reading_json(unit=...),
        reading_json() + b"{}",
        reading_json()[:-1],
        reading_json().replace(b'"site"', b'"unit"'),
        reading_json().replace(b"21.5", b"-0"),
        reading_json().replace(b"21.5", b"1e400"),
        reading_json().replace(b"21.5", b"1."),
        reading_json().replace(b"21.5", b"01"),
        reading_json().replace(b"kew", b"\xff"),
        reading_json().replace(b"kew", b"k\x1fw"),
        b"{}",
        b"null",
        b" ",
    ],
)
def test_what_is_in_doubt_is_left_alone(value: bytes) -> None:
    assert _agrees([value, reading_json()]).tolist() == [False, True]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.lists(PIECES, min_size=1, max_size=8).map(b"".join) | st.composite(_mutations)(), max_size=5)
)
def test_what_is_taken_is_what_msgspec_reads(values: list[bytes]) -> None:
    _agrees([value for value in values if value])


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(NUMBERS, TIMES), min_size=1, max_size=4))
def test_numbers_and_times_are_those_of_msgspec(pairs: list[tuple[str, str]]) -> None:
    template = reading_json(value=7777, time=8888)
    _agrees([template.replace(b"7777", v.encode()).replace(b"8888", t.encode()) for v, t in pairs])


@settings(deadline=None)
@given(st.floats(1e-20, 1e20))
def test_every_way_to_write_a_number_is_rounded_once(value: float) -> None:
    texts = [repr(value), f"{value:.17g}", f"{value:.3f}", f"{value:e}"]
    values = [reading_json(value=7777).replace(b"7777", text.encode()) for text in texts]
    table, sure = _read(values)
    assert sure.all()
    assert table.floats[0].tolist() == [float(text) for text in texts]


@settings(deadline=None)
@given(st.datetimes(datetime(1971, 1, 2), datetime(2199, 12, 30)), st.integers(-1439, 1439))
def test_times_as_text_are_taken(moment: datetime, shift: int) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=shift)))
    values = [reading_json(time=aware.isoformat()), reading_json(time=moment.isoformat() + "Z")]
    table, sure = _read(values)
    assert sure.all()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    expected = [(t - epoch) // timedelta(milliseconds=1) for t in (aware, moment.replace(tzinfo=UTC))]
    assert table.times[0].tolist() == expected


def test_optional_fields_and_closed_sets() -> None:
    event = {
        "id": "1",
        "source": "s",
        "kind": "condition",
        "patient": "p",
        "code": "c",
        "system": "ICD",
        "time": T0,
    }
    values = [
        json.dumps(event | more).encode() for more in ({}, {"version": "2", "end": T0}, {"kind": "rumour"})
    ]
    assert _agrees(values, HOSPITAL_EVENT).tolist() == [True, True, False]


class _Strict(msgspec.Struct, forbid_unknown_fields=True):
    a: str
    time: int


class _Limited(msgspec.Struct):
    a: int
    time: int


@pytest.mark.parametrize("struct", [_Strict, _Limited])
def test_events_that_only_msgspec_understands_have_no_plan(struct: type[msgspec.Struct]) -> None:
    assert plan_of(EventType("e", struct, key="a", time="time", labels=("a",))) is None


def _texts(columns: Columns, label: str) -> list[str]:
    column = columns.labels[label]
    return [column.values[code] for code in column.codes]


@settings(deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.text(max_size=3), st.integers(-99, 101)), max_size=5), min_size=1, max_size=5
    )
)
def test_a_decoder_that_remembers_gives_the_same_rows(batches: list[list[tuple[str, int]]]) -> None:
    decoder = Decoder(SENSOR_READING, max_texts=12)
    for rows in batches:
        batch = raw_batch([reading_json(sensor_id=sensor, value=value) for sensor, value in rows])
        remembered, alone = decoder(batch), decode(batch, SENSOR_READING)
        assert remembered.rejected == alone.rejected
        assert remembered.numbers["value"].tolist() == alone.numbers["value"].tolist()
        for label in SENSOR_READING.labels:
            assert _texts(remembered, label) == _texts(alone, label)


def test_a_decoder_keeps_codes_from_batch_to_batch() -> None:
    decoder = Decoder(SENSOR_READING)
    first = decoder(raw_batch([reading_json(sensor_id="a"), reading_json(sensor_id="b")])).labels["sensor_id"]
    second = decoder(raw_batch([reading_json(sensor_id="b"), reading_json(sensor_id="c")])).labels[
        "sensor_id"
    ]
    assert first.values is second.values
    assert first.codes.tolist() + second.codes.tolist() == [0, 1, 1, 2]


def test_many_texts_are_told_apart() -> None:
    lexicon = lexicon_of(SENSOR_READING)
    texts = [f"sensor-{i * 7919 % 5000}" for i in range(20_000)]
    codes = lexicon.codes(0, texts)
    assert [lexicon.texts[0][code] for code in codes] == texts
    assert len(lexicon.texts[0]) == 5_000
    assert lexicon.codes(1, texts[:3]).tolist() == [0, 1, 2]
    assert len(lexicon) == 5_003
