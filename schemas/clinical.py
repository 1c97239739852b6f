"""Clinical facts: what FHIR resources, OMOP tables or hospital events say of one patient, in one small form."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from schemas import fhir
from schemas.draft import Failure
from schemas.errors import ErrorCode

MAX_ENTRIES = 5_000
_ABNORMAL = frozenset({"A", "AA", "H", "HH", "L", "LL", "HU", "LU"})
_DONE = frozenset(
    {"completed", "in-progress", "active", "final", "amended", "corrected", "on-hold", "stopped", ""}
)
_WRONG = "entered-in-error"
_SAID = _DONE | {_WRONG}


class ClinicalFact(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One fact about one pseudonymous patient.

    ``id`` is unique within ``source``; a fact with ``retracted`` takes back the one of this id; it says ``refuted`` if that
    was no error but a diagnosis that did not hold, which may be the first that one hears of it. ``codes`` are
    ``system|code`` texts: one for an exposure or outcome, the event first and then its suspects for a report. ``time`` is
    milliseconds, for a person the birth. ``version`` rises with each version of the fact.
    """

    id: str
    source: str
    kind: fhir.FactKind
    patient: str
    time: int
    codes: list[str] = []
    retracted: bool = False
    refuted: bool = False
    serious: bool = False
    sex: str = ""
    version: int = 1


