"""A simulated network of hospitals with known truth: medicines given, diagnoses that follow or not, one hidden cause."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from producers.pseudonyms import Pseudonyms, pseudonymised

ATC, ICD = "http://www.whocc.no/atc", "http://hl7.org/fhir/sid/icd-10"
# A year that is over: what lies in the future is refused.
_START = datetime(2025, 1, 1, tzinfo=UTC)
_WINDOW = 30


@dataclass(frozen=True, slots=True)
class Network:
    """What is simulated. The hidden drug raises the hidden event ``relative_risk``-fold from day ``begins`` on.

    ``courses`` of medicine are spread over ``days`` in ``hospitals``; each event has a background rate, with a season.
    ``delay_days`` is the mean time until a diagnosis is sent, ``repeated`` and ``withdrawn`` are shares of resources.
    """

    courses: int = 20_000
    days: int = 360
    hospitals: int = 5
    drugs: int = 25
    events: int = 40
    relative_risk: float = 4.0
    begins: int = 90
    delay_days: float = 5.0
    repeated: float = 0.02
    withdrawn: float = 0.01
    seed: int = 1

    @property
    def hidden(self) -> tuple[str, str]:
        """The drug and event of the truth, as reports name them."""
        return f"{ATC}|{_drug(self.drugs // 3)}", f"{ICD}|{_event(self.events // 2)}"

    @property
    def medicines(self) -> list[str]:
        """The drugs, as reports name them."""
        return [f"{ATC}|{_drug(number)}" for number in range(self.drugs)]

    @property
    def hidden_rate(self) -> float:
        """How many hidden events a person has a day after any other drug, over the year."""
        return float(_common(self)[self.events // 2]) / _WINDOW


def _common(network: Network) -> Any:
    return 0.09 / np.arange(1, network.events + 1) ** 0.8


@dataclass(frozen=True, slots=True)
class Sent:
    """One record in the order in which hospitals send: the day, the key and the resource by pseudonym."""

    day: float
    key: bytes
    value: bytes


def records(network: Network, pseudonyms: Pseudonyms) -> list[Sent]:
    """Return all records of the network in order of sending; the same network and key give the same bytes."""
    rng = np.random.default_rng(network.seed)
    found: list[Sent] = []
    for day, hospital, resource in _resources(network, rng):
        ((key, value),) = pseudonymised(msgspec.json.encode(resource), hospital, pseudonyms)
        found.append(Sent(day, key, value))
        if rng.random() < network.repeated:
            found.append(Sent(day + rng.exponential(3.0), key, value))
    return sorted(found, key=lambda sent: (sent.day, sent.key, sent.value))


def _resources(network: Network, rng: np.random.Generator) -> Iterator[tuple[float, str, dict[str, Any]]]:
    popular = 1 / np.arange(1, network.drugs + 1) ** 0.7
    common = _common(network)
    season = 1 + 0.4 * np.sin(2 * np.pi * np.arange(network.events) / network.events)
    drug = rng.choice(network.drugs, network.courses, p=popular / popular.sum())
    given = rng.uniform(0, network.days, network.courses)
    hospital = rng.integers(0, network.hospitals, network.courses)
    for course in range(network.courses):
        patient, day, name = f"patient-{course}", float(given[course]), f"hospital-{hospital[course]}"
        yield day, name, _administration(course, patient, int(drug[course]), day)
        rate = common * (1 + 0.2 * season * np.cos(2 * np.pi * day / 365))
        if drug[course] == network.drugs // 3 and day >= network.begins:
            rate = rate.copy()
            rate[network.events // 2] *= network.relative_risk
        for event in np.flatnonzero(rng.random(network.events) < rate).tolist():
            onset = day + float(rng.uniform(0, _WINDOW))
            resource = _condition(f"{course}-{event}", patient, event, onset)
            sent = onset + float(rng.exponential(network.delay_days))
            yield sent, name, resource
            if rng.random() < network.withdrawn:
                wrong = {
                    "verificationStatus": {"coding": [{"code": "entered-in-error"}]},
                    "meta": {"versionId": "2"},
                }
                yield sent + float(rng.exponential(10.0)), name, resource | wrong


def _administration(course: int, patient: str, drug: int, day: float) -> dict[str, Any]:
    return {
        "resourceType": "MedicationAdministration", "id": str(course), "status": "completed",
        "subject": {"reference": f"Patient/{patient}"},
        "medicationCodeableConcept": {"coding": [{"system": ATC, "code": _drug(drug)}]},
        "effectiveDateTime": _date(day),
    }  # fmt: skip


def _condition(name: str, patient: str, event: int, day: float) -> dict[str, Any]:
    return {
        "resourceType": "Condition", "id": name, "subject": {"reference": f"Patient/{patient}"},
        "code": {"coding": [{"system": ICD, "code": _event(event)}]}, "onsetDateTime": _date(day),
    }  # fmt: skip


def _date(day: float) -> str:
    return (_START + timedelta(seconds=int(day * 86_400))).isoformat()


def day_of(ms: int) -> float:
    """Return the simulated day of a time in milliseconds."""
    return (ms / 1000 - _START.timestamp()) / 86_400


def _drug(number: int) -> str:
    return f"N{number:02d}AX"


def _event(number: int) -> str:
    return f"K{number:02d}"
