"""The events that producers publish, as typed structs; their JSON form is the wire form."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

import msgspec

EventTime = int | Annotated[datetime, msgspec.Meta(tz=True)]
"""When something happened: integer milliseconds since the Unix epoch, or RFC 3339 text with an offset."""

HospitalKind = Literal["medication-administration", "condition", "adverse-event"]


class SensorReading(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One measured value of one quantity by one sensor.

    ``unit`` is any unit accepted for ``quantity`` by `schemas.units`. Fields that are not known here are
    ignored, so that a producer may add some before its readers do.
    """

    sensor_id: str
    site: str
    quantity: str
    unit: str
    value: float
    time: EventTime


class HospitalEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One coded clinical fact about one pseudonymous patient.

    ``id`` is unique within ``source``; ``patient`` is a keyed hash made by the producer. ``time`` is the
    onset or the administration, ``end`` its end if known, ``recorded`` when the source wrote it down.
    ``version`` is that of the coding ``system``, empty where the source does not say.
    """

    id: str
    source: str
    kind: HospitalKind
    patient: str
    code: str
    system: str
    version: str = ""
    time: EventTime
    end: EventTime | None = None
    recorded: EventTime | None = None
