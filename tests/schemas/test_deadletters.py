"""Dead letter headers: what is written can be read back, whatever the record held."""

from hypothesis import given
from hypothesis import strategies as st

from schemas.columns import Rejected
from schemas.deadletters import MAX_DETAIL, MESSAGE, dead_letter, dead_letter_topic, header, headers_for
from schemas.errors import ErrorCode

REJECTED = Rejected(
    42, 3, ErrorCode.UNKNOWN_UNIT, "no unit 'furlong' for length", b"s1", b'{"unit":"furlong"}'
)


def test_headers_follow_kafka_connect() -> None:
    headers = dict(headers_for(REJECTED, "air.sensor.reading.v1", 7, "decode"))
    assert headers == {
        "__connect.errors.topic": b"air.sensor.reading.v1",
        "__connect.errors.partition": b"7",
        "__connect.errors.offset": b"42",
        "__connect.errors.stage": b"decode",
        "__connect.errors.class.name": b"tidewatch.decode",
        "__connect.errors.exception.message": b"no unit 'furlong' for length",
        "tidewatch.error.code": b"unknown_unit",
        "tidewatch.row": b"3",
    }


@given(
    offset=st.integers(0, 2**62),
    row=st.integers(0, 10**6),
    code=st.sampled_from(ErrorCode),
    detail=st.text(st.characters(exclude_categories=["Cs"]), max_size=MAX_DETAIL),
    value=st.none() | st.binary(),
)
def test_reading_back_gives_what_was_rejected(
    offset: int, row: int, code: ErrorCode, detail: str, value: bytes | None
) -> None:
    rejected = Rejected(offset, row, code, detail, b"k", value)
    letter = dead_letter(headers_for(rejected, "t.v1", 5, "process"), rejected.key, rejected.value)
    assert letter.id == f"t.v1|5|{offset}|{row}"
    assert (letter.offset, letter.row, letter.code, letter.detail) == (offset, row, code, detail)
    assert (letter.stage, letter.key, letter.value) == ("process", b"k", value)


def test_a_hostile_detail_neither_fails_nor_grows_the_headers() -> None:
    rejected = Rejected(0, 0, ErrorCode.MALFORMED, "\ud800" + "x" * 10**6, None, b"")
    assert len(dict(headers_for(rejected, "t", 0, "decode"))[MESSAGE]) <= MAX_DETAIL


def test_a_letter_of_another_writer_is_read_as_far_as_it_goes() -> None:
    letter = dead_letter([("__connect.errors.topic", b"t"), ("__connect.errors.offset", b"?")], None, b"v")
    assert (letter.topic, letter.partition, letter.offset, letter.code) == ("t", -1, -1, "")
    assert dead_letter(None, None, None).id == "|-1|-1|-1"


def test_of_repeated_headers_the_last_counts() -> None:
    assert header([("a", b"1"), ("a", "2"), ("b", None)], "a") == "2"
    assert header([("b", None)], "b") is None


def test_the_topic_of_dead_letters_is_named_after_its_source() -> None:
    assert dead_letter_topic("air.sensor.reading.v1") == "air.sensor.reading.v1.dlq"
