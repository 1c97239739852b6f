"""Against a live Prometheus fed by a running pipeline: every panel has data, and a broken pipeline calls and is called off."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.grafana.stack import Stack, running, until
from tests.grafana.test_dashboards import boards, expressions
from tidewatch.live.operations import ask_alertmanager

pytestmark = pytest.mark.slow

VARIABLES = {
    "$__rate_interval": "15s",
    "$instance": ".*",
    "$site": ".*",
    "$topic": ".*",
    "$pipeline": ".*",
    "$preset": ".*",
    "$quantity": "pm25",
}
# What has data only when something is wrong.
EMPTY_WHEN_WELL = {"tidewatch_dead_total"}


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(Path(tmp_path_factory.mktemp("stack"))) as parts:
        yield parts


def asked(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression, expression
    return expression


@pytest.mark.kafka
def test_every_panel_of_every_dashboard_has_data(stack: Stack) -> None:
    missing: set[str] = set()

    def all_there() -> bool:
        queries = {asked(one) for board in boards() for one in expressions(board)}
        missing.clear()
        missing.update(query for query in queries if not stack.query(query))
        return not {query for query in missing if not any(name in query for name in EMPTY_WHEN_WELL)}

    until(all_there, 120, lambda: "\n".join([*sorted(missing), stack.log("worker"), stack.log("monitor")]))


@pytest.mark.kafka
def test_every_recording_rule_and_alert_evaluates(stack: Stack) -> None:
    def groups() -> list[dict[str, str]]:
        rules = [
            rule
            for group in stack.get("prometheus", "/api/v1/rules")["data"]["groups"]
            for rule in group["rules"]
        ]
        return rules if all(rule["health"] != "unknown" for rule in rules) else []

    rules = until(groups, 60, "rules are not evaluated")
    assert {rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"} == {}
    assert len(rules) > 20


@pytest.mark.kafka
def test_alerts_about_the_air_reach_the_webhook_with_their_evidence(stack: Stack) -> None:
    def told() -> list[dict[str, Any]]:
        alerts = [alert for _, body in stack.webhook.received for alert in body["alerts"]]
        return [alert for alert in alerts if alert["labels"].get("pipeline") == "air-quality"]

    alert = until(told, 120, lambda: f"{stack.log('notifier')} {stack.query('tidewatch_alerts_open')}")[0]
    assert alert["labels"]["site"]
    assert json.loads(alert["annotations"]["evidence"])


@pytest.mark.kafka
def test_a_safety_signal_reaches_the_webhook_with_its_evidence(stack: Stack) -> None:
    def told() -> list[dict[str, Any]]:
        alerts = [alert for _, body in stack.webhook.received for alert in body["alerts"]]
        return [
            alert
            for alert in alerts
            if (alert["labels"].get("drug"), alert["labels"].get("event")) == ("a", "x")
        ]

    alert = until(told, 120, lambda: f"{stack.log('notifier')} {stack.query('tidewatch_signals_open')}")[0]
    assert alert["labels"]["pipeline"] == "pharma"
    evidence = json.loads(alert["annotations"]["evidence"])
    assert evidence["n"] > 1.2 * evidence["expected"] > 1


@pytest.mark.kafka
def test_a_killed_pipeline_calls_and_its_repair_calls_off(stack: Stack) -> None:
    until(lambda: stack.query('up{job="tidewatch-worker"} == 1'), 60, lambda: stack.log("worker"))
    # With its wait cut to a second, a slow start calls too; that has to be over.
    until(
        lambda: stack.webhook.states("TidewatchPipelineDown")[-1:] != ["firing"], 60, "the start is not over"
    )
    before = stack.webhook.states("TidewatchPipelineDown")
    stack.processes["worker"].kill()
    stack.processes["worker"].wait()
    until(
        lambda: stack.webhook.states("TidewatchPipelineDown") == [*before, "firing"],
        60,
        lambda: f"{stack.webhook.received} {stack.log('alertmanager')}",
    )
    called = [body for _, body in stack.webhook.received if "PipelineDown" in str(body["groupLabels"])]
    (alert,) = called[-1]["alerts"]
    assert alert["labels"]["severity"] == "critical"
    assert re.fullmatch(r"docs/runbooks\.md#\w+", alert["annotations"]["runbook_url"])
    said = ask_alertmanager(f"http://127.0.0.1:{stack.ports['alertmanager']}")
    assert ("TidewatchPipelineDown", "critical") in {(one.name, one.severity) for one in said.firing}
    assert {one.name[:9] for one in said.firing} == {"Tidewatch"}, (
        "alerts about the air have a list of their own"
    )
    stack.worker()
    until(
        lambda: stack.webhook.states("TidewatchPipelineDown") == [*before, "firing", "resolved"],
        90,
        lambda: f"{stack.webhook.received} {stack.log('worker')}",
    )
