"""Asks an Alertmanager which alerts about the operation itself are firing: lag, workers, brokers, late canaries."""

from __future__ import annotations

import urllib.parse
import urllib.request

import msgspec

_TIMEOUT = 2.0
# What `tidewatch alerts notify` posts has an id of its own, and is shown from its topic with all its evidence.
_ASKED = {"active": "true", "silenced": "false", "inhibited": "false", "filter": 'alert_id=""'}


class Operation(msgspec.Struct, frozen=True, kw_only=True):
    """One alert of Prometheus that is firing; ``remedy`` names its runbook section."""

    name: str
    severity: str
    summary: str
    remedy: str


class Operations(msgspec.Struct, frozen=True, kw_only=True):
    """What an Alertmanager said: the alerts that are firing, or the ``problem`` of asking it."""

    firing: tuple[Operation, ...] = ()
    problem: str | None = None


class _Alert(msgspec.Struct):
    labels: dict[str, str]
    annotations: dict[str, str]


def ask_alertmanager(url: str) -> Operations:
    """Return what the Alertmanager at a base address says (its API v2), sorted; silenced and inhibited alerts are left out."""
    address = f"{url.rstrip('/')}/api/v2/alerts?{urllib.parse.urlencode(_ASKED)}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
            alerts = msgspec.json.decode(answer.read(), type=list[_Alert])
    except (OSError, ValueError) as error:
        return Operations(problem=f"{url} does not answer as an Alertmanager: {error}")
    return Operations(firing=tuple(sorted(map(_operation, alerts), key=lambda one: (one.name, one.summary))))


def _operation(alert: _Alert) -> Operation:
    notes = alert.annotations
    return Operation(
        name=alert.labels.get("alertname", "alert"),
        severity=alert.labels.get("severity", "warning"),
        summary=notes.get("summary", "") or notes.get("description", ""),
        remedy=notes.get("runbook_url", ""),
    )
