"""CloudEvents attributes of an event as Kafka headers (binary content mode)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec

from schemas.events import EventTime, HospitalEvent, SensorReading

Headers = list[tuple[str, str | bytes | None]]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def event_id(event: msgspec.Struct) -> str:
    """Return an id that is the same whenever the same event is sent again.

    Raises:
        TypeError: the event's type has no rule for its id.
    """
    match event:
        case SensorReading():
            return f"{event.sensor_id}/{event.quantity}/{_milliseconds(event.time)}"
        case HospitalEvent():
            return f"{event.source}/{event.id}"
        case _:
            raise TypeError(f"no rule for the id of a {type(event).__name__}")


@dataclass(frozen=True, slots=True)
class CloudEvents:
    """Makes ``ce_*`` headers after the CloudEvents 1.0 Kafka protocol binding.

    ``source`` is a URI reference naming the producer. Equal (source, id) pairs mean a repeated event.
    """

    source: str
    id_of: Callable[[msgspec.Struct], str] = event_id

    def headers(self, event: msgspec.Struct) -> Headers:
        """Return the headers of one event; its type becomes ``tidewatch.<struct name>.v1``."""
        time = getattr(event, "time", None)
        headers: Headers = [
            ("ce_specversion", "1.0"),
            ("ce_id", self.id_of(event)),
            ("ce_source", self.source),
            ("ce_type", f"tidewatch.{type(event).__name__}.v1"),
            ("content-type", "application/json"),
        ]
        if time is not None:
            headers.append(("ce_time", _rfc3339(time)))
        return headers


def _milliseconds(time: EventTime) -> int:
    return time if isinstance(time, int) else (time - _EPOCH) // timedelta(milliseconds=1)


def _rfc3339(time: EventTime) -> str:
    moment = _EPOCH + timedelta(milliseconds=_milliseconds(time))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
