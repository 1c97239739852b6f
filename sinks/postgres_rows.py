"""Which table and columns each result goes to in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from schemas.results import Alert, WindowSummary
from sinks.contract import Result

Row = tuple[Any, ...]

_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Table:
    """A table keyed by ``id``, its columns, and how a result becomes a row of it."""

    name: str
    columns: tuple[str, ...]
    row: Callable[[Result, Any], Row]

    @property
    def stage(self) -> str:
        """Make the session's table that a batch is copied to."""
        return (
            f"CREATE TEMP TABLE IF NOT EXISTS stage_{self.name} ON COMMIT DELETE ROWS AS"
            f" SELECT {', '.join(self.columns)} FROM tidewatch.{self.name} WITH NO DATA"
        )

    @property
    def copy(self) -> str:
        """Copy a batch."""
        return f"COPY stage_{self.name} ({', '.join(self.columns)}) FROM STDIN"

    @property
    def upsert(self) -> str:
        """Take over what was copied; a row that is there already is replaced."""
        columns = ", ".join(self.columns)
        changes = ", ".join(f"{name} = EXCLUDED.{name}" for name in self.columns[1:])
        return (
            f"INSERT INTO tidewatch.{self.name} ({columns}) SELECT {columns} FROM stage_{self.name}"
            f" ON CONFLICT (id) DO UPDATE SET {changes}"
        )


def _json(value: object) -> str:
    # PostgreSQL has no NUL in text; everything else of JSON it takes.
    return _encode(value).decode().replace("\\u0000", "\\ufffd")


def _text(value: str) -> str:
    return value.replace("\0", "\ufffd")


@lru_cache(4096)
def _time(milliseconds: int) -> str:
    """Return a time as PostgreSQL reads it; windows share theirs, so few are written out."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")


def _summary(_: Result, s: WindowSummary) -> Row:
    return (
        _text(s.id), s.pipeline, _text(s.group), _json(s.labels), _time(s.start), _time(s.end), s.revision, s.count, s.sum,
        s.mean, s.variance, s.min, s.max, s.first, s.last, _json(s.quantiles), s.alpha, s.sketch,
        s.late, _time(s.first_time), _time(s.last_time), _json(s.extras),
    )  # fmt: skip


def _alert(_: Result, a: Alert) -> Row:
    return (
        _text(a.id), _text(a.alert_id), a.pipeline, a.rule, a.kind, _text(a.group), _json(a.labels), a.state, a.severity,
        a.revision, _time(a.opened_at), _time(a.time), a.partition, a.offset, a.value, a.threshold, _text(a.message),
        _json(a.evidence), a.muted_by,
    )  # fmt: skip


def _other(result: Result, value: Any) -> Row:
    return (_text(value.id), result.topic, _json(value))


WINDOW_SUMMARY = Table(
    "window_summary",
    (
        "id", "pipeline", "group_name", "labels", "window_start", "window_end", "revision", "count", "sum", "mean",
        "variance", "min", "max", "first", "last", "quantiles", "alpha", "sketch", "late",
        "first_time", "last_time", "extras",
    ),
    _summary,
)  # fmt: skip
ALERT = Table(
    "alert",
    (
        "id", "alert_id", "pipeline", "rule", "kind", "group_name", "labels", "state", "severity", "revision", "opened_at",
        "time", "source_partition", "source_offset", "value", "threshold", "message", "evidence", "muted_by",
    ),
    _alert,
)  # fmt: skip
OTHER = Table("result", ("id", "topic", "body"), _other)
TABLES = (WINDOW_SUMMARY, ALERT, OTHER)

_BY_STRUCT: dict[type, Table] = {WindowSummary: WINDOW_SUMMARY, Alert: ALERT}


def table_of(value: msgspec.Struct) -> Table:
    """Return the table that a result goes to."""
    return _BY_STRUCT.get(type(value), OTHER)
