"""The compatibility checker: what it refuses by name, and that whatever it lets pass is truly readable."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.compatibility import breaks


class Inner(msgspec.Struct, kw_only=True, frozen=True):
    a: int


class InnerMore(msgspec.Struct, kw_only=True, frozen=True):
    a: int
    b: str = ""


class InnerStrict(msgspec.Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    a: int


TYPES: tuple[Any, ...] = (
    int, float, str, bool, bytes, None, int | None, float | None, int | str, Literal["a", "b"], Literal["a", "b", "c"],
    Literal[1, 2], list[int], list[float], list[int | None], dict[str, int], dict[str, float], Inner, InnerMore,
    InnerStrict, list[Inner], Inner | None,
)  # fmt: skip
VALUES: dict[Any, Any] = {
    int: [0, -5, 1 << 40], float: [0.5, -1e9], str: ["", "a", "zz"], bool: [True], bytes: [b"\x00\xff"], None: [None],
    int | None: [3, None], float | None: [0.25, None], int | str: [3, "b"], Literal["a", "b"]: ["a", "b"],
    Literal["a", "b", "c"]: ["a", "c"], Literal[1, 2]: [1, 2], list[int]: [[], [1, 2]], list[float]: [[0.5]],
    list[int | None]: [[None, 1]], dict[str, int]: [{}, {"a": 1}, {"x": 2}], dict[str, float]: [{"a": 0.5}],
    Inner: [Inner(a=1)], InnerMore: [InnerMore(a=1), InnerMore(a=1, b="x")], InnerStrict: [InnerStrict(a=1)],
    list[Inner]: [[Inner(a=1)]], Inner | None: [None, Inner(a=2)],
}  # fmt: skip

Fields = dict[str, tuple[int, bool]]
"""For each field the number of its type and whether it has a default."""


def struct(fields: Fields, strict: bool = False) -> type[msgspec.Struct]:
    def default(kind: int) -> Any:
        value = VALUES[TYPES[kind]][0]
        return msgspec.field(default_factory=lambda: value) if isinstance(value, list | dict) else value

    declared = [
        (name, TYPES[kind], default(kind)) if optional else (name, TYPES[kind])
        for name, (kind, optional) in fields.items()
    ]
    made: Any = msgspec.defstruct("T", declared, kw_only=True, forbid_unknown_fields=strict)  # type: ignore[arg-type]
    return made  # type: ignore[no-any-return]


def problems(old: type, new: type) -> list[str]:
    return breaks(msgspec.json.schema(old), msgspec.json.schema(new))


FIELDS = st.dictionaries(
    st.sampled_from("pqr"), st.tuples(st.integers(0, len(TYPES) - 1), st.booleans()), max_size=3
)


@settings(deadline=None, max_examples=600)
@given(old=FIELDS, new=FIELDS, strict=st.booleans(), data=st.data())
def test_whatever_passes_is_readable(old: Fields, new: Fields, strict: bool, data: st.DataObject) -> None:
    before, after = struct(old), struct(new, strict)
    if problems(before, after):
        return
    values = {name: data.draw(st.sampled_from(VALUES[TYPES[kind]])) for name, (kind, _) in old.items()}
    msgspec.json.decode(msgspec.json.encode(before(**values)), type=after)


@settings(deadline=None)
@given(fields=FIELDS)
def test_a_schema_accepts_its_own_values(fields: Fields) -> None:
    assert problems(struct(fields), struct(fields)) == []


def kind(of: Any) -> int:
    return TYPES.index(of)


@pytest.mark.parametrize("old", TYPES, ids=str)
def test_a_type_passes_for_another_only_if_all_its_values_are_readable(old: Any) -> None:
    before = struct({"p": (TYPES.index(old), False)})
    for new in range(len(TYPES)):
        after = struct({"p": (new, False)})
        if not problems(before, after):
            for value in VALUES[old]:
                msgspec.json.decode(msgspec.json.encode(before(p=value)), type=after)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"p": (kind(int), False)}, {"p": (kind(float), False)}),
        ({"p": (kind(int), False)}, {"p": (kind(int | None), False)}),
        ({"p": (kind(int), False)}, {"p": (kind(int | str), False)}),
        ({"p": (kind(int | None), False)}, {"p": (kind(float | None), False)}),
        ({"p": (kind(Literal["a", "b"]), False)}, {"p": (kind(Literal["a", "b", "c"]), False)}),
        ({"p": (kind(Literal["a", "b"]), False)}, {"p": (kind(str), False)}),
        ({"p": (kind(list[int]), False)}, {"p": (kind(list[float]), False)}),
        ({"p": (kind(dict[str, int]), False)}, {"p": (kind(dict[str, float]), False)}),
        ({"p": (kind(Inner), False)}, {"p": (kind(InnerMore), False)}),
        ({"p": (kind(Inner), False)}, {"p": (kind(Inner | None), False)}),
        ({"p": (kind(int), False)}, {"p": (kind(int), True)}),
        ({"p": (kind(int), False)}, {"p": (kind(int), False), "q": (kind(str), True)}),
        ({"p": (kind(int), False), "q": (kind(str), False)}, {"p": (kind(int), False)}),
    ],
)
def test_widening_is_allowed(old: Fields, new: Fields) -> None:
    assert problems(struct(old), struct(new)) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"p": (kind(float), False)}, {"p": (kind(int), False)}, "$.p: number is no longer accepted"),
        ({"p": (kind(int | None), False)}, {"p": (kind(int), False)}, "$.p: null is no longer accepted"),
        ({"p": (kind(str), False)}, {"p": (kind(Literal["a", "b"]), False)}, "$.p: string is no longer"),
        (
            {"p": (kind(Literal["a", "b", "c"]), False)},
            {"p": (kind(Literal["a", "b"]), False)},
            "value 'c' is no longer",
        ),
        ({}, {"p": (kind(int), False)}, "$.p: the field is new and required"),
        ({"p": (kind(int), True)}, {"p": (kind(int), False)}, "$.p: the field is required now"),
        ({"p": (kind(bytes), False)}, {"p": (kind(str), False)}, "contentEncoding"),
        ({"p": (kind(str), False)}, {"p": (kind(bytes), False)}, "contentEncoding is base64 now"),
        ({"p": (kind(InnerMore), False)}, {"p": (kind(InnerStrict), False)}, "$.p.b: the field is gone"),
        ({"p": (kind(list[float]), False)}, {"p": (kind(list[int]), False)}, "$.p[]: number is no longer"),
        (
            {"p": (kind(dict[str, float]), False)},
            {"p": (kind(dict[str, int]), False)},
            "$.p.*: number is no longer",
        ),
    ],
)
def test_narrowing_is_refused_where_it_happens(old: Fields, new: Fields, told: str) -> None:
    (problem,) = problems(struct(old), struct(new))
    assert told in problem


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ({"type": "integer"}, {"type": "integer", "minimum": 0}, "minimum is 0 now, was not set"),
        ({"type": "string", "maxLength": 9}, {"type": "string", "maxLength": 8}, "maxLength is 8 now, was 9"),
        ({"type": "string"}, {"type": "string", "pattern": "^a"}, "pattern is ^a now"),
        ({"type": "string"}, {"type": "string", "format": "date-time"}, "format is date-time now"),
        ({"type": "string"}, {"type": "string", "contentMediaType": "x"}, "contentMediaType is not understood"),
        ({"type": "object", "properties": {"p": {"type": "integer", "default": 1}}},
         {"type": "object", "properties": {"p": {"type": "integer", "default": 2}}}, "$.p: the default was 1"),
    ],
)  # fmt: skip
def test_tighter_bounds_and_other_meanings_are_refused(old: Any, new: Any, told: str) -> None:
    (problem,) = breaks(old, new)
    assert told in problem


def test_looser_bounds_and_other_words_are_allowed() -> None:
    old = {"type": "integer", "minimum": 0, "maximum": 9, "description": "a"}
    assert breaks(old, {"type": "integer", "minimum": -1, "title": "b"}) == []
    assert breaks({"type": "string", "format": "date-time"}, {"type": "string"}) == []


class Node(msgspec.Struct):
    value: int
    children: list[Node] = []


class Tree(msgspec.Struct):
    value: float
    children: list[Tree] = []


def test_a_type_that_holds_itself_is_compared_once() -> None:
    assert problems(Node, Tree) == []
    assert problems(Tree, Node) == ["$.value: number is no longer accepted, only integer"]
