"""FHIR resources for tests, in short form."""

from __future__ import annotations

import json
from typing import Any

ATC, ICD = "http://www.whocc.no/atc", "http://hl7.org/fhir/sid/icd-10"


def concept(system: str, code: str) -> dict[str, Any]:
    return {
        "coding": [{"system": system, "code": code, "display": f"name of {code}"}],
        "text": "as written by hand",
    }


def given(
    number: int, drug: str, day: str, patient: str = "p1", status: str = "completed", **more: Any
) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration", "id": f"m{number}", "status": status,
        "subject": {"reference": f"Patient/{patient}"}, "medicationCodeableConcept": concept(ATC, drug),
        "effectiveDateTime": day, **more,
    }  # fmt: skip


def condition(number: int, code: str, day: str, patient: str = "p1", **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "Condition", "id": f"c{number}", "subject": {"reference": f"Patient/{patient}"},
        "code": concept(ICD, code), "onsetDateTime": day, **more,
    }  # fmt: skip


def wrong(resource: dict[str, Any]) -> dict[str, Any]:
    status = {"coding": [{"code": "entered-in-error"}]}
    meta = {"meta": {"versionId": "2"}}
    if resource["resourceType"] == "Condition":
        return resource | meta | {"verificationStatus": status}
    return resource | meta | {"status": "entered-in-error"}


PATIENT = {
    "resourceType": "Patient", "id": "p1", "gender": "female", "birthDate": "1980-05-17",
    "name": [{"family": "Nightingale", "given": ["Florence"]}], "telecom": [{"value": "555-0199"}],
    "address": [{"city": "Embley"}], "identifier": [{"value": "SSN-123-45"}],
}  # fmt: skip
ADVERSE = {
    "resourceType": "AdverseEvent", "id": "a1", "actuality": "actual",
    "subject": {"reference": "https://fhir.hospital.example/Patient/p1", "display": "Florence N."},
    "event": concept(ICD, "K25"), "date": "2026-02-03T10:00:00+01:00",
    "seriousness": {"coding": [{"code": "Serious"}]}, "suspectEntity": [{"instance": {"display": "ibuprofen"}}],
}  # fmt: skip


def bundle(*resources: dict[str, Any]) -> dict[str, Any]:
    return {"resourceType": "Bundle", "type": "collection", "entry": [{"resource": r} for r in resources]}


def raw(resource: dict[str, Any]) -> bytes:
    return json.dumps(resource).encode()
