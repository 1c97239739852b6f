"""The rules that watch one pipeline or roll-up: samples in, alerts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.results import Alert
from streams.frames import Firing
from streams.groups import Groups
from streams.rules.base import Declaration, Rule, Samples, Transition
from streams.task import Output

Ints = NDArray[np.int64]


class Watch:
    """Shows rows and closed windows to the rules and gathers what they say until ``alerts`` is asked for."""

    def __init__(self, name: str, declarations: Sequence[Declaration], groups: Groups) -> None:
        self._name, self._groups = name, groups
        self._rules: list[Rule] = [declaration.build() for declaration in declarations]
        self._found: list[tuple[int, Transition]] = []
        self._encode = msgspec.json.Encoder().encode

    def rows(
        self, group: NDArray[np.int32], time: Ints, value: NDArray[np.float64], cause: Ints, after: Ints
    ) -> None:
        """Show rows that count, in record order; ``after`` is the watermark after each."""
        samples = Samples(len(self._groups), group, time, value, cause, after)
        for number, rule in enumerate(self._rules):
            if rule.source == "row":
                self._found += [(number, transition) for transition in rule.update(samples)]

    def windows(self, firing: Firing, cause: Ints, watermark: Ints) -> None:
        """Show closed windows; ``cause`` and ``watermark`` are the row that closed each and the watermark after it."""
        shown, closed = firing.sampled, firing.closed
        if not shown.any():
            return
        for number, rule in enumerate(self._rules):
            if rule.source != "row":
                samples = Samples(
                    len(self._groups), closed.group[shown], firing.end[shown], closed.column(rule.source)[shown],
                    cause[shown], watermark[shown],
                )  # fmt: skip
                self._found += [(number, transition) for transition in rule.update(samples)]

    def advance(self, watermark: int) -> None:
        """Show a watermark that moved without a row."""
        for number, rule in enumerate(self._rules):
            self._found += [(number, transition) for transition in rule.advance(watermark, 0)]

    def alerts(self, offsets: Ints, partition: int) -> list[Output]:
        """Return the alerts found since the last call, in order of (cause, rule, group); ``offsets`` are those of the causes."""
        groups, found, self._found = self._groups, self._found, []
        outputs = []
        ordered = sorted(enumerate(found), key=lambda e: (e[1][1].cause, e[1][0], e[1][1].group, e[0]))
        for _, (number, t) in ordered:
            rule, name = self._rules[number], groups.names[t.group]
            alert_id = f"{self._name}|{rule.name}|{name}|{t.opened_at}"
            alert = Alert(
                id=f"{alert_id}|{t.revision}",
                alert_id=alert_id,
                pipeline=self._name,
                rule=rule.name,
                kind=rule.kind,
                group=name,
                labels=groups.labels(t.group),
                state=t.state,
                severity=t.severity,
                revision=t.revision,
                opened_at=t.opened_at,
                time=t.time,
                partition=partition,
                offset=int(offsets[t.cause]),
                value=t.value,
                threshold=t.threshold,
                message=t.message,
                evidence=t.evidence,
            )
            outputs.append(Output("alert", groups.keys[t.group], self._encode(alert)))
        return outputs

    def pack(self) -> dict[str, bytes]:
        """Return one part a rule."""
        return {str(number): rule.snapshot() for number, rule in enumerate(self._rules)}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over the rules' states."""
        for name, packed in parts.items():
            self._rules[int(name)].restore(packed)
