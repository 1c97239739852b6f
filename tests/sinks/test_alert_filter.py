"""Which alerts a filter takes, and which transition of an alert is the newest."""

from __future__ import annotations

import pytest

from sinks.alert_filter import AlertFilter, latest
from tests.sinks.results import alert


@pytest.mark.parametrize(
    ("wanted", "takes"),
    [
        (AlertFilter(), True),
        (AlertFilter("warning"), True),
        (AlertFilter("critical"), False),
        (AlertFilter(rules=("cold", "h?t")), True),
        (AlertFilter(rules=("cold",)), False),
        (AlertFilter(groups=("s1/*",)), True),
        (AlertFilter(groups=("s2/*",)), False),
        (AlertFilter("info", ("hot",), ("s2/*",)), False),
    ],
)
def test_severity_rule_and_group_must_all_fit(wanted: AlertFilter, takes: bool) -> None:
    assert wanted.takes(alert(1)) is takes


@pytest.mark.parametrize(
    ("state", "muted", "takes"), [("open", False, False), ("open", True, True), ("close", False, True)]
)
def test_a_muted_alert_is_taken_only_where_asked_but_its_close_always(
    state: str, muted: bool, takes: bool
) -> None:
    assert AlertFilter(muted=muted).takes(alert(1, state=state, muted_by="night")) is takes


def test_the_newest_transition_counts_in_whatever_order_they_come() -> None:
    transitions = [alert(1, 1), alert(1, 0), alert(2, 0)]
    assert latest(transitions) == [alert(1, 1), alert(2, 0)]
    assert latest([alert(2, 0), *reversed(transitions)]) == [alert(2, 0), alert(1, 1)]
