"""Files as data frames: the forms, what is malformed in them, and errors that say what to do."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest

from producers.errors import MappingError, SourceError
from producers.rejects import RejectReason, Rejects
from producers.sources import check_file, read_frames

TABLE = pd.DataFrame({"id": ["a", "b"], "v": [1.5, 2.5], "other": [0, 0]})


def rows(
    path: Path, columns: list[str], rejects: Rejects | None = None, delimiter: str = ","
) -> list[list[object]]:
    frames = list(read_frames(path, columns, Rejects() if rejects is None else rejects, delimiter=delimiter))
    return [list(row) for frame in frames for row in frame.itertuples(index=False)]


def write(path: Path) -> Path:
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    match plain.suffix.lower():
        case ".csv" | ".tsv":
            text = TABLE.to_csv(index=False, sep="\t" if plain.suffix == ".tsv" else ",").encode()
        case ".parquet":
            TABLE.to_parquet(path)
            return path
        case _:
            text = TABLE.to_json(orient="records", lines=True).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize(
    "name", ["t.csv", "t.csv.gz", "t.tsv", "t.ndjson", "t.jsonl.gz", "t.parquet", "T.CSV"]
)
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str) -> None:
    found = rows(write(tmp_path / name), ["v", "id"])
    assert [(float(str(v)), i) for v, i in found] == [(1.5, "a"), (2.5, "b")]


@pytest.mark.parametrize("name", ["t.csv", "t.ndjson", "t.parquet", "t.csv.gz"])
def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path, name: str) -> None:
    with pytest.raises(MappingError, match=r"no column w.*id, v, other"):
        rows(write(tmp_path / name), ["w"])


def test_csv_rows_of_a_wrong_length_are_counted_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,v\na,1\nb,2,3\n"c\nd",4\n')
    rejects = Rejects()
    assert rows(path, ["id", "v"], rejects) == [["a", "1"], ["c\nd", "4"]]
    assert rejects.counts == {RejectReason.MALFORMED: 1}
    assert "b,2,3" in rejects.examples[RejectReason.MALFORMED]


def test_csv_words_for_nothing_are_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeffid;v\na;NA\nb;\nc;0\n", encoding="utf-8")
    frames = list(read_frames(path, ["id", "v"], Rejects(), delimiter=";"))
    assert frames[0]["v"].isna().tolist() == [True, True, False]


def test_ndjson_lines_that_are_no_object_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "t.ndjson"
    path.write_text('{"id":"a","at":{"s":1}}\n\n{"id":\n[1]\n{"id":"b"}\n')
    rejects = Rejects()
    assert rows(path, ["id", "at.s"], rejects) == [["a", 1], ["b", None]]
    assert rejects.counts == {RejectReason.MALFORMED: 2}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.xlsx", b""),
        ("t.parquet", b"no parquet"),
        ("t.csv.gz", b"no gzip"),
        ("t.ndjson.gz", gzip.compress(b"{}" * 99, mtime=0)[:-12]),
        ("t.csv", b"id\n\xff\xfe\n"),
    ],
)
def test_a_file_that_is_not_what_its_name_says_is_a_source_error(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(SourceError, match=name):
        rows(path, ["id"])


def test_a_file_that_is_not_there_is_a_source_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nothing"):
        rows(tmp_path / "nothing.csv", ["id"])


@pytest.mark.parametrize("name", ["nothing.csv", "t.xlsx"])
def test_a_file_is_checked_before_it_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.xlsx").touch()
    with pytest.raises(SourceError, match=name):
        check_file(tmp_path / name)
