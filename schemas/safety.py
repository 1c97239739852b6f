"""Reports of drugs and events as counted, and the signals that come of them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from schemas.events import EventTime

ReportStatus = Literal["active", "entered-in-error"]
Sex = Literal["female", "male", "unknown"]
SignalStep = Literal["open", "strengthened", "weakened", "closed"]
Judgement = Literal["reviewed", "confirmed", "refuted"]

DISPOSITIONS: Final = "pharma.signal.disposition.v1"
"""The topic of what analysts say of a pair; named here, as the command line needs it without the catalogue."""


class SafetyReport(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One report, or one derived event, of drugs and what happened after them.

    ``id`` is unique within ``source``; a follow-up or correction has the same id and a higher ``version``, and
    ``entered-in-error`` takes back what was counted. ``patient`` is a keyed hash made by the producer, empty where unknown.
    ``drugs`` and ``events`` are codes or terms as the source gives them. ``time`` is when the source received it, ``onset``
    when the event began; ``age`` is in years. Reports are counted against others of their ``population``.
    """

    id: str
    source: str
    time: EventTime
    drugs: list[str] = []
    events: list[str] = []
    population: str = "all"
    version: int = 1
    status: ReportStatus = "active"
    patient: str = ""
    onset: EventTime | None = None
    age: float | None = None
    sex: Sex = "unknown"
    site: str = ""
    serious: bool = False


class SignalState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """The latest state of one drug and event: counts, measures and the presets that it meets.

    ``id`` is ``pipeline|drug|event``. Counts are of distinct ``unit``; ``expected`` is under independence, within strata where
    the pipeline has some. Measures that are not defined are absent. ``time`` is the largest time received when it was computed,
    ``received`` how many rows had been counted by then.

    Of a monitored pair, ``unit`` is ``cases``: ``n`` are observed and ``expected`` come from background rates in ``drug_total``
    days at risk, of data old enough to be tested. ``llr`` is their log-likelihood ratio, ``critical`` what it had to exceed at
    this look, ``log_e`` the log of the e-value, ``alpha_spent`` the error used so far, ``p_calibrated`` against what negative
    controls show.
    """

    id: str
    pipeline: str
    drug: str
    event: str
    unit: str
    n: int
    drug_total: int
    event_total: int
    total: int
    serious: int
    expected: float
    time: int
    received: int
    prr: float | None = None
    prr025: float | None = None
    ror: float | None = None
    ror025: float | None = None
    chi2_yates: float | None = None
    ic: float | None = None
    ic025: float | None = None
    ebgm: float | None = None
    eb05: float | None = None
    llr: float | None = None
    critical: float | None = None
    log_e: float | None = None
    alpha_spent: float | None = None
    p_calibrated: float | None = None
    presets: list[str] = []


class SignalChange(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a signal of disproportionate reporting.

    ``signal_id`` (``pipeline|preset|drug|event|opened_at``) names the signal, ``id`` (``signal_id|revision``) this step of it;
    both are the same after any crash. Times are milliseconds; ``first_report`` is the time of the pair's first report, so that
    ``opened_at - first_report`` is the time to signal. ``state`` is all evidence at this step.
    """

    id: str
    signal_id: str
    pipeline: str
    preset: str
    preset_version: int
    code_version: str
    drug: str
    event: str
    step: SignalStep
    revision: int
    opened_at: int
    first_report: int
    time: int
    state: SignalState


class Disposition(msgspec.Struct, frozen=True, kw_only=True):
    """What an analyst makes of a pair, newest last; it is about the pair, so it stays while signals of it come and go.

    ``id`` is that of the pair's state, ``pipeline|drug|event``; ``time`` is when it was judged, in milliseconds. ``n`` is how many
    reports there were then, so that later ones can be told. ``reason`` is for everyone who reads signals: nothing of a patient.
    """

    id: str
    pipeline: str
    drug: str
    event: str
    judgement: Judgement
    reason: str
    analyst: str
    time: int
    n: int
