"""Numbered batches: their names are read back, and nothing else is taken for one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.batch_ids import batch_key, sent_batches
from schemas.codec import decode
from schemas.columns import Sent
from schemas.event_types import SENSOR_READING
from tests.schemas.batches import arrow_batch, arrow_readings, raw_batch, reading, reading_json

STREAMS = st.text("abcXYZ019._~-", min_size=1, max_size=120)


@given(STREAMS, st.integers(0, 2**63 - 1))
def test_a_name_is_read_back(stream: str, number: int) -> None:
    batch = replace(raw_batch([b"x"]), keys=[batch_key(stream, number)])
    assert sent_batches(batch, [0]) == (Sent(100, stream, number),)


@pytest.mark.parametrize(
    "key", [None, b"", b"s-1", b"batch:a", b"batch:a:x", b"batch:a b:1", b"batch:a:%d" % 2**63, b"\xff:1"]
)
def test_other_keys_name_no_batch(key: bytes | None) -> None:
    assert sent_batches(replace(raw_batch([b"x"]), keys=[key]), [0]) == ()


@pytest.mark.parametrize(("stream", "number"), [("a:b", 1), ("", 1), ("a", 2**63), ("a", -1), ("é", 1)])
def test_what_could_not_be_read_back_is_refused(stream: str, number: int) -> None:
    with pytest.raises(ValueError, match="no name"):
        batch_key(stream, number)


def test_columns_name_the_numbered_arrow_records() -> None:
    value = arrow_readings([reading()])
    batch = replace(arrow_batch(value, value, value), keys=[batch_key("g", 7), b"s-1", batch_key("g", 8)])
    columns = decode(batch, SENSOR_READING)
    assert columns.sent == (Sent(100, "g", 7), Sent(104, "g", 8))
    assert columns.take(slice(1, 2), 102, 104).sent == columns.sent


def test_a_json_record_is_no_batch_whatever_its_key() -> None:
    batch = replace(raw_batch([reading_json()]), keys=[batch_key("g", 7)])
    assert decode(batch, SENSOR_READING).sent == ()
