"""Rules as data: from plain dictionaries to declarations and mutes, with errors that say what is meant."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from streams.rules.base import Declaration
from streams.rules.composite import Composite
from streams.rules.flatline import FlatLine
from streams.rules.mutes import Mute
from streams.rules.rate import RateOfChange
from streams.rules.robust_z import RobustZ
from streams.rules.shift import QuantileShift
from streams.rules.silence import Silence
from streams.rules.threshold import Threshold

KINDS: Mapping[str, type[Any]] = {
    kind.kind: kind
    for kind in (Threshold, RateOfChange, RobustZ, FlatLine, Silence, QuantileShift, Composite)
}
Spec = Mapping[str, Any]


class RuleError(ValueError):
    """A rule that cannot be; ``path`` leads to the value that is wrong, in ``rule`` where that is not plain."""

    def __init__(self, message: str, path: tuple[str | int, ...] = (), rule: str | None = None) -> None:
        super().__init__(message)
        self.path, self.rule = path, rule


@dataclass(frozen=True)
class Scoped:
    """A rule and the groups it is for: those whose labels have these values."""

    declaration: Declaration
    where: tuple[tuple[str, str], ...] = ()

    @property
    def signature(self) -> str:
        """Return stable text that changes whenever its decisions could change."""
        return f"{self.declaration.signature()} where {self.where!r}"

    def covers(self, labels: Mapping[str, str]) -> bool:
        """Tell whether the rule is for a group with these labels."""
        return all(labels.get(name) == value for name, value in self.where)


@dataclass(frozen=True)
class Ruleset:
    """All rules and mutes of a pipeline at a time."""

    rules: tuple[Scoped, ...]
    mutes: tuple[Mute, ...] = ()

    @classmethod
    def of(cls, declared: Sequence[Declaration], specs: Mapping[str, Spec]) -> Ruleset:
        """Return the declared rules, replaced, switched off and added to by specs of their names.

        Raises:
            RuleError: a spec is wrong, or a composite names a rule that is not there.
        """
        rules = {declaration.name: Scoped(declaration) for declaration in declared}
        mutes = []
        for name, spec in sorted(specs.items()):
            if spec.get("kind") == "mute":
                mutes.append(mute_of(spec))
            elif spec.get("enabled", True):
                rules[name] = rule_of(spec)
            else:
                rules.pop(name, None)
        found = cls(tuple(rules.values()), tuple(mutes))
        found.check()
        return found

    def check(self) -> None:
        """Raise RuleError where a composite or a mute names a rule that is not there, or a composite a composite."""
        simple = {r.declaration.name for r in self.rules if not isinstance(r.declaration, Composite)}
        every = {r.declaration.name for r in self.rules}
        for rule in self.rules:
            if isinstance(rule.declaration, Composite):
                _known(rule.declaration.name, rule.declaration.of, simple, "of")
        for mute in self.mutes:
            _known(mute.name, mute.rules, every, "rules")

    def muted_by(self, rule: str, labels: Mapping[str, str], time: int) -> str | None:
        """Return the name of the first mute that covers an alert, if any."""
        return next((mute.name for mute in self.mutes if mute.covers(rule, labels, time)), None)


def check_spec(spec: Spec) -> None:
    """See that a spec is right by itself, whatever other rules there are.

    Raises:
        RuleError: it is wrong; the message says what would be right.
    """
    if spec.get("kind") == "mute":
        mute_of(spec)
    elif spec.get("enabled", True):
        rule_of(spec)


def rule_of(spec: Spec) -> Scoped:
    """Return the rule that a spec describes.

    Raises:
        RuleError: it describes none; the message says what would.
    """
    kind = spec.get("kind")
    if kind not in KINDS:
        raise RuleError(f"{_shown(kind)} is no kind of rule; {_meant(str(kind), KINDS)}", ("kind",))
    rest = {name: value for name, value in spec.items() if name not in ("kind", "where", "enabled")}
    declaration = _converted(rest, KINDS[str(kind)], ("kind", "where", "enabled"))
    where = _converted({"where": spec.get("where", {})}, _Where).where
    return Scoped(declaration, tuple(sorted(where.items())))


def mute_of(spec: Spec) -> Mute:
    """Return the mute that a spec describes.

    Raises:
        RuleError: it describes none; the message says what would.
    """
    rest = {name: value for name, value in spec.items() if name != "kind"}
    mute: Mute = _converted(rest, Mute, ("kind",))
    return mute


@dataclass
class _Where:
    where: dict[str, str]


def _converted(spec: Spec, kind: type[Any], also: Sequence[str] = ()) -> Any:
    known = [field.name for field in dataclasses.fields(kind)]
    for name in spec:
        if name not in known:
            raise RuleError(f"unknown field {name!r}; {_meant(name, [*known, *also])}", (name,))
    try:
        return msgspec.convert(dict(spec), kind, strict=True)
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        raise RuleError(message[:1].lower() + message[1:], _path(place.rstrip("`"))) from error


def _path(place: str) -> tuple[str | int, ...]:
    steps = place.replace("[", ".").replace("]", "").split(".")
    return tuple(int(step) if step.isdigit() else step for step in steps if step and step != "...")


def _known(name: str, parts: Sequence[str], there: set[str], field: str) -> None:
    for i, part in enumerate(parts):
        if part not in there:
            raise RuleError(
                f"{name!r} names {part!r}, which is no rule it can refer to; {_meant(part, there)}",
                (field, i),
                name,
            )


def _meant(word: str, words: Sequence[str] | set[str] | Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(words), 1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(words))}"


def _shown(kind: object) -> str:
    return "nothing" if kind is None else repr(kind)
