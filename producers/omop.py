"""OMOP CDM 5.4 tables as FHIR resources by pseudonym: persons, drug exposures and conditions, in order of their dates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from producers.errors import SourceError
from producers.pseudonyms import Pseudonyms, pseudonymised

SYSTEM = "https://ohdsi.org/omop/concept"
_GENDER = {8507: "male", 8532: "female"}
_TABLES = {
    "person": ("person_id", "gender_concept_id", "year_of_birth"),
    "drug_exposure": ("drug_exposure_id", "person_id", "drug_concept_id", "drug_exposure_start_date"),
    "condition_occurrence": (
        "condition_occurrence_id", "person_id", "condition_concept_id", "condition_start_date",
    ),
}  # fmt: skip

Record = tuple[bytes, bytes]


def omop_records(folder: Path, source: str, pseudonyms: Pseudonyms) -> Iterator[Record]:
    """Give persons first, then exposures and conditions by date, as records to send; concept 0, which means none, is left out.

    Raises:
        SourceError: a table is missing or lacks a column of CDM 5.4.
    """
    for person in _rows(folder, "person"):
        resource = {
            "resourceType": "Patient", "id": str(person[0]), "gender": _GENDER.get(person[1], "unknown"),
            "birthDate": str(person[2]),
        }  # fmt: skip
        yield from _sent(resource, source, pseudonyms)
    events = [(row[3], 0, row) for row in _rows(folder, "drug_exposure") if row[2]]
    events += [(row[3], 1, row) for row in _rows(folder, "condition_occurrence") if row[2]]
    for day, kind, row in sorted(events, key=lambda event: (event[0], event[1], event[2][0])):
        yield from _sent((_exposure, _condition)[kind](row, str(day)), source, pseudonyms)


def _exposure(row: tuple[Any, ...], day: str) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration", "id": str(row[0]), "status": "completed",
        "subject": {"reference": f"Patient/{row[1]}"}, "medicationCodeableConcept": _concept(row[2]),
        "effectiveDateTime": day,
    }  # fmt: skip


def _condition(row: tuple[Any, ...], day: str) -> dict[str, Any]:
    return {
        "resourceType": "Condition", "id": str(row[0]), "subject": {"reference": f"Patient/{row[1]}"},
        "code": _concept(row[2]), "onsetDateTime": day,
    }  # fmt: skip


def _concept(concept: int) -> dict[str, Any]:
    return {"coding": [{"system": SYSTEM, "code": str(concept)}]}


def _sent(resource: dict[str, Any], source: str, pseudonyms: Pseudonyms) -> list[Record]:
    return pseudonymised(msgspec.json.encode(resource), source, pseudonyms)


def _rows(folder: Path, table: str) -> list[tuple[Any, ...]]:
    import pandas as pd

    columns = list(_TABLES[table])
    files = [folder / f"{table}{ending}" for ending in (".csv", ".csv.gz", ".parquet")]
    found = next((file for file in files if file.is_file()), None)
    if found is None:
        raise SourceError(f"{folder} has no {table}.csv, {table}.csv.gz or {table}.parquet")
    try:
        frame = (
            pd.read_parquet(found, columns=columns)
            if found.suffix == ".parquet"
            else pd.read_csv(found, usecols=columns)
        )
    except (OSError, ValueError) as error:
        raise SourceError(f"{found}: {error}") from error
    return list(frame[columns].itertuples(index=False, name=None))
