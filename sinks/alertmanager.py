"""Keeps Prometheus Alertmanager informed of the alerts that are open, with their evidence, and of those that closed."""

from __future__ import annotations

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from schemas.results import Alert

log = logging.getLogger(__name__)

RESEND_SECONDS = 30.0
RETRY_SECONDS = 1.0
_LIFETIME = 4  # how many times an alert may fail to be sent again before Alertmanager takes it for resolved

Post = Callable[[list[dict[str, Any]]], None]


class AlertmanagerError(Exception):
    """Alertmanager did not take the alerts; the message says why."""


def labels_of(alert: Alert) -> dict[str, str]:
    """Return the labels that make up an alert's identity for Alertmanager; a change of severity is a new identity."""
    own = {
        "alertname": alert.rule,
        "kind": alert.kind,
        "pipeline": alert.pipeline,
        "group": alert.group,
        "severity": alert.severity,
        "alert_id": alert.alert_id,
    }
    return {name: value for name, value in alert.labels.items() if value} | own


def payload(alert: Alert, ends: float) -> dict[str, Any]:
    """Return an alert as Alertmanager's API v2 wants it; ``ends`` is in seconds since the epoch, past for a resolved one."""
    facts = {"value": alert.value, "threshold": alert.threshold, **alert.evidence}
    evidence = {name: fact for name, fact in facts.items() if fact is not None}
    where = f"partition {alert.partition}, offset {alert.offset}"
    return {
        "labels": labels_of(alert),
        "annotations": {
            "summary": f"{alert.group}: {alert.message}",
            "description": f"{alert.pipeline}, rule {alert.rule}, revision {alert.revision}, caused by {where}.",
            "evidence": json.dumps(evidence),
        },
        "startsAt": _rfc3339(alert.opened_at / 1000),
        "endsAt": _rfc3339(ends),
    }


def http_post(url: str, timeout: float = 10.0) -> Post:
    """Return a function that posts alerts to an Alertmanager's base address.

    It raises AlertmanagerError when the alerts were not taken.
    """
    address = f"{url.rstrip('/')}/api/v2/alerts"

    def post(alerts: list[dict[str, Any]]) -> None:
        request = urllib.request.Request(
            address, json.dumps(alerts).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout):
                return
        except urllib.error.HTTPError as error:
            detail = error.read(500).decode(errors="replace")
            raise AlertmanagerError(f"{address} answered {error.code}: {detail}") from error
        except OSError as error:
            raise AlertmanagerError(f"{address} does not answer: {error}") from error

    return post


@dataclass(slots=True)
class AlertmanagerFeed:
    """Tell Alertmanager of every change at once, and of all open alerts again and again, since it keeps them in memory only.

    Delivery: at least once; Alertmanager takes alerts with the same labels for the same. What could not be sent is kept and sent
    when it answers again, a close included. Give it all transitions from the beginning of the topics, in order of each partition;
    one that is not ``wanted`` is not told, and ends what was told before under another severity.
    """

    post: Post
    wall_clock: Callable[[], float]
    monotonic: Callable[[], float]
    wanted: Callable[[Alert], bool] = field(default=lambda _: True)
    resend: float = RESEND_SECONDS
    open: dict[str, Alert] = field(default_factory=dict)
    _changed: dict[str, Alert] = field(default_factory=dict)
    _ended: dict[tuple[str, str], Alert] = field(default_factory=dict)
    _next_resend: float = 0.0
    _not_before: float = 0.0

    def take(self, alerts: Iterable[Alert]) -> None:
        """Take transitions."""
        for alert in alerts:
            before = self.open.get(alert.alert_id)
            if before is not None and before.revision > alert.revision:
                continue
            if before is not None and (alert.state == "close" or before.severity != alert.severity):
                self._ended[alert.alert_id, before.severity] = before
                del self.open[alert.alert_id]
                self._changed.pop(alert.alert_id, None)
            if alert.state != "close" and self.wanted(alert):
                self.open[alert.alert_id] = self._changed[alert.alert_id] = alert
                self._ended.pop((alert.alert_id, alert.severity), None)

    def send(self) -> bool:
        """Send what is due; return whether nothing is left to send. Call it every second or so."""
        now = self.monotonic()
        if now < self._not_before:
            return False
        again = now >= self._next_resend
        due = list((self.open if again else self._changed).values())
        wall = self.wall_clock()
        alerts = [payload(alert, wall + _LIFETIME * self.resend) for alert in due]
        alerts += [payload(alert, wall) for alert in self._ended.values()]
        if alerts:
            try:
                self.post(alerts)
            except AlertmanagerError as error:
                log.warning("%s; %d alerts wait", error, len(alerts))
                self._not_before = now + RETRY_SECONDS
                return False
        self._changed.clear()
        self._ended.clear()
        if again:
            self._next_resend = now + self.resend
        return True


def _rfc3339(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
