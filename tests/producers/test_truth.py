"""Scores of alerts against the truth."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from producers.incidents import Incident
from producers.truth import score_alerts
from schemas.results import Alert

SPIKE = Incident(
    id="1", kind="spike", sensor_id="s", site="a", quantity="pm25", start=10_000, end=20_000, rule="unusual"
)
OUTAGE = Incident(
    id="2", kind="outage", sensor_id="t", site="a", quantity="pm25", start=50_000, end=300_000, rule="silent"
)


def alert(time: int, **changes: Any) -> Alert:
    labels = {
        "sensor_id": changes.pop("sensor_id", "s"),
        "quantity": changes.pop("quantity", "pm25"),
        "site": "a",
    }
    plain = Alert(
        id=f"{labels}{time}|0", alert_id=f"{labels}{time}", pipeline="p", rule="unusual", kind="robust_z", group="g",
        labels=labels, state="open", severity="warning", revision=0, opened_at=time, time=time, partition=0, offset=0,
        value=None, threshold=None, message="",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


def test_a_match_counts_for_both_and_gives_the_delay() -> None:
    score = score_alerts(
        [SPIKE, OUTAGE], [alert(14_000), alert(170_000, sensor_id="t", rule="silent")], 10_000
    )
    assert (score.precision, score.recall, score.delay) == (1.0, 1.0, 62.0)
    assert score.delay_by_kind == {"spike": 4.0, "outage": 120.0}
    assert (score.missed, score.false) == ((), ())


@pytest.mark.parametrize(("time", "found"), [(9_999, False), (10_000, True), (25_000, True), (25_001, False)])
def test_an_alert_belongs_to_an_incident_from_its_start_to_the_tolerance_after_its_end(
    time: int, found: bool
) -> None:
    score = score_alerts([SPIKE], [alert(time)], 5_000)
    assert (score.recall, score.precision) == (float(found), float(found))


@pytest.mark.parametrize("other", [{"sensor_id": "x"}, {"quantity": "no2"}, {"rule": "stuck"}])
def test_another_sensor_quantity_or_rule_is_a_false_alert_and_a_miss(other: dict[str, str]) -> None:
    score = score_alerts([SPIKE], [wrong := alert(12_000, **other)], 5_000)
    assert (score.precision, score.recall, score.delay) == (0.0, 0.0, None)
    assert (score.missed, score.false) == ((SPIKE,), (wrong,))
    assert score.recall_by_kind == {"spike": 0.0}


def test_several_alerts_of_an_incident_count_once_for_recall_with_the_first_delay() -> None:
    score = score_alerts([SPIKE, OUTAGE], [alert(18_000), alert(11_000)], 5_000)
    assert (score.precision, score.recall, score.delay, score.alerts) == (1.0, 0.5, 1.0, 2)


def test_closings_and_repeats_are_passed_over() -> None:
    score = score_alerts([SPIKE], [alert(12_000), alert(12_000), alert(90_000, state="close")], 5_000)
    assert (score.alerts, score.precision) == (1, 1.0)


def test_nothing_to_find_and_nothing_said_is_perfect() -> None:
    score = score_alerts([], [], 0)
    assert (score.precision, score.recall, score.delay) == (1.0, 1.0, None)
