"""ICH E2B(R3) messages to safety reports, read by the ``e2br3`` package."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import e2br3

from producers.errors import ProducerError
from producers.pseudonyms import Pseudonyms
from schemas.safety import SafetyReport, Sex

MAX_BYTES = 20 * 1_048_576
_SEX: dict[str, Sex] = {"1": "male", "2": "female"}  # ISO 5218
_YEARS = {"a": 1.0, "mo": 1 / 12, "wk": 7 / 365.25, "d": 1 / 365.25, "h": 1 / 8766, "{decade}": 10.0}


class E2BError(ProducerError):
    """A message is no E2B(R3) batch that can be counted; says which report and why."""


def reports_of(
    message: bytes, source: str, population: str, pseudonyms: Pseudonyms | None = None
) -> list[SafetyReport]:
    """Return one report for each ICSR of a message: suspect and interacting drugs, reactions as MedDRA codes or as told.

    A document type declaration is refused, with it every entity attack. Names, addresses and narratives are not read. A nullified
    case (C.1.11.1) takes back its report.

    Raises:
        E2BError: it is too large, no such XML, or a case lacks what is needed.
    """
    if len(message) > MAX_BYTES:
        raise E2BError(f"{len(message)} bytes, more than {MAX_BYTES}")
    try:
        batch = e2br3.parse(message)
    except (e2br3.E2BParseError, ValueError) as error:
        raise E2BError(str(error)) from error
    if not batch.messages:
        raise E2BError("the batch has no message")
    return [_report(one.icsr, source, population, pseudonyms) for one in batch.messages]


def _report(icsr: Any, source: str, population: str, pseudonyms: Pseudonyms | None) -> SafetyReport:
    name = _text(icsr.safety_report_id)
    received = _moment(icsr.most_recent_date) or _moment(icsr.first_received_date)
    if not name or received is None:
        raise E2BError(f"case {name or '(unnamed)'} has no id or no date of receipt")
    nullified = getattr(icsr.nullification_amendment, "code", None) == "1"
    drugs = sorted({drug for d in icsr.drugs if (drug := _drug(d))})
    events = sorted({event for r in icsr.reactions if (event := _reaction(r))})
    if not nullified and not (drugs and events):
        raise E2BError(f"case {name} has no suspect drug or no reaction that can be told")
    patient = _text(icsr.worldwide_case_id) or name
    onsets = [onset for r in icsr.reactions if (onset := _moment(r.start_date)) is not None]
    return SafetyReport(
        id=name,
        source=source,
        time=received,
        version=received // 86_400_000,  # E2B has no version: later information is a later one
        status="entered-in-error" if nullified else "active",
        drugs=[] if nullified else drugs,
        events=[] if nullified else events,
        population=population,
        patient=pseudonyms.of(source, patient) if pseudonyms else "",
        onset=min(onsets, default=None),
        age=_age(icsr.patient),
        sex=_SEX.get(getattr(getattr(icsr.patient, "sex", None), "code", None) or "", "unknown"),
        serious=any(_serious(reaction) for reaction in icsr.reactions),
    )


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _drug(drug: Any) -> str:
    """Return the name of a suspect (1), interacting (3) or not administered (4) drug; nothing for a concomitant one (2)."""
    if getattr(drug.role, "code", None) == "2":
        return ""
    substances = [text for substance in drug.substances if (text := _text(substance))]
    return (" / ".join(sorted(substances)) or _text(drug.product_name)).casefold()


def _reaction(reaction: Any) -> str:
    code = reaction.meddra_code
    return f"meddra|{code}" if code else _text(reaction.translated_term) or _text(reaction.native_term)


def _serious(reaction: Any) -> bool:
    names = ("results_in_death", "life_threatening", "hospitalisation", "disabling", "congenital_anomaly")
    return any(getattr(reaction, name) is True for name in (*names, "other_medically_important"))


def _moment(stamp: Any) -> int | None:
    value = getattr(stamp, "value", None)
    if isinstance(value, datetime):
        return int((value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp() * 1000)
    if isinstance(value, date):
        return int(datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp() * 1000)
    return None


def _age(patient: Any) -> float | None:
    age = getattr(patient, "age", None)
    years = _YEARS.get(getattr(age, "unit", None) or "")
    value = getattr(age, "value", None)
    return None if years is None or value is None else round(float(value) * years, 2)
