"""The rules that watch one pipeline or roll-up: samples in, alerts out, and rules that change while it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.results import Alert
from streams.frames import Firing
from streams.groups import Groups
from streams.merging import selected
from streams.rules.base import Declaration, Rule, Samples, Transition
from streams.rules.composite import CompositeRule
from streams.rules.ruleset import Ruleset, Scoped
from streams.rules.shift import ShiftRule
from streams.sketches.mapping import LogMapping
from streams.task import Output

Ints = NDArray[np.int64]
_DECLARED = "{}"


class Watch:
    """Shows rows and closed windows to the rules and gathers what they say until ``alerts`` is asked for.

    ``plan`` announces other rules, ``turn`` puts them in force once their time has come: rules that stay the same keep their state,
    the others begin anew, and open alerts of rules that are gone or changed are closed.
    """

    def __init__(
        self, name: str, declarations: Sequence[Declaration], groups: Groups, mapping: LogMapping
    ) -> None:
        self._name, self._declarations, self._groups, self._mapping = name, declarations, groups, mapping
        self._encode = msgspec.json.Encoder().encode
        self._found: list[tuple[int, Transition]] = []
        self._openings: dict[str, dict[int, int]] = {}
        self._planned: tuple[str, int] | None = None
        self.text = _DECLARED
        self._set = Ruleset.of(declarations, {})
        self._rules: list[Rule] = [scoped.declaration.build() for scoped in self._set.rules]

    # --- samples

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
        shown = np.flatnonzero(firing.sampled)
        if not len(shown) or all(rule.source in ("row", "alert") for rule in self._rules):
            return
        closed = firing.closed if len(shown) == len(firing.sampled) else selected(firing.closed, shown)
        n_groups, end, cause, watermark = len(self._groups), firing.end[shown], cause[shown], watermark[shown]
        for number, rule in enumerate(self._rules):
            if isinstance(rule, ShiftRule):
                samples = Samples(n_groups, closed.group, end, closed.mean, cause, watermark)
                found = rule.update_sketches(samples, closed, self._mapping)
            elif rule.source in ("row", "alert"):
                continue
            else:
                value = closed.column(rule.source)
                found = rule.update(Samples(n_groups, closed.group, end, value, cause, watermark))
            self._found += [(number, transition) for transition in found]

    def advance(self, watermark: int) -> None:
        """Show a watermark that moved without a row."""
        for number, rule in enumerate(self._rules):
            self._found += [(number, transition) for transition in rule.advance(watermark, 0)]

    def alerts(self, offsets: Ints, partition: int, after: Ints) -> tuple[list[int], list[Output]]:
        """Return the alerts found since the last call and the cause of each, in order of (cause, rule, group).

        ``offsets`` are those of the causes, ``after`` is the watermark after each of them.
        """
        found, self._found = self._found, []
        if any(scoped.where for scoped in self._set.rules):
            rules, groups = self._set.rules, self._groups
            found = [(n, t) for n, t in found if rules[n].covers(groups.labels(t.group))]
        found = _ordered(found)
        composites = [(n, rule) for n, rule in enumerate(self._rules) if isinstance(rule, CompositeRule)]
        if composites:
            named = [(self._rules[number].name, transition) for number, transition in found]
            for number, rule in composites:
                found += [(number, transition) for transition in rule.follow(named, after)]
            found = _ordered(found)
        outputs = [
            self._output(self._rules[number], t, int(offsets[t.cause]), partition) for number, t in found
        ]
        return [t.cause for _, t in found], outputs

    # --- rules that change

    @property
    def boundary(self) -> int | None:
        """The watermark at which the planned rules take effect, if any are planned."""
        return None if self._planned is None else self._planned[1]

    @property
    def latest(self) -> str:
        """The specs planned, or those in force where none are planned."""
        return self.text if self._planned is None else self._planned[0]

    def plan(self, text: str, boundary: int) -> None:
        """Announce the specs, by name and in JSON, that are to hold on top of the declared rules from a watermark on.

        Raises:
            RuleError: they are wrong.
        """
        Ruleset.of(self._declarations, msgspec.json.decode(text))
        self._planned = text, boundary

    def turn(self, watermark: int, offset: int, partition: int) -> list[Output]:
        """Put the planned rules in force and return the closings of alerts whose rule is gone or changed."""
        if self._planned is None:
            return []
        was = {
            scoped.declaration.name: (scoped, rule)
            for scoped, rule in zip(self._set.rules, self._rules, strict=True)
        }
        self.text, self._planned = self._planned[0], None
        self._set = Ruleset.of(self._declarations, msgspec.json.decode(self.text))
        kept = {s.declaration.name for s in self._set.rules if _same(was.get(s.declaration.name), s)}
        outputs = []
        for name, (_, rule) in was.items():
            if name not in kept:
                outputs += [self._output(rule, t, offset, partition) for t in rule.withdraw(watermark, 0)]
                self._openings[name] = self._openings.get(name, {}) | rule.openings()
        self._rules = []
        for scoped in self._set.rules:
            name = scoped.declaration.name
            rule = was[name][1] if name in kept else scoped.declaration.build()
            if name not in kept and name in self._openings:
                rule.inherit(self._openings[name])
            self._rules.append(rule)
        return outputs

    # --- state

    def pack(self) -> dict[str, bytes]:
        """Return one part a rule, and one that says which rules there are."""
        openings = [[name, sorted(times.items())] for name, times in sorted(self._openings.items())]
        parts = {str(number): rule.snapshot() for number, rule in enumerate(self._rules)}
        return parts | {"set": msgspec.msgpack.encode([self.text, self._planned, openings])}

    def unpack(self, parts: Mapping[str, bytes]) -> None:
        """Take over the rules and their states."""
        self.text, planned, openings = msgspec.msgpack.decode(parts["set"])
        self._planned = None if planned is None else (planned[0], planned[1])
        self._openings = {name: dict(times) for name, times in openings}
        self._set = Ruleset.of(self._declarations, msgspec.json.decode(self.text))
        self._rules = [scoped.declaration.build() for scoped in self._set.rules]
        for number, rule in enumerate(self._rules):
            rule.restore(parts[str(number)])

    def _output(self, rule: Rule, t: Transition, offset: int, partition: int) -> Output:
        groups, name = self._groups, self._groups.names[t.group]
        labels = groups.labels(t.group)
        alert_id = f"{self._name}|{rule.name}|{name}|{t.opened_at}"
        alert = Alert(
            id=f"{alert_id}|{t.revision}",
            alert_id=alert_id,
            pipeline=self._name,
            rule=rule.name,
            kind=rule.kind,
            group=name,
            labels=labels,
            state=t.state,
            severity=t.severity,
            revision=t.revision,
            opened_at=t.opened_at,
            time=t.time,
            partition=partition,
            offset=offset,
            value=t.value,
            threshold=t.threshold,
            message=t.message,
            evidence=t.evidence,
            muted_by=self._set.muted_by(rule.name, labels, t.time),
        )
        return Output("alert", groups.keys[t.group], self._encode(alert))


def _ordered(found: list[tuple[int, Transition]]) -> list[tuple[int, Transition]]:
    return sorted(found, key=lambda pair: (pair[1].cause, pair[0], pair[1].group))


def _same(was: tuple[Scoped, Any] | None, now: Scoped) -> bool:
    return was is not None and was[0].signature == now.signature
