"""Signals as read back: the latest state of pairs, what changed, and how strong the evidence is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol, TypeVar

import msgspec

from schemas.results import Alert, AlertState
from schemas.safety import SignalChange, SignalState, SignalStep
from streams.signals.presets import PRESETS


@dataclass(frozen=True, slots=True)
class SignalFilter:
    """Which pairs to show; patterns may hold * and ?, and ignore case."""

    drug: str = "*"
    event: str = "*"
    pipeline: str = "*"
    preset: str | None = None
    serious: bool = False

    def takes(self, state: SignalState, preset: str | None = None) -> bool:
        """Return whether a state is wanted, of a change under ``preset`` if one is given."""
        texts = ((state.drug, self.drug), (state.event, self.event), (state.pipeline, self.pipeline))
        if not all(fnmatchcase(text.casefold(), pattern.casefold()) for text, pattern in texts):
            return False
        if self.serious and not state.serious:
            return False
        presets = state.presets if preset is None else [preset]
        return self.preset is None or self.preset in presets


@dataclass(frozen=True, slots=True)
class Evidence:
    """How strong the evidence is, as a sum whose parts can be seen (after vigiRank, Caster et al. 2014).

    ``disproportionality`` is IC025 on its log2 scale, at least -1 and at most 4; ``presets`` half a point for each that is met;
    ``reports`` up to one point at 30 reports; ``seriousness`` one point if all are serious.
    """

    disproportionality: float
    presets: float
    reports: float
    seriousness: float

    @property
    def total(self) -> float:
        """Return the sum."""
        return self.disproportionality + self.presets + self.reports + self.seriousness

    @classmethod
    def of(cls, state: SignalState) -> Evidence:
        """Weigh a state."""
        ic025 = -1.0 if state.ic025 is None else min(max(state.ic025, -1.0), 4.0)
        return cls(
            ic025,
            0.5 * len(state.presets),
            min(state.n / 30, 1.0),
            state.serious / state.n if state.n else 0.0,
        )


_TOLD = (
    "n",
    "drug_total",
    "event_total",
    "total",
    "serious",
    "expected",
    "prr",
    "ror",
    "ic",
    "ic025",
    "ebgm",
    "eb05",
)

Keyed = tuple[bytes | None, bytes | None]


class Named(Protocol):
    """What is kept by its ``id``, the key of its records."""

    @property
    def id(self) -> str:
        """What it is kept by."""


N = TypeVar("N", bound=Named)


def latest(records: Iterable[Keyed], kind: type[N]) -> dict[str, N]:
    """Return the last value of every id, from keys and values of records in order; a record without value takes one back."""
    decode = msgspec.json.Decoder(kind).decode
    found: dict[str, N] = {}
    for key, value in records:
        if value:
            newest = decode(value)
            found[newest.id] = newest
        else:
            found.pop((key or b"").decode(), None)
    return found


def latest_states(records: Iterable[Keyed]) -> dict[str, SignalState]:
    """Return the last state of every pair by its id, as ``latest`` does."""
    return latest(records, SignalState)


def changes(values: Iterable[bytes | None]) -> list[SignalChange]:
    """Return the steps of signals, each id once, in order."""
    decode = msgspec.json.Decoder(SignalChange).decode
    found = {change.id: change for change in (decode(value) for value in values if value)}
    return list(found.values())


def ranked(states: Iterable[SignalState]) -> list[SignalState]:
    """Return states from the strongest evidence to the weakest; ties go by id."""
    return sorted(states, key=lambda state: (-Evidence.of(state).total, state.id))


_AS_ALERT: dict[SignalStep, AlertState] = {
    "open": "open", "strengthened": "update", "weakened": "update", "closed": "close",
}  # fmt: skip


def alert_of(change: SignalChange, partition: int, offset: int) -> Alert:
    """Return a step of a signal as an alert, for whoever is told of alerts; where it was read stands for its cause."""
    state = change.state
    leading = PRESETS[change.preset].leading if change.preset in PRESETS else None
    value = None if leading is None else getattr(state, leading.statistic)
    threshold = None if leading is None else leading.value
    if (
        state.llr is not None and state.critical is not None
    ):  # a sequential test, whose boundary each look sets
        value, threshold = state.llr, state.critical
    evidence = {name: getattr(state, name) for name in _TOLD}
    return Alert(
        id=change.id, alert_id=change.signal_id, pipeline=change.pipeline, rule=f"signal-{change.preset}", kind="signal",
        group=f"{change.drug}/{change.event}", labels={"drug": change.drug, "event": change.event},
        state=_AS_ALERT[change.step], severity="warning", revision=change.revision, opened_at=change.opened_at,
        time=change.time, partition=partition, offset=offset, value=value,
        threshold=threshold,
        message=f"{state.n} {state.unit}, {state.serious} serious, {state.expected:.3g} expected: {change.step}",
        evidence=evidence,
    )  # fmt: skip


def detected_issue(change: SignalChange) -> dict[str, Any]:
    """Return a step as a FHIR R4 DetectedIssue resource about no patient: counts and measures alone."""
    state = change.state
    measures = {
        name: value
        for name in ("prr", "ror", "ic", "ic025", "ebgm", "eb05", "llr", "expected")
        if (value := getattr(state, name)) is not None
    }
    detail = f"{state.drug} and {state.event}: {state.n} of {state.total} {state.unit}, {change.preset} {change.step}"
    return {
        "resourceType": "DetectedIssue",
        "identifier": [{"system": "urn:tidewatch:signal", "value": change.id}],
        "status": "preliminary" if change.step != "closed" else "cancelled",
        "code": {"text": "signal of disproportionate reporting"},
        "severity": "high" if state.serious else "moderate",
        "identifiedDateTime": _iso(change.time),
        "detail": detail,
        "evidence": [{"code": [{"text": f"{name} = {value:.6g}"}]} for name, value in measures.items()],
    }


def _iso(ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).isoformat()