def facts_of(value: bytes, source: str) -> list[ClinicalFact] | Failure:
    """Read a FHIR R4 resource or Bundle to facts, or say why it is none.

    A Bundle is taken whole or not at all. Resources that say nothing of exposures or outcomes give no fact; patients are named
    as the resource names them, so pseudonyms must have been put in before.
    """
    try:
        resource = fhir.READ(value)
        if not isinstance(resource, fhir.Bundle):
            return _fact_of(resource, source, "")
        if len(resource.entry) > MAX_ENTRIES:
            return Failure(
                ErrorCode.OVERSIZED, f"a Bundle of {len(resource.entry)} entries, more than {MAX_ENTRIES}"
            )
        facts: list[ClinicalFact] = []
        for entry in resource.entry:
            found = _of_entry(entry, source)
            if isinstance(found, Failure):
                return found
            facts += found
    except msgspec.ValidationError as error:
        return _unread(value, str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return Failure(ErrorCode.MALFORMED, str(error))
    return facts


def _of_entry(entry: fhir.Entry, source: str) -> list[ClinicalFact] | Failure:
    try:
        resource = fhir.READ(entry.resource)
    except msgspec.ValidationError as error:
        return _unread(entry.resource, str(error))
    if isinstance(resource, fhir.Bundle):
        return Failure(ErrorCode.UNKNOWN_RESOURCE, "a Bundle in a Bundle is not read")
    return _fact_of(resource, source, entry.full_url)


def _unread(value: bytes | msgspec.Raw, why: str) -> list[ClinicalFact] | Failure:
    """Return no facts for a resource that says none, or why something else is not read."""
    try:
        kind = fhir.READ_TYPE(value).resource_type
    except msgspec.ValidationError:
        return Failure(ErrorCode.WRONG_TYPE, why)
    if kind in fhir.SILENT:
        return []
    if kind in fhir.RESOURCES or kind == fhir.Bundle.__name__:
        return Failure(ErrorCode.WRONG_TYPE, why)
    return Failure(ErrorCode.UNKNOWN_RESOURCE, f"resources of type {kind!r} are not read")


def _fact_of(resource: fhir.Resource, source: str, url: str) -> list[ClinicalFact] | Failure:
    kind, read = _READERS[type(resource)]
    found = read(resource)
    name = resource.id or url
    if not name:
        return Failure(ErrorCode.MISSING_FIELD, f"the {kind} has no id")
    if found is None:
        return []
    patient, codes, time, retracted, refuted, serious, sex = found
    if not patient:
        return Failure(ErrorCode.MISSING_FIELD, f"the {kind} has no subject")
    coded = all(codes)
    if not retracted:
        if time is None:
            return Failure(ErrorCode.MISSING_FIELD, f"the {kind} has no date that can be read")
        if not coded:
            return Failure(ErrorCode.MISSING_FIELD, f"the {kind} has no code")
    version = resource.meta.version_id
    return [
        ClinicalFact(
            id=f"{kind}/{name}", source=source, kind=resource.kind, patient=patient, time=time or 0,
            codes=codes if coded else [], retracted=retracted, refuted=refuted, serious=serious, sex=sex,
            version=int(version) if version.isdecimal() else 1,
        )
    ]  # fmt: skip


Found = tuple[str, list[str], int | None, bool, bool, bool, str] | None
"""Patient, codes, time, whether retracted, refuted, serious, and the sex; None where nothing is said that counts."""


def _of_person(it: fhir.Patient) -> Found:
    sex = it.gender if it.gender in {"female", "male"} else "unknown"
    return it.id, [], moment(it.birth_date), False, False, False, sex


def _of_event(it: fhir.AdverseEvent) -> Found:
    if it.actuality not in {"actual", ""}:
        return None
    suspects = [s.instance.display or s.instance.reference for s in it.suspect_entity]
    serious = any(coding.code.casefold() == "serious" for coding in it.seriousness.coding)
    codes = [code_of(it.event), *suspects] if suspects else [""]
    time = moment(it.date or it.detected or it.recorded_date)
    return patient_of(it.subject), codes, time, False, False, serious, ""


def _of_use(it: fhir.MedicationUse) -> Found:
    if it.status not in _SAID:
        return None
    code = code_of(it.medication_codeable_concept) or it.medication_reference.display
    time = moment(it.effective_date_time or it.effective_period.start or it.authored_on)
    return patient_of(it.subject), [code], time, it.status == _WRONG, False, False, ""


def _of_immunization(it: fhir.Immunization) -> Found:
    if it.status not in _SAID:
        return None
    time, code = moment(it.occurrence_date_time), code_of(it.vaccine_code)
    return patient_of(it.patient), [code], time, it.status == _WRONG, False, False, ""


def _of_condition(it: fhir.Condition) -> Found:
    said = {coding.code for coding in it.verification_status.coding}
    refuted = "refuted" in said
    time = moment(it.onset_date_time or it.onset_period.start or it.recorded_date)
    return patient_of(it.subject), [code_of(it.code)], time, refuted or _WRONG in said, refuted, False, ""


def _of_observation(it: fhir.Observation) -> Found:
    wrong = it.status == _WRONG
    abnormal = any(coding.code in _ABNORMAL for concept in it.interpretation for coding in concept.coding)
    if not (wrong or (abnormal and it.status in _DONE)):
        return None
    time = moment(it.effective_date_time or it.effective_period.start)
    return patient_of(it.subject), [code_of(it.code)], time, wrong, False, False, ""


_READERS: dict[Any, tuple[str, Callable[[Any], Found]]] = {
    fhir.Patient: ("Patient", _of_person),
    fhir.AdverseEvent: ("AdverseEvent", _of_event),
    fhir.MedicationAdministration: ("MedicationAdministration", _of_use),
    fhir.MedicationStatement: ("MedicationStatement", _of_use),
    fhir.MedicationRequest: ("MedicationRequest", _of_use),
    fhir.Immunization: ("Immunization", _of_immunization),
    fhir.Condition: ("Condition", _of_condition),
    fhir.Observation: ("Observation", _of_observation),
}


def code_of(concept: fhir.Concept) -> str:
    """Return the first code of a concept as ``system|code``, or its text, or nothing."""
    for coding in concept.coding:
        if coding.code:
            return f"{coding.system}|{coding.code}" if coding.system else coding.code
    return concept.text


def patient_of(reference: fhir.Reference) -> str:
    """Return the patient that a reference names, without the type or the server before it, or the version after it."""
    name = reference.reference.partition("/_history/")[0]
    return name.rpartition("/")[2].removeprefix("urn:uuid:")


def moment(text: str) -> int | None:
    """Return a FHIR date or dateTime in milliseconds, None for what is none; a year or month begins with its first day, UTC."""
    if not text:
        return None
    full = text + "-01-01"[len(text) - 4 :] if len(text) in {4, 7} else text
    try:
        found = datetime.fromisoformat(full)
    except ValueError:
        return None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
