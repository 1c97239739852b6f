"""A pipeline over an archive, job by job: each stage's files, their order between stages, and what is there afterwards."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from schemas.partitioning import partition_of
from schemas.results import WindowSummary
from sinks.archive_files import Extent, PartitionFiles
from sinks.errors import SinkError, TopicError
from sinks.tables import event_table
from streams.transactions import Record
from tidewatch.backfill.planning import BackfillError, Plan, topics_read
from tidewatch.backfill.record_files import RecordFile, batches_of, records_of
from tidewatch.backfill.run import run
from tidewatch.backfill.sources import ArchiveSource, ShuffledSource, archive_sources
from tidewatch.backfill.work import BeatenError, Job, perform
from tidewatch.declarations import DeclarationError, Declared

PARTITIONS, START = 3, 1_750_000_000_000
PIPELINE = """
from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, RollUp, Tumbling

MINE = Pipeline(
    name="mine", source="readings", event=SENSOR_READING, group_by=("sensor_id", "quantity"), keep=("site",),
    window=Tumbling(10_000), results="windows", alerts="alerts", partials="partials", totals="totals",
    rollups=(RollUp(by=("site",)), RollUp()),
)
"""
Reading = tuple[str, int, float]


def readings() -> list[Reading]:
    rng = np.random.default_rng(5)
    late = np.where(rng.random(900) < 0.05, 15_000, 0)
    moments = (START + np.arange(900) * 100 - late).tolist()
    sensors, values = rng.integers(0, 24, 900).tolist(), rng.integers(-40, 60, 900).tolist()
    return [(f"s{n}", time, float(number)) for n, time, number in zip(sensors, moments, values, strict=True)]


def value(reading: Reading) -> bytes:
    sensor, time, number = reading
    site = f"site-{int(sensor[1:]) % 2}"
    fields = {"sensor_id": sensor, "site": site, "quantity": "temperature", "unit": "degC", "value": number}
    return json.dumps(fields | {"time": time}).encode()


def partition(reading: Reading) -> int:
    return int(partition_of([reading[0].encode()], PARTITIONS)[0])


def archived(root: Path, rows: list[Reading], files: int = 3) -> None:
    for number in range(PARTITIONS):
        mine = [row for row in rows if partition(row) == number]
        store = PartitionFiles(root, "readings", number)
        store.prepare()
        cuts = np.linspace(0, len(mine), files + 1).astype(int).tolist()
        for first, last in itertools.pairwise(cuts):
            offsets = np.arange(first, last, dtype=np.int64)
            now = np.full(last - first, START + 10**7, np.int64)
            some = mine[first:last]
            batch = RawBatch(
                "readings", number, first, last, offsets, now, [row[0].encode() for row in some], [value(row) for row in some]
            )  # fmt: skip
            store.write(event_table(batch, SENSOR_READING), Extent(first, last, "id"))


@pytest.fixture
def declared(tmp_path: Path) -> Declared:
    file = tmp_path / "mine.py"
    file.write_text(PIPELINE)
    return Declared.of(f"{file}:MINE")


def perform_all(jobs: list[Job]) -> list[Job]:
    """Run jobs at once on this thread, where a cluster would run them."""
    for job in jobs:
        Path(perform(job, f"{job.name}-only", lambda _: None).directory).rename(job.won)
    return jobs


def backfilled(declared: Declared, root: Path, scratch: Path, *, complete: bool = False) -> Path:
    """Run both stages, job after job."""
    scratch.mkdir()
    plan = Plan(declared, {"readings": archive_sources(root, "readings")}, scratch, complete=complete)
    perform_all(plan.later_jobs(perform_all(plan.first_jobs(scratch)), scratch))
    return scratch


def results(scratch: Path, stage: int, topic: str) -> list[WindowSummary]:
    found = []
    for number in range(PARTITIONS):
        for file in sorted((scratch / f"{stage}-{number}" / topic).glob("*/*.parquet")):
            records = [record for _, record in records_of(file, topic, number)]
            found += [msgspec.json.decode(record.value or b"", type=WindowSummary) for record in records]
    return found


def recount(rows: list[Reading], *, complete: bool) -> dict[int, list[float]]:
    """Values of all sensors by start of window; late rows of their partition are left out unless complete."""
    watermark, members = [-1] * PARTITIONS, dict[int, list[float]]()
    for row in rows:
        number, start = partition(row), row[1] - row[1] % 10_000
        if complete or start + 10_000 > watermark[number]:
            members.setdefault(start, []).append(row[2])
        watermark[number] = max(watermark[number], row[1] - 2_000)
    closed = max(row[1] for row in rows) + 10_000 if complete else min(watermark)
    return {start: values for start, values in members.items() if start + 10_000 <= closed}


@pytest.mark.parametrize("complete", [False, True])
def test_both_stages_agree_with_a_recount(declared: Declared, tmp_path: Path, complete: bool) -> None:
    rows = readings()
    archived(tmp_path / "archive", rows)
    scratch = backfilled(declared, tmp_path / "archive", tmp_path / "work", complete=complete)
    expected = recount(rows, complete=complete)
    totals = {s.start: s for s in results(scratch, 1, "totals") if s.pipeline == "mine:all"}
    assert totals.keys() == expected.keys()
    for start, values in expected.items():
        assert (totals[start].count, totals[start].sum) == (len(values), sum(values))
    late = list(scratch.glob("0-*/readings.late/*/*.parquet"))
    assert bool(late) is not complete
    assert len({s.id for s in results(scratch, 0, "windows")}) == len(results(scratch, 0, "windows"))


def test_the_same_bytes_come_from_any_cut_of_the_archive(declared: Declared, tmp_path: Path) -> None:
    rows = readings()
    made = []
    for files in (1, 7):
        archived(tmp_path / f"archive-{files}", rows, files)
        scratch = backfilled(declared, tmp_path / f"archive-{files}", tmp_path / f"work-{files}")
        made.append(
            [[msgspec.json.encode(s) for s in results(scratch, 0, "windows")], results(scratch, 1, "totals")]
        )
    assert made[0] == made[1]


def test_an_attempt_that_was_beaten_ends_and_leaves_nothing(
    declared: Declared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archived(tmp_path / "archive", readings())
    source = archive_sources(tmp_path / "archive", "readings")[0]
    job = Job("0-0", 0, declared, 0, 0, PARTITIONS, source, [], False, str(tmp_path / "work"))
    job.won.mkdir(parents=True)
    monkeypatch.setattr("tidewatch.backfill.work._REPORT_EVERY", 0.0)
    with pytest.raises(BeatenError):
        perform(job, "second", lambda _: None)
    assert [each.name for each in (tmp_path / "work").iterdir()] == ["0-0"]


def test_records_come_back_from_their_files_byte_for_byte(tmp_path: Path) -> None:
    records = [
        Record("t", 1, b"k", b"v", (("a", b"1"), ("a", b"2"))),
        Record("t", 1, None, None),
        Record("t", 1, b"", b"\0"),
    ]
    file = RecordFile(tmp_path / "t" / "1" / "0.parquet")
    for watermark, record in enumerate(records):
        file.add(record, watermark)
    file.close()
    assert list(records_of(file.path, "t", 1)) == list(enumerate(records))
    (batch,) = batches_of(file.path, "t", 1)
    assert list(zip(batch.keys, batch.values, strict=True)) == [(r.key, r.value) for r in records]


def test_what_stages_send_is_merged_by_watermark_and_then_by_sender(tmp_path: Path) -> None:
    for number, watermarks in enumerate([(1, 5, 9), (2, 5, 6)]):
        file = RecordFile(tmp_path / f"{number}.parquet")
        for watermark in watermarks:
            file.add(Record("t", 0, None, b"%d@%d" % (number, watermark)), watermark)
        file.close()
    source = ShuffledSource([str(tmp_path / "0.parquet"), str(tmp_path / "1.parquet")], "t", 0)
    (batch,) = source.batches()
    assert list(batch.values) == [b"0@1", b"1@2", b"0@5", b"1@5", b"1@6", b"0@9"]
    assert source.total == 6


def test_an_archive_with_a_hole_is_refused(tmp_path: Path) -> None:
    archived(tmp_path, readings())
    files = PartitionFiles(tmp_path, "readings", 0).files()
    files[1].unlink()
    with pytest.raises(SinkError, match="lacks the records"):
        list(ArchiveSource(str(tmp_path), "readings", 0).batches())
    with pytest.raises(TopicError, match="is no archive of a topic"):
        archive_sources(tmp_path, "other")


def test_what_cannot_be_asked_for_is_refused(declared: Declared, tmp_path: Path) -> None:
    archived(tmp_path / "archive", readings())
    sources = {"readings": archive_sources(tmp_path / "archive", "readings")}
    with pytest.raises(BackfillError, match="is not empty"):
        run(Plan(declared, sources, tmp_path), None, lambda *_: None)  # type: ignore[arg-type]
    with pytest.raises(BackfillError, match="no windows"):
        Plan(Declared.of("pharma"), sources, tmp_path / "out", complete=True)
    with pytest.raises(BackfillError, match="equally many"):
        Plan(declared, {**sources, "other": sources["readings"][:1]}, tmp_path / "out")


def test_a_declaration_travels_with_its_text(declared: Declared, tmp_path: Path) -> None:
    (tmp_path / "mine.py").unlink()
    assert topics_read(declared.pipeline()) == ["readings"]
    with pytest.raises(DeclarationError):
        Declared.of("nothing")
