"""Letters that are too large are cut; everything else stays as it is."""

from __future__ import annotations

from schemas.columns import Rejected
from schemas.deadletters import REDACTED, header, headers_for
from schemas.errors import ErrorCode
from streams.letters import ORIGINAL_BYTES, redacted, shorter
from streams.task import Output
from streams.transactions import Record


def test_only_large_letters_on_dead_letter_topics_are_cut() -> None:
    records = [
        Record("t.dlq", 0, b"k", b"x" * 2_000_000, (("a", b"b"),)),
        Record("t.dlq", 0, b"k", b"x" * 70_000),
        Record("t.out", 0, b"k", b"x" * 3_000_000),
        Record("t.dlq", 0, b"k", None),
    ]
    first, second = shorter(records, {"t.dlq"})
    assert [len(r.value or b"") for r in first] == [1_000_000, 70_000, 3_000_000, 0]
    assert [len(r.value or b"") for r in second] == [65_536, 65_536, 3_000_000, 0]
    assert first[0].headers == (("a", b"b"), (ORIGINAL_BYTES, b"2000000"))


def test_nothing_to_cut_means_nothing_to_try() -> None:
    assert list(shorter([Record("t.out", 0, None, b"x" * 2_000_000)], {"t.dlq"})) == []


def test_a_redacted_letter_says_where_and_why_and_holds_nothing_of_its_event() -> None:
    for code, told in ((ErrorCode.MISSING_FIELD, "no date"), (ErrorCode.PROCESSING, "the task failed")):
        bad = Rejected(7, 0, code, "no date", b"patient", b"payload")
        letter = redacted(Output("dead", bad.key, bad.value, headers_for(bad, "t", 3, "decode")))
        assert (letter.key, letter.value) == (None, b"")
        headers = letter.headers
        assert header(headers, "__connect.errors.offset") == "7"
        assert header(headers, "tidewatch.error.code") == str(code)
        assert header(headers, "__connect.errors.exception.message") == told
        assert header(headers, REDACTED) == "7"
    result = Output("result", b"k", b"v")
    assert redacted(result) is result
