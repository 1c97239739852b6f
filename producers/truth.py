"""How well alerts tell of injected incidents: precision, recall and delay."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from producers.incidents import Incident
from schemas.results import Alert


@dataclass(frozen=True, slots=True)
class Score:
    """The outcome of matching alerts with incidents.

    ``precision`` is the share of alerts that belong to an incident, ``recall`` that of incidents with an alert; each is 1
    where there is nothing to be wrong about. Delays are means in seconds from an incident's start to its first alert,
    ``None`` where nothing was found.
    """

    precision: float
    recall: float
    delay: float | None
    delay_by_kind: Mapping[str, float]
    recall_by_kind: Mapping[str, float]
    incidents: int
    alerts: int
    missed: tuple[Incident, ...]
    false: tuple[Alert, ...]


def score_alerts(truth: Iterable[Incident], alerts: Iterable[Alert], tolerance_ms: int) -> Score:
    """Match the openings among ``alerts`` with incidents of the same sensor, quantity and rule.

    An alert belongs to an incident if its event time is in ``[start, end + tolerance_ms]``: a window's alert bears the time of
    the window's end, so the tolerance is at least a window. Several alerts may belong to one incident. Alerts that do not
    open are passed over, and so are repeated ids.
    """
    incidents = list(truth)
    opened = list({alert.alert_id: alert for alert in alerts if alert.state == "open"}.values())
    by_series: dict[tuple[str, str, str], list[Incident]] = defaultdict(list)
    for incident in incidents:
        by_series[incident.sensor_id, incident.quantity, incident.rule].append(incident)
    first: dict[str, int] = {}
    false: list[Alert] = []
    for alert in opened:
        labels = alert.labels
        candidates = by_series.get((labels.get("sensor_id", ""), labels.get("quantity", ""), alert.rule), [])
        mine = [i for i in candidates if i.start <= alert.time <= i.end + tolerance_ms]
        for incident in mine:
            first[incident.id] = min(alert.time, first.get(incident.id, alert.time))
        if not mine:
            false.append(alert)
    delays = {i.id: (first[i.id] - i.start) / 1000.0 for i in incidents if i.id in first}
    return _score(incidents, opened, delays, false)


def _score(
    incidents: Sequence[Incident],
    opened: Sequence[Alert],
    delays: Mapping[str, float],
    false: Sequence[Alert],
) -> Score:
    by_kind: dict[str, list[Incident]] = defaultdict(list)
    for incident in incidents:
        by_kind[incident.kind].append(incident)
    found = {kind: [delays[i.id] for i in of_it if i.id in delays] for kind, of_it in by_kind.items()}
    return Score(
        precision=1 - len(false) / len(opened) if opened else 1.0,
        recall=len(delays) / len(incidents) if incidents else 1.0,
        delay=_mean(list(delays.values())),
        delay_by_kind={kind: sum(d) / len(d) for kind, d in found.items() if d},
        recall_by_kind={kind: len(found[kind]) / len(of_it) for kind, of_it in by_kind.items()},
        incidents=len(incidents),
        alerts=len(opened),
        missed=tuple(i for i in incidents if i.id not in delays),
        false=tuple(false),
    )


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
