"""Pseudonyms: who a patient is becomes a keyed hash before anything reaches Kafka."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
from typing import Any

import msgspec

from producers.errors import ProducerError
from schemas import fhir
from schemas.clinical import patient_of

KEY_VARIABLE = "TIDEWATCH_PSEUDONYM_KEY"
_SHORTEST = 16


class KeyMissingError(ProducerError):
    """There is no key to make pseudonyms with, or it is too short."""


class Pseudonyms:
    """HMAC-SHA-256 of a patient's id within a source, by a key that stays with the producer.

    The same key gives the same pseudonym for ever; hospitals with different keys cannot be linked by it, only by attributes.
    Raises KeyMissingError for a key of fewer than 16 bytes.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < _SHORTEST:
            raise KeyMissingError(f"a pseudonym key needs at least {_SHORTEST} bytes")
        self._key = key

    @classmethod
    def from_environment(cls) -> Pseudonyms:
        """Take the key from ``TIDEWATCH_PSEUDONYM_KEY``."""
        key = os.environ.get(KEY_VARIABLE, "")
        if not key:
            raise KeyMissingError(
                f"set {KEY_VARIABLE} to a secret of this site, the same each time: it never leaves this machine"
            )
        return cls(key.encode())

    def of(self, source: str, patient: str) -> str:
        """Return the pseudonym, 26 letters and digits."""
        digest = hmac.new(self._key, f"{source}\x1f{patient}".encode(), hashlib.sha256).digest()
        return base64.b32encode(digest[:16]).decode().rstrip("=").lower()


def pseudonymised(value: bytes, source: str, pseudonyms: Pseudonyms) -> list[tuple[bytes, bytes]]:
    """Return the resources of a FHIR R4 resource or Bundle by pseudonym, as records to send: (key, value).

    Only the fields that are read later are written again, so that no name, address, note or identifier can leave; births keep
    their year. Resources that say nothing counted are left out.

    Raises:
        ProducerError: it is no FHIR, or has a resource whose patient cannot be told.
    """
    try:
        kind = fhir.READ_TYPE(value).resource_type
        if kind != "Bundle":
            return _records(kind, value, source, pseudonyms)
        entries = [bytes(entry.resource) for entry in fhir.READ_BUNDLE(value).entry]
        return [
            record
            for raw in entries
            for record in _records(fhir.READ_TYPE(raw).resource_type, raw, source, pseudonyms)
        ]
    except msgspec.DecodeError as error:
        raise ProducerError(f"not FHIR R4: {error}") from error


def _records(kind: str, value: bytes, source: str, pseudonyms: Pseudonyms) -> list[tuple[bytes, bytes]]:
    if kind not in fhir.DECODERS:
        return []
    kept: dict[str, Any] = msgspec.to_builtins(fhir.DECODERS[kind].decode(value))
    if kind == "Patient":
        patient = pseudonyms.of(source, _named(kept.get("id", ""), kind))
        kept |= {"id": patient, "birthDate": kept.get("birthDate", "")[:4]}
    else:
        field = "patient" if kind == "Immunization" else "subject"
        name = patient_of(fhir.Reference(**kept.get(field, {})))
        patient = pseudonyms.of(source, _named(name, kind))
        kept[field] = {"reference": f"Patient/{patient}"}
    return [(patient.encode(), msgspec.json.encode(_coded_only(kept)))]


def _named(patient: str, kind: str) -> str:
    if not patient:
        raise ProducerError(f"a {kind} has no patient that could be given a pseudonym")
    return patient


def _coded_only(node: Any) -> Any:
    """Return a tree without the free text of concepts that have a code, and without displays of codes."""
    if isinstance(node, list):
        return [_coded_only(child) for child in node]
    if not isinstance(node, dict):
        return node
    if any(coding.get("code") for coding in node.get("coding", [])):
        node = {"coding": [{k: v for k, v in coding.items() if k != "display"} for coding in node["coding"]]}
    return {name: _coded_only(child) for name, child in node.items()}
