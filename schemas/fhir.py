"""The fields of FHIR R4 resources that signals need, as thin structs; everything else in a resource is skipped."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import msgspec

FactKind = Literal["exposure", "outcome", "report", "person"]


class Coding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One code of a coding system."""

    system: str = ""
    version: str = ""
    code: str = ""
    display: str = ""


class Concept(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A CodeableConcept."""

    coding: list[Coding] = []
    text: str = ""


class Reference(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A reference to another resource, such as ``Patient/123``."""

    reference: str = ""
    display: str = ""


class Period(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A period that may be open."""

    start: str = ""
    end: str = ""


class Meta(msgspec.Struct, frozen=True, rename="camel", omit_defaults=True, gc=False):
    """What a server says of a resource's version."""

    version_id: str = ""
    last_updated: str = ""


class Resource(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, tag_field="resourceType"
):
    """What all resources have; what is not said is not written again."""

    kind: ClassVar[FactKind]
    id: str = ""
    meta: Meta = Meta()


class Patient(Resource, frozen=True, kw_only=True, rename="camel", tag=True):
    """Sex and birth date; names and addresses are not read."""

    kind = "person"
    gender: str = ""
    birth_date: str = ""


class Suspect(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is suspected to have caused an adverse event."""

    instance: Reference = Reference()


class AdverseEvent(Resource, frozen=True, kw_only=True, rename="camel", tag=True):
    """An adverse event with its suspects, after the HL7 ICSR guide's minimum."""

    kind = "report"
    subject: Reference = Reference()
    actuality: str = "actual"
    event: Concept = Concept()
    date: str = ""
    detected: str = ""
    recorded_date: str = ""
    seriousness: Concept = Concept()
    suspect_entity: list[Suspect] = []


class MedicationUse(Resource, frozen=True, kw_only=True, rename="camel"):
    """What the resources of medicines given, taken or ordered have in common."""

    kind = "exposure"
    status: str = ""
    subject: Reference = Reference()
    medication_codeable_concept: Concept = Concept()
    medication_reference: Reference = Reference()
    effective_date_time: str = ""
    effective_period: Period = Period()
    authored_on: str = ""


class MedicationAdministration(MedicationUse, frozen=True, kw_only=True, tag=True):
    """A medicine that was given."""


class MedicationStatement(MedicationUse, frozen=True, kw_only=True, tag=True):
    """A medicine that is taken, as somebody says."""


class MedicationRequest(MedicationUse, frozen=True, kw_only=True, tag=True):
    """A medicine that was ordered."""


class Immunization(Resource, frozen=True, kw_only=True, rename="camel", tag=True):
    """A vaccination."""

    kind = "exposure"
    status: str = ""
    patient: Reference = Reference()
    vaccine_code: Concept = Concept()
    occurrence_date_time: str = ""


class Condition(Resource, frozen=True, kw_only=True, rename="camel", tag=True):
    """A diagnosis."""

    kind = "outcome"
    subject: Reference = Reference()
    code: Concept = Concept()
    verification_status: Concept = Concept()
    onset_date_time: str = ""
    onset_period: Period = Period()
    recorded_date: str = ""


class Observation(Resource, frozen=True, kw_only=True, rename="camel", tag=True):
    """A measurement, an outcome where it is interpreted as abnormal."""

    kind = "outcome"
    status: str = ""
    subject: Reference = Reference()
    code: Concept = Concept()
    interpretation: list[Concept] = []
    effective_date_time: str = ""
    effective_period: Period = Period()


class Named(msgspec.Struct, frozen=True, rename="camel"):
    """Only the type of a resource, to choose how to read the rest."""

    resource_type: str = ""


class Entry(msgspec.Struct, frozen=True, rename="camel"):
    """One entry of a Bundle, its resource not yet read."""

    full_url: str = ""
    resource: msgspec.Raw = msgspec.Raw()


class Bundle(msgspec.Struct, frozen=True, rename="camel", tag_field="resourceType", tag=True):
    """A Bundle of any type."""

    type: str = ""
    entry: list[Entry] = []


Read = (
    Patient
    | AdverseEvent
    | MedicationAdministration
    | MedicationStatement
    | MedicationRequest
    | Immunization
    | Condition
    | Observation
)
RESOURCES: dict[str, type[Resource]] = {struct.__name__: struct for struct in get_args(Read)}
# Read without harm, but they say nothing that is counted.
SILENT = frozenset(
    {"Encounter", "Organization", "Practitioner", "Location", "Provenance", "Medication", "Device"}
)

DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(struct) for name, struct in RESOURCES.items()
}
READ = msgspec.json.Decoder(Read | Bundle).decode
READ_TYPE = msgspec.json.Decoder(Named).decode
READ_BUNDLE = msgspec.json.Decoder(Bundle).decode
