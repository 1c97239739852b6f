"""What the processors publish: window summaries, alerts and dead letters."""

from __future__ import annotations

from typing import Literal

import msgspec

AlertState = Literal["open", "update", "close"]
Severity = Literal["info", "warning", "critical"]


class WindowSummary(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """One group's aggregates over one event-time window.

    ``id`` is ``pipeline|group|start|end|revision`` and the same after any crash. Times are milliseconds
    since the epoch, the window is ``[start, end)``. ``variance`` is the population variance. ``quantiles``
    maps levels such as ``"0.5"`` to values read from the sketch with relative accuracy ``alpha``;
    ``sketch`` is its binary form (base64 in JSON). Revision 0 is published when the watermark passes
    ``end``; later revisions replace it. ``late`` rows of the count came too late and were folded in
    afterwards. ``first_time`` and ``last_time`` are the event times of first and last. ``extras`` has what else
    the pipeline declares, by name: numbers of distinct values, shares, the most frequent values with counts, or the largest rows.
    """

    id: str
    pipeline: str
    group: str
    labels: dict[str, str]
    start: int
    end: int
    revision: int
    count: int
    sum: float
    mean: float
    variance: float
    min: float
    max: float
    first: float
    last: float
    quantiles: dict[str, float]
    alpha: float
    sketch: bytes
    late: int = 0
    first_time: int = 0
    last_time: int = 0
    extras: dict[str, float | dict[str, int | float]] = {}


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """One transition of an alert.

    ``alert_id`` (``pipeline|rule|group|opened_at``) names the alert, ``id`` this transition of it
    (``alert_id|revision``). ``time`` is the event time of the transition in milliseconds, ``offset`` the
    source record that caused it. ``evidence`` holds what a person needs to judge it. ``muted_by`` names the
    silence or maintenance window that covers it, if any: it is recorded, but need bother nobody.
    """

    id: str
    alert_id: str
    pipeline: str
    rule: str
    kind: str
    group: str
    labels: dict[str, str]
    state: AlertState
    severity: Severity
    revision: int
    opened_at: int
    time: int
    partition: int
    offset: int
    value: float | None
    threshold: float | None
    message: str
    evidence: dict[str, float | int | str | None] = {}
    muted_by: str | None = None


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter as read back from ``<topic>.dlq``: where it came from, why, and its bytes."""

    id: str
    topic: str
    partition: int
    offset: int
    row: int
    stage: str
    code: str
    detail: str
    key: bytes | None
    value: bytes | None


class ReplayedLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter that was sent again, so that it never is a second time.

    ``id`` is the dead letter's, ``topic`` where it went, ``time`` when, in milliseconds; ``edited`` if its value was mended first.
    """

    id: str
    topic: str
    time: int
    edited: bool = False
