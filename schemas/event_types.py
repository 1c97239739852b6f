"""How each event becomes columns: its time, numbers, labels, key and the checks its rows must pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import get_args

import msgspec

from schemas.checks import one_of, units
from schemas.draft import Draft
from schemas.events import HospitalEvent, HospitalKind, SensorReading

Check = Callable[[Draft], None]
"""Rejects rows of a draft, whole columns at once; may replace its columns by converted ones."""


@dataclass(frozen=True)
class EventType:
    """What the codec must know of an event.

    ``key`` is the label whose UTF-8 bytes are the record key. ``times`` are further, optional times; they
    become number columns in milliseconds, NaN where absent. A number or label whose struct field has a
    default may be absent (NaN, empty text); all others must be present, finite and not empty.
    """

    name: str
    struct: type[msgspec.Struct]
    key: str
    time: str
    numbers: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    times: tuple[str, ...] = ()
    checks: tuple[Check, ...] = field(default=())

    @cached_property
    def required(self) -> frozenset[str]:
        """The fields that every event must have."""
        return frozenset(f.name for f in msgspec.structs.fields(self.struct) if f.required)

    @cached_property
    def fields(self) -> tuple[str, ...]:
        """All fields that the codec reads."""
        return (*self.labels, *self.numbers, self.time, *self.times)

    @cached_property
    def batch_decoder(self) -> msgspec.json.Decoder[list[msgspec.Struct]]:
        """The typed decoder of a JSON array of events."""
        return msgspec.json.Decoder(list[self.struct])  # type: ignore[name-defined]

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[msgspec.Struct]:
        """The typed decoder of one event."""
        return msgspec.json.Decoder(self.struct)


SENSOR_READING = EventType(
    name="sensor-reading",
    struct=SensorReading,
    key="sensor_id",
    time="time",
    numbers=("value",),
    labels=("sensor_id", "site", "quantity", "unit"),
    checks=(units(value="value", quantity="quantity", unit="unit"),),
)

HOSPITAL_EVENT = EventType(
    name="hospital-event",
    struct=HospitalEvent,
    key="patient",
    time="time",
    labels=("id", "source", "kind", "patient", "code", "system", "version"),
    times=("end", "recorded"),
    checks=(one_of("kind", get_args(HospitalKind)),),
)
