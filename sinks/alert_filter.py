"""Which alerts somebody wants: by severity, rule and group."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final, get_args

from schemas.results import Alert, Severity

SEVERITIES: Final[tuple[str, ...]] = get_args(Severity)
"""From the mildest to the gravest."""


@dataclass(frozen=True, slots=True)
class AlertFilter:
    """Take alerts of at least ``severity`` whose rule and group match one of the patterns (``*`` and ``?``; none: any).

    One that a silence or maintenance window covers is taken only with ``muted``; its close always, lest it stay open for ever.
    """

    severity: str = SEVERITIES[0]
    rules: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    muted: bool = False

    def takes(self, alert: Alert) -> bool:
        """Tell whether this alert is wanted."""
        return (
            (self.muted or alert.muted_by is None or alert.state == "close")
            and SEVERITIES.index(alert.severity) >= SEVERITIES.index(self.severity)
            and _matches(alert.rule, self.rules)
            and _matches(alert.group, self.groups)
        )


def latest(alerts: Iterable[Alert]) -> list[Alert]:
    """Return the newest transition of each alert, in the order in which the alerts first appeared."""
    newest: dict[str, Alert] = {}
    for alert in alerts:
        known = newest.get(alert.alert_id)
        if known is None or alert.revision >= known.revision:
            newest[alert.alert_id] = alert
    return list(newest.values())


def _matches(text: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatchcase(text, pattern) for pattern in patterns)
