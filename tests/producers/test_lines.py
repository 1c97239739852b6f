"""Lines out of files and pipes: whole ones, in order, whatever pieces they come in."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import MappingError
from producers.lines import LONGEST, as_json, chunks_of_lines


def never() -> bool:
    return False


@settings(max_examples=50, deadline=None)
@given(st.lists(st.binary(max_size=20).filter(lambda line: b"\n" not in line), max_size=30), st.booleans())
def test_lines_are_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], ended: bool
) -> None:
    path = tmp_path_factory.mktemp("lines") / "in"
    path.write_bytes(b"\n".join(lines) + (b"\n" if ended else b""))
    with path.open("rb") as file:
        found = [line for chunk in chunks_of_lines(file.fileno(), never) for line in chunk]
    assert found == [line for line in lines if line.strip()]


def test_a_line_may_come_in_pieces_through_a_pipe() -> None:
    out, into = os.pipe()
    os.write(into, b"on")
    reader = chunks_of_lines(out, never, 0.01)
    os.write(into, b"e\ntwo\nthr")
    found = next(reader) or next(reader)
    os.close(into)
    assert [*found, *(line for chunk in reader for line in chunk)] == [b"one", b"two", b"thr"]
    os.close(out)


def test_a_sign_to_stop_is_heard_while_nothing_comes() -> None:
    out, into = os.pipe()
    signs = iter([False, False, True])
    assert list(chunks_of_lines(out, lambda: next(signs), 0.01)) == []
    os.close(out)
    os.close(into)


def test_a_line_without_an_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"x" * (3 * LONGEST + 10))
    with (tmp_path / "in").open("rb") as file:
        pieces = [line for chunk in chunks_of_lines(file.fileno(), never) for line in chunk]
    assert max(map(len, pieces)) <= 2 * LONGEST
    assert sum(map(len, pieces)) == 3 * LONGEST + 10


def test_csv_becomes_json_by_its_header() -> None:
    chunks = [
        [b"\xef\xbb\xbfsensor_id,value,time,site", b'"a,1",2.5,1700000000000,'],
        [b"b,warm,2023-11-14T22:13:20Z,kew", b"c,3"],
    ]
    found = [json.loads(line) for lines in as_json(chunks, "csv", ["value"], "time") for line in lines]
    assert found == [
        {"sensor_id": "a,1", "value": 2.5, "time": 1_700_000_000_000},
        {"sensor_id": "b", "value": "warm", "time": "2023-11-14T22:13:20Z", "site": "kew"},
        {"sensor_id": "c", "value": 3.0},
    ]


@pytest.mark.parametrize("header", [b"a,a", b"a,,b"])
def test_a_header_that_names_no_columns_is_refused(header: bytes) -> None:
    with pytest.raises(MappingError, match="first line"):
        list(as_json([[header, b"1,2"]], "csv", [], "time"))


def test_ndjson_passes_as_it_is() -> None:
    assert list(as_json([[b"{}"], [b"x"]], "ndjson", [], "time")) == [[b"{}"], [b"x"]]
