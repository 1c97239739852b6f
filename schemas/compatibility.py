"""Tells whether a reader with a new JSON Schema accepts everything that was written under an old one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

Schema = Mapping[str, Any]

# Keyword: does the new value accept all that the old one did? Absent means no bound.
_LOWER: Final = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER: Final = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
_EXACT: Final = ("pattern", "format", "contentEncoding", "multipleOf", "uniqueItems")
_STRUCTURE: Final = {
    *("$ref", "$defs", "$schema", "$id", "type", "enum", "const", "anyOf", "oneOf", "items"),
    *("properties", "required", "additionalProperties"),
}
_NOTES: Final = {"title", "description", "examples", "default", "deprecated", "$comment"}
_UNDERSTOOD: Final = {*_LOWER, *_UPPER, *_EXACT, *_STRUCTURE, *_NOTES}


def breaks(old: Schema, new: Schema) -> list[str]:
    """Return what makes the new schema refuse or misread values of the old one, none if it is BACKWARD compatible.

    Values are taken to hold only what the old schema declares, as typed writers write them, and readers to ignore fields
    that they do not know. Refused are: a new required field, a field that becomes required, a narrower type, range, length
    or set of values, another format or encoding, another default (absent would come to mean something else), no longer
    allowing unknown fields while fields went away, and any difference in a keyword that is not understood here. Allowed
    are: new fields with a default, fields removed or no longer required, wider types (integer to number, one more
    alternative or value), looser bounds, other words.
    """
    return list(_Comparison(old, new).at(old, new, "$"))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old, self._new = old, new
        self._seen: set[tuple[str, str]] = set()

    def at(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        """Yield what breaks between two subschemas."""
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if "None" not in pair:
            if pair in self._seen:  # a type that holds itself
                return
            self._seen.add(pair)
        old, new = _resolved(old, self._old), _resolved(new, self._new)
        if odd := sorted((old.keys() | new.keys()) - _UNDERSTOOD):
            yield from (
                f"{path}: keyword {name} is not understood" for name in odd if old.get(name) != new.get(name)
            )
        choices = _choices(new)
        for choice in _choices(old):
            yield from self._accepted(choice, choices, path)

    def _accepted(self, old: Schema, choices: list[Schema], path: str) -> Iterator[str]:
        """Yield nothing if one of the new choices takes all of the old one."""
        old = _resolved(old, self._old)
        found = [list(self._one(old, _resolved(choice, self._new), path)) for choice in choices]
        if any(not problems for problems in found):
            return
        alike = [
            problems
            for problems, choice in zip(found, choices, strict=True)
            if len(choices) == 1 or _resolved(choice, self._new).get("type") == old.get("type")
        ]
        yield from alike[0] if len(alike) == 1 else [f"{path}: {_words(old)} is no longer accepted"]

    def _one(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        if _values(new) is not None or _values(old) is not None:
            yield from self._values_accepted(old, new, path)
            return
        old_type, new_type = old.get("type"), new.get("type")
        if new_type is not None and old_type != new_type and (old_type, new_type) != ("integer", "number"):
            yield f"{path}: {_words(old)} is no longer accepted, only {_words(new)}"
            return
        yield from _bounds(old, new, path)
        if "items" in new:
            yield from self.at(old.get("items", {}), new["items"], f"{path}[]")
        if new_type == "object":
            yield from self._fields(old, new, path)

    def _values_accepted(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = _values(old), _values(new)
        if before is None:
            yield f"{path}: {_words(old)} is no longer accepted, only {_words(new)}"
        elif after is None:
            for value in before:
                if _type_of(value) not in {new.get("type"), None} and new.get("type") is not None:
                    yield f"{path}: the value {value!r} is no longer accepted"
                yield from _bounds({}, new, path)
        else:
            yield from (f"{path}: the value {v!r} is no longer accepted" for v in before if v not in after)

    def _fields(self, old: Schema, new: Schema, path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        had, needs = set(old.get("required", ())), set(new.get("required", ()))
        for name in sorted(needs - had):
            what = "is required now" if name in before else "is new and required; give it a default"
            yield f"{path}.{name}: the field {what}"
        for name, field in before.items():
            if name in after:
                yield from self.at(field, after[name], f"{path}.{name}")
                if name not in had | needs and field.get("default") != after[name].get("default"):
                    yield f"{path}.{name}: the default was {field.get('default')!r}"
            else:
                yield from self._others({name: field}, new, path)
        rest = old.get("additionalProperties")
        if isinstance(rest, Mapping):
            yield from self._others({"*": rest}, new, path)
            for name in after.keys() - before.keys():
                yield from self.at(rest, after[name], f"{path}.{name}")

    def _others(self, fields: Mapping[str, Schema], new: Schema, path: str) -> Iterator[str]:
        """Yield what is wrong with fields that the new schema does not name."""
        rest = new.get("additionalProperties", True)
        for name, field in fields.items():
            if rest is False:
                yield f"{path}.{name}: the field is gone, and unknown fields are not allowed"
            elif isinstance(rest, Mapping):
                yield from self.at(field, rest, f"{path}.{name}")


def _resolved(schema: Schema, root: Schema) -> Schema:
    while "$ref" in schema:
        schema = root["$defs"][str(schema["$ref"]).removeprefix("#/$defs/")]
    return schema


def _choices(schema: Schema) -> list[Schema]:
    return list(schema.get("anyOf") or schema.get("oneOf") or [schema])


def _values(schema: Schema) -> list[Any] | None:
    return [schema["const"]] if "const" in schema else schema.get("enum")


def _type_of(value: object) -> str | None:
    return {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}.get(
        type(value)
    )


def _words(schema: Schema) -> str:
    values = _values(schema)
    return f"one of {values}" if values is not None else str(schema.get("type", "anything"))


def _bounds(old: Schema, new: Schema, path: str) -> Iterator[str]:
    for name in _LOWER:
        if name in new and (name not in old or new[name] > old[name]):
            yield f"{path}: {name} is {new[name]} now, was {old.get(name, 'not set')}"
    for name in _UPPER:
        if name in new and (name not in old or new[name] < old[name]):
            yield f"{path}: {name} is {new[name]} now, was {old.get(name, 'not set')}"
    for name in _EXACT:
        # Text in another encoding is accepted, but no longer understood.
        if new.get(name) != old.get(name) and (name in new or name == "contentEncoding"):
            yield f"{path}: {name} is {new.get(name, 'not set')} now, was {old.get(name, 'not set')}"
