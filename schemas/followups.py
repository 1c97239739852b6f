"""What monitoring reads: the time at risk and the cases of patients, and how far each partition of patients has come."""

from __future__ import annotations

import msgspec


class FollowUp(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one patient adds to the cohort of a drug and an event, and what is taken back because the patient's facts have changed.

    ``at_risk`` and ``not_at_risk`` hold stretches of whole days since 1970, first and last included; ``cases`` and ``no_cases`` the
    days on which one began. Nothing here names the patient.
    """

    drug: str
    event: str
    at_risk: list[tuple[int, int]] = []
    cases: list[int] = []
    not_at_risk: list[tuple[int, int]] = []
    no_cases: list[int] = []


class Clock(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """How far one of ``partitions`` of patients is: what it knew before ``time`` (ms) is sent; nobody waits for an idle one."""

    partition: int
    partitions: int
    time: int
    idle: bool = False


class CohortUpdate(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A follow-up or a clock of a population, in order within each partition of patients."""

    population: str
    followup: FollowUp | None = None
    clock: Clock | None = None
