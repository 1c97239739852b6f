"""For which events the compiled JSON reader gives what msgspec would, and what it must know of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.event_types import EventType
from schemas.events import EventTime
from schemas.json_kernel import FIELD, KIND, LABEL, NAME, NUMBER, PLACE, REQUIRED, SIZE, TIME
from schemas.lexicon import Lexicon

_OTHER = -1
_KINDS: dict[Any, int] = {
    str: LABEL,
    float: NUMBER,
    float | None: NUMBER,
    EventTime: TIME,
    EventTime | None: TIME,
}


@dataclass(frozen=True, slots=True)
class Plan:
    """The fields of an event as the reader takes them, shape (fields, FIELD); ``names`` keeps their text in memory.

    Of each label there is the text where it is absent (None: it must be there) and the closed set it is from, if it is.
    """

    fields: NDArray[np.int64]
    names: NDArray[np.uint8]
    defaults: tuple[str | None, ...]
    allowed: tuple[frozenset[str] | None, ...]


def lexicon_of(event: EventType) -> Lexicon:
    """Return an empty lexicon for the labels of an event."""
    plan = plan_of(event)
    allowed = [None] * len(event.labels) if plan is None else plan.allowed
    return Lexicon([None if texts is None else texts.__contains__ for texts in allowed])


@cache
def plan_of(event: EventType) -> Plan | None:
    """Return the plan for an event, or None where only msgspec knows what its struct accepts."""
    struct = event.struct
    hints = get_type_hints(struct, include_extras=True)
    fields = {field.encode_name: field for field in msgspec.structs.fields(struct)}
    config = struct.__struct_config__
    if (
        fields.keys() != hints.keys()
        or fields.keys() != set(event.fields)
        or hasattr(struct, "__post_init__")
    ):
        return None
    if config.tag is not None or config.forbid_unknown_fields or config.array_like:
        return None
    kinds = [_kind(hints[name], name, event) for name in event.fields]
    if _OTHER in kinds or not all(map(_plain_default, fields.values(), hints.values())):
        return None
    defaults = [fields[name].default for name in event.labels]
    names = np.frombuffer("".join(event.fields).encode(), np.uint8)
    table = np.empty((len(event.fields), FIELD), np.int64)
    table[:, SIZE] = [len(name.encode()) for name in event.fields]
    table[:, NAME] = names.ctypes.data + np.cumsum(table[:, SIZE]) - table[:, SIZE]
    table[:, KIND], table[:, PLACE] = kinds, _places(event)
    table[:, REQUIRED] = [fields[name].required for name in event.fields]
    return Plan(
        table,
        names,
        tuple(default if isinstance(default, str) else None for default in defaults),
        tuple(_allowed(hints[name]) for name in event.labels),
    )


def _kind(hint: Any, name: str, event: EventType) -> int:
    kind = LABEL if get_origin(hint) is Literal else _KINDS.get(hint, _OTHER)
    declared = LABEL if name in event.labels else NUMBER if name in event.numbers else TIME
    return kind if kind == declared else _OTHER


def _plain_default(field: msgspec.structs.FieldInfo, hint: Any) -> bool:
    """Tell whether the field must be there, or else is empty text or absent."""
    wanted = str if _KINDS.get(hint, LABEL) == LABEL else type(None)
    return field.required or isinstance(field.default, wanted)


def _places(event: EventType) -> list[int]:
    return [*range(len(event.labels)), *range(len(event.numbers)), *range(1 + len(event.times))]


def _allowed(hint: Any) -> frozenset[str] | None:
    return frozenset(get_args(hint)) if get_origin(hint) is Literal else None
