"""Sealed archives: a record can be read by its patient's key alone, and by nobody once that is deleted."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from threading import Event

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

import tidewatch
from producers.loader import load
from schemas.columns import RawBatch
from schemas.topics import find_topic
from sinks.archiver import Archiver
from sinks.errors import SinkError, TopicError
from sinks.makers import archive_maker
from sinks.metrics import SinkMetrics
from sinks.patient_keys import PatientKeys
from sinks.sealed import SEALED, opened, sealer
from tests.conftest import Kafka
from tests.sinks.results import make_topic
from tidewatch.cli import commands
from tidewatch.exits import Exit

FHIR, REPORTS = "hospital.fhir.resource.v1", "pharma.report.received.v1"


def batch(records: list[tuple[bytes | None, bytes | None]]) -> RawBatch:
    n = len(records)
    keys, values = [key for key, _ in records], [value for _, value in records]
    return RawBatch("t", 1, 5, 5 + n, np.arange(5, 5 + n), np.full(n, 9), keys, values)


def values(table: pa.Table, file: Path) -> list[bytes | None]:
    return opened(table, file).column("record_value").to_pylist()


def test_what_is_sealed_opens_until_the_key_is_deleted(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "patients.db"
    records = [(b"anna", b"first of anna"), (b"bert", b"of bert"), (b"anna", None), (None, b"of nobody")]
    table = sealer(find_topic(FHIR), PatientKeys(file))(batch(records))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    stored = (
        b"".join(table.column(SEALED).to_pylist()) + str(table.drop_columns([SEALED]).to_pydict()).encode()
    )
    assert b"anna" not in stored
    assert b"bert" not in stored
    assert values(table, file) == [value for _, value in records]
    assert opened(table, file).column("record_key").to_pylist() == [key for key, _ in records]
    (secret,) = sqlite3.connect(file).execute("SELECT secret FROM key WHERE patient = 'anna'").fetchone()
    assert secret in file.read_bytes()
    again = PatientKeys(file)
    assert again.knows("anna")
    again.forget("anna")
    assert not again.knows("anna")
    assert secret not in file.read_bytes()  # overwritten, not only unlinked
    assert values(table, file) == [None, b"of bert", None, b"of nobody"]
    later = sealer(find_topic(FHIR), again)(batch(records[:1]))
    assert values(later, file) == [b"first of anna"]  # a new key, which opens nothing older
    assert values(table, file)[0] is None


def test_reports_are_sealed_by_the_patient_they_name_or_each_by_itself(tmp_path: Path) -> None:
    texts = [
        b'{"id":"1","source":"a","patient":"anna"}',
        b'{"id":"2","source":"a"}',
        b"{",
        b'{"id":"3","source":"a"}',
    ]
    table = sealer(find_topic(REPORTS), PatientKeys(tmp_path / "k"))(
        batch([(b"all", text) for text in texts])
    )
    assert len(set(table.column("key_name").to_pylist())) == 4
    PatientKeys(tmp_path / "k").forget("anna")
    assert values(table, tmp_path / "k") == [None, *texts[1:]]


def test_a_record_that_was_changed_or_moved_is_refused(tmp_path: Path) -> None:
    table = sealer(find_topic(FHIR), PatientKeys(tmp_path / "k"))(batch([(b"a", b"x"), (b"a", b"y")]))
    moved = table.set_column(2, "offset", pa.array([6, 5], pa.int64()))
    changed = table.set_column(6, SEALED, pa.array([b"0" * 40] * 2, pa.binary()))
    for wrong in (moved, changed):
        with pytest.raises(SinkError, match="was changed"):
            opened(wrong, tmp_path / "k")
    (tmp_path / "none").write_bytes(b"this is no database, whatever its name may be")
    with pytest.raises(SinkError, match="cannot be used"):
        PatientKeys(tmp_path / "none")


@pytest.mark.parametrize("topic", [FHIR, REPORTS, "hospital.patient.event.v1", f"{REPORTS}.late"])
def test_a_topic_about_patients_is_not_archived_in_the_clear(topic: str, tmp_path: Path) -> None:
    with pytest.raises(TopicError, match="--keys"):
        archive_maker(topic)
    made = archive_maker(topic, keys=PatientKeys(tmp_path / "k"))(batch([(b"p", b"v")]))
    assert made.column_names == ["topic", "partition", "offset", "row", "timestamp", "key_name", SEALED]


@pytest.mark.kafka
def test_an_archive_on_disk_is_read_with_the_keys_and_forgets_a_patient(
    kafka: Kafka, topic_prefix: str, tmp_path: Path
) -> None:
    make_topic(kafka.connection, topic_prefix, 1)
    load(kafka.connection, topic_prefix, [(b"p%d" % (n % 3), b'{"n":%d}' % n) for n in range(30)])
    keys, place = tmp_path / "keys.db", tmp_path / "archive" / topic_prefix
    makers = {topic_prefix: archive_maker(topic_prefix, like=FHIR, keys=PatientKeys(keys))}
    metrics = SinkMetrics(CollectorRegistry(), "parquet")
    Archiver(kafka.connection, makers, place.parent, metrics).run(Event(), until_end=True)
    with pytest.raises(TopicError, match="sealed"):
        tidewatch.read(place)
    assert [msgspec.json.decode(v)["n"] for v in tidewatch.read(place, keys=keys)["record_value"]] == list(
        range(30)
    )
    forget = ["sink", "forget", "p1", "--keys", str(keys)]
    assert "would delete" in CliRunner().invoke(commands(), [*forget, "--dry-run"]).stderr
    assert CliRunner().invoke(commands(), forget, input="n\n").exit_code != Exit.OK
    assert PatientKeys(keys).knows("p1")
    assert CliRunner().invoke(commands(), forget, input="y\n").exit_code == Exit.OK
    assert CliRunner().invoke(commands(), [*forget, "--yes"]).exit_code == Exit.FAILED
    left = tidewatch.read(place, keys=keys)
    assert left["record_value"].isna().sum() == 10
    assert set(left["record_key"].dropna()) == {b"p0", b"p2"}
