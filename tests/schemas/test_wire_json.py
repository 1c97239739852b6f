"""Decoding a whole JSON batch at once must equal decoding it record by record."""

from __future__ import annotations

import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import wire_json
from schemas.draft import Failure
from schemas.errors import ErrorCode
from schemas.event_types import SENSOR_READING, EventType
from schemas.wire_json import decode_one, decode_values
from tests.schemas.batches import reading_json


class _Loose(msgspec.Struct):
    """An event that nearly everything is, so that only the shape of the JSON decides."""

    a: int = 0


LOOSE = EventType(name="loose", struct=_Loose, key="a", time="a")

# Pieces from which records are put together that are wrong alone and may be right when joined.
FRAGMENTS = st.sampled_from(
    [
        *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b",\n", b" ", b"{}", b'"a"', b'"b"', b"1"),
        *(b'{"a":1', b'"b":2}', b'{"b":[{}', b"{}]}", b'{"a":1},{"a":2}', b'{"b":"', b'"}', b'{"b":{', b"}}"),
        *(
            b'{"a":1}',
            b'{"b":{"c":1}}',
            b'{"b":"{"}',
            b'{"b":"}"}',
            b'{"b":[1]}',
            b"\xff",
            b"\xc3\xa9",
            b"null",
        ),
    ]
)
RECORDS = st.lists(st.lists(FRAGMENTS, min_size=1, max_size=4).map(b"".join), min_size=1, max_size=6)
VALID = st.sampled_from(
    [b'{"a":1}', b'{"a":2,"b":"x"}', b'{"a":3,"b":"\xc3\xa9"}', b"{}", b'{"a":5,"b":null}']
)


def _one_by_one(values: list[bytes], event: EventType) -> tuple[list[msgspec.Struct], dict[int, Failure]]:
    outcomes = [decode_one(value, event) for value in values]
    return (
        [outcome for outcome in outcomes if not isinstance(outcome, Failure)],
        {i: outcome for i, outcome in enumerate(outcomes) if isinstance(outcome, Failure)},
    )


def _together(values: list[bytes], event: EventType) -> tuple[list[msgspec.Struct], dict[int, Failure]]:
    return decode_values(values, np.array([len(value) for value in values]), event)


@given(RECORDS)
def test_joined_equals_record_by_record(values: list[bytes]) -> None:
    assert _together(values, LOOSE) == _one_by_one(values, LOOSE)


@given(st.lists(st.one_of(VALID, FRAGMENTS), min_size=1, max_size=12))
def test_joined_equals_record_by_record_among_valid_records(values: list[bytes]) -> None:
    assert _together(values, LOOSE) == _one_by_one(values, LOOSE)


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=4))
def test_joined_equals_record_by_record_for_any_bytes(values: list[bytes]) -> None:
    assert _together(values, LOOSE) == _one_by_one(values, LOOSE)


@given(st.lists(VALID, min_size=1, max_size=20))
def test_valid_flat_records_are_decoded_by_one_call(values: list[bytes]) -> None:
    sizes = np.array([len(value) for value in values])
    assert wire_json._decode_together(values, sizes, LOOSE) == _one_by_one(values, LOOSE)[0]


@pytest.mark.parametrize(
    ("values", "valid"),
    [
        pytest.param([b"{},{}", b'{"a":1', b'"b":2}'], 0, id="two halves make up for two objects"),
        pytest.param([b"{},{}", b'{"b":[{}', b"{}]}"], 0, id="separator inside an ignored array"),
        pytest.param([b"{},{}", b'{"b":"{', b'}"}'], 0, id="separator inside a string"),
        pytest.param([b"{}],[{}"], 0, id="closing and opening the enclosing array"),
        pytest.param([b"[", b"]"], 0, id="brackets apart"),
        pytest.param([b"1,2", b"{}"], 1, id="two numbers"),
        pytest.param([b'{"a":1}}', b'{{"a":1}'], 0, id="superfluous braces"),
        pytest.param([b"{} {}", b"{}"], 1, id="two objects without a comma"),
        pytest.param([b"{},", b"{}"], 1, id="trailing comma"),
        pytest.param([b"{}\n", b" {}"], 2, id="white space around"),
        pytest.param([b'{"b":"}{"}', b"{}"], 2, id="braces in a string"),
    ],
)
def test_records_that_could_fool_a_join(values: list[bytes], valid: int) -> None:
    rows, failures = _together(values, LOOSE)
    assert (len(rows), len(failures)) == (valid, len(values) - valid)


def test_a_line_feed_in_a_string_is_refused_even_in_ignored_fields() -> None:
    # The proof that joining is safe rests on this.
    failure = decode_one(b'{"ignored":"a\nb"}', LOOSE)
    assert isinstance(failure, Failure)
    assert failure.code is ErrorCode.MALFORMED


