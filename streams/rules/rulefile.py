"""Rules in a YAML file: what is wrong is said with its line."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from streams.rules.base import Declaration
from streams.rules.ruleset import RuleError, Ruleset, mute_of, rule_of

Path = tuple[str | int, ...]
_FIELDS = {"pipeline", "rules", "mutes"}


@dataclass(frozen=True, order=True)
class Problem:
    """Something that is wrong in a file, at a line counted from 1."""

    line: int
    message: str


class RuleFileError(Exception):
    """A rules file that cannot be used; ``problems`` has everything found wrong, by line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(problems)
        super().__init__("; ".join(f"line {p.line}: {p.message}" for p in self.problems))


@dataclass(frozen=True)
class RuleFile:
    """The pipeline that a file is for, and its specs by name as they go to the topic of live rules."""

    pipeline: str
    specs: dict[str, dict[str, Any]]


@dataclass
class _Document:
    data: Any
    lines: dict[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """Return the line of a value, or of the nearest one around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def read_rules(
    text: str, declared: Sequence[Declaration] = (), labels: Collection[str] | None = None
) -> RuleFile:
    """Read a file of rules on top of the ``declared`` ones; ``labels`` are those that groups have, if known.

    Raises:
        RuleFileError: with the line of every problem found.
    """
    document = _parsed(text)
    problems: list[Problem] = []

    def wrong(path: Path, message: str) -> None:
        problems.append(Problem(document.line(path), message))

    data = document.data
    if not isinstance(data, dict):
        raise RuleFileError([Problem(1, "a rules file is a mapping with pipeline, rules and mutes")])
    for name in data.keys() - _FIELDS:
        wrong((name,), f"unknown field {name!r}; there are: {', '.join(sorted(_FIELDS))}")
    pipeline = data.get("pipeline")
    if not isinstance(pipeline, str) or not pipeline or "/" in pipeline:
        wrong(("pipeline",), "pipeline must name the pipeline that the rules are for")
    specs: dict[str, dict[str, Any]] = {}
    places: dict[str, Path] = {}
    for section in ("rules", "mutes"):
        entries = data.get(section) or []
        if not isinstance(entries, list):
            wrong((section,), f"{section} must be a list")
            continue
        for i, entry in enumerate(entries):
            spec = _checked(entry, section, (section, i), wrong, labels)
            if spec is not None and spec["name"] in specs:
                wrong(
                    (section, i, "name"),
                    f"the name {spec['name']!r} is taken by line {document.line(places[spec['name']])}",
                )
            elif spec is not None:
                specs[spec["name"]], places[spec["name"]] = spec, (section, i)
    if not problems:
        try:
            Ruleset.of(declared, specs)
        except RuleError as error:
            wrong((*places.get(error.rule or "", ()), *error.path), str(error))
    if problems:
        raise RuleFileError(problems)
    return RuleFile(str(pipeline), specs)


def pipeline_of(text: str) -> str:
    """Return the name of the pipeline that a file is for.

    Raises:
        RuleFileError: it names none.
    """
    data = _parsed(text).data
    if not isinstance(data, dict) or not isinstance(data.get("pipeline"), str):
        raise RuleFileError([Problem(1, "pipeline must name the pipeline that the rules are for")])
    return str(data["pipeline"])


def _checked(
    entry: Any, section: str, path: Path, wrong: Any, labels: Collection[str] | None
) -> dict[str, Any] | None:
    """Return an entry as a spec, or say what is wrong with it."""
    if not isinstance(entry, dict):
        wrong(path, f"each of the {section} is a mapping")
        return None
    if not isinstance(entry.get("name"), str) or not entry["name"]:
        wrong(path, "a name is missing")
        return None
    spec = {**entry, "kind": "mute"} if section == "mutes" else dict(entry)
    if section == "rules" and spec.get("enabled") is False:
        return spec
    try:
        if section == "mutes":
            where: Any = mute_of(spec).where
        else:
            where = dict(rule_of(spec).where)
    except RuleError as error:
        wrong((*path, *error.path), f"{entry['name']}: {error}")
        return None
    for label in where if labels is not None else ():
        if label not in (labels or ()):
            wrong(
                (*path, "where", label),
                f"{entry['name']}: groups have no label {label!r}; there are: {', '.join(labels or ())}",
            )
            return None
    return spec


def _parsed(text: str) -> _Document:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise RuleFileError([Problem(line, f"not YAML: {error.problem or error.context}")]) from error
    except yaml.YAMLError as error:
        raise RuleFileError([Problem(1, f"not YAML: {error}")]) from error
    document = _Document(None)
    document.data = _plain(node, (), document.lines) if node is not None else None
    return document


def _plain(node: yaml.Node, path: Path, lines: dict[Path, int]) -> Any:
    """Return a node as plain data, noting the line of every value; times stay text."""
    lines[path] = node.start_mark.line + 1
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item, (*path, i), lines) for i, item in enumerate(node.value)]
    if isinstance(node, yaml.MappingNode):
        found: dict[str, Any] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                raise RuleFileError([Problem(key.start_mark.line + 1, f"{name!r} is there twice")])
            found[name] = _plain(value, (*path, name), lines)
            lines[*path, name] = key.start_mark.line + 1
        return found
    if node.tag in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:str"):
        return node.value
    try:
        return yaml.SafeLoader("").construct_object(node)
    except yaml.YAMLError as error:
        raise RuleFileError(
            [Problem(lines[path], f"a value that rules have no use for: {node.value!r}")]
        ) from error
