"""A measure of one pair over time, with the boundary above which it signals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from schemas.safety import SignalChange, SignalState
from sinks.signals import Keyed
from streams.signals.presets import PRESETS


@dataclass(frozen=True, slots=True)
class Course:
    """Values in order of time (ms), each with the boundary that held; only where the measure is defined."""

    measure: str
    rule: str
    times: tuple[int, ...]
    values: tuple[float, ...]
    boundary: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.values)


def history(records: Iterable[Keyed], steps: Iterable[SignalChange], state_id: str) -> list[SignalState]:
    """Return all states of a pair that are still to be had, in the order in which reports were counted.

    The topic of states is compacted, so older ones go after a while; those at which a signal changed stay with its steps.
    """
    decode = msgspec.json.Decoder(SignalState).decode
    name = state_id.encode()
    found = [decode(value) for key, value in records if key == name and value]
    found += [step.state for step in steps if step.state.id == state_id]
    return [state for _, state in sorted({(state.received, state.time): state for state in found}.items())]


def course_of(states: Sequence[SignalState], preset: str) -> Course:
    """Return the measure that decides a preset, over the states; of monitored pairs it is the test's own.

    Raises KeyError for a preset that there is not.
    """
    if any(state.unit == "cases" for state in states):
        return _tested(states, preset)
    leading = PRESETS[preset].leading
    points = [
        (state.time, value) for state in states if (value := getattr(state, leading.statistic)) is not None
    ]
    return Course(
        leading.statistic,
        preset,
        tuple(time for time, _ in points),
        tuple(value for _, value in points),
        (leading.value,) * len(points),
    )


def _tested(states: Sequence[SignalState], rule: str) -> Course:
    points = [(s.time, s.llr, s.critical) for s in states if s.llr is not None]
    # Where nothing was tested any more, the last boundary stands.
    boundary: list[float] = []
    for _, _, critical in points:
        boundary.append(critical if critical is not None else boundary[-1] if boundary else float("nan"))
    return Course(
        "llr", rule, tuple(time for time, _, _ in points), tuple(llr for _, llr, _ in points), tuple(boundary)
    )