def test_one_bad_record_spares_the_others() -> None:
    rows, failures = _together([b'{"a":1}', b'{"a":', b'{"a":3}'], LOOSE)
    assert [row.a for row in rows] == [1, 3]  # type: ignore[attr-defined]
    assert list(failures) == [1]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b'{"sensor_id":"s"', ErrorCode.MALFORMED),
        (b"not json", ErrorCode.MALFORMED),
        (b"  ", ErrorCode.MALFORMED),
        (b"\xef\xbb\xbf{}", ErrorCode.MALFORMED),
        (reading_json() + b"x", ErrorCode.MALFORMED),
        (b"null", ErrorCode.WRONG_TYPE),
        (b"[1]", ErrorCode.WRONG_TYPE),
        (reading_json(value="21.5"), ErrorCode.WRONG_TYPE),
        (reading_json(value=True), ErrorCode.WRONG_TYPE),
        (reading_json(value=None), ErrorCode.WRONG_TYPE),
        (reading_json(time=True), ErrorCode.WRONG_TYPE),
        (reading_json(time=1.5), ErrorCode.WRONG_TYPE),
        (reading_json(time="yesterday"), ErrorCode.WRONG_TYPE),
        (reading_json(time="2023-11-14T22:13:20"), ErrorCode.WRONG_TYPE),
        (reading_json(sensor_id=7), ErrorCode.WRONG_TYPE),
        (reading_json(site=...), ErrorCode.MISSING_FIELD),
        (reading_json(value=float("nan")), ErrorCode.NOT_FINITE),
        (reading_json(value=float("-inf")), ErrorCode.NOT_FINITE),
        (reading_json().replace(b"21.5", b"1e999"), ErrorCode.NOT_FINITE),
        (reading_json().replace(b"21.5", b"9" * 400), ErrorCode.NOT_FINITE),
        (reading_json().replace(b"kew", b"k\xff"), ErrorCode.INVALID_TEXT),
        (reading_json(ignored="x").replace(b'"x"', b'"\xff"'), ErrorCode.INVALID_TEXT),
        (reading_json().replace(b"kew", b"\xed\xa0\x80"), ErrorCode.INVALID_TEXT),
        (reading_json().replace(b"kew", b"\\ud800"), ErrorCode.INVALID_TEXT),
        (reading_json().replace(b"%d" % 1_700_000_000_000, b"9" * 5_000), ErrorCode.TIME_OUT_OF_RANGE),
    ],
)
def test_the_code_says_what_is_wrong(value: bytes, code: ErrorCode) -> None:
    failure = decode_one(value, SENSOR_READING)
    assert isinstance(failure, Failure)
    assert failure.code is code


@pytest.mark.parametrize("opening", [b"[", b'{"x":'])
def test_deep_nesting_is_refused_at_a_fixed_depth(opening: bytes) -> None:
    closing = b"]" if opening == b"[" else b"}"

    def nested(depth: int) -> bytes:
        return b'{"b":' + opening * depth + b"1" + closing * depth + b"}"

    assert not isinstance(decode_one(nested(wire_json.MAX_DEPTH - 1), LOOSE), Failure)
    for depth in (wire_json.MAX_DEPTH, 100_000):
        failure = decode_one(nested(depth), LOOSE)
        assert isinstance(failure, Failure)
        assert failure.code is ErrorCode.MALFORMED


def test_the_depth_bound_holds_for_a_joined_batch() -> None:
    value = b'{"b":' + b"[" * 200 + b"]" * 200 + b"}"
    assert _together([value, b"{}"], LOOSE) == _one_by_one([value, b"{}"], LOOSE)


def test_the_depth_bound_is_independent_of_the_callers_stack() -> None:
    value = b'{"b":' + b"[" * (wire_json.MAX_DEPTH - 1) + b"]" * (wire_json.MAX_DEPTH - 1) + b"}"

    def deeper(levels: int) -> object:
        return deeper(levels - 1) if levels else decode_one(value, LOOSE)

    frames = sys.getrecursionlimit() // 2
    assert not isinstance(deeper(frames), Failure)


def test_brackets_in_text_are_no_nesting() -> None:
    assert not isinstance(decode_one(b'{"b":"' + b"[" * 500 + b'\\"[["}', LOOSE), Failure)


def test_the_depth_of_a_hostile_string_is_found_in_linear_time() -> None:
    value = b'{"b":' + b"[" * 100 + b'"' + b'\\"' * 500_000
    failure = decode_one(value, LOOSE)
    assert isinstance(failure, Failure)


def test_an_error_of_one_batch_does_not_quote_without_bound() -> None:
    failure = decode_one(reading_json(time="x" * 10_000), SENSOR_READING)
    assert isinstance(failure, Failure)
    assert len(failure.detail) <= 200
