"""The alert rules: complete, documented, and each seen to fire and not to fire by promtool."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from schemas.metrics import all_metrics
from tests.debian import program

REPOSITORY = Path(__file__).parents[2]
FOLDER = REPOSITORY / "grafana" / "prometheus"


@cache
def document(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text())


def alerts() -> list[dict[str, Any]]:
    return [rule for group in document("alerts.yml")["groups"] for rule in group["rules"]]


def expressions() -> list[str]:
    recorded = [rule for group in document("recording.yml")["groups"] for rule in group["rules"]]
    return [rule["expr"] for rule in (*recorded, *alerts())]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_an_alert_has_severity_owner_words_and_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert alert["labels"]["owner"] in {"operations", "data-producers"}
    assert alert["annotations"].keys() == {"summary", "description", "runbook_url"}
    page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
    sections = re.findall(r"^## (\w+)$", (REPOSITORY / page).read_text(), re.M)
    assert anchor == alert["alert"].lower()
    assert alert["alert"] in sections


def test_the_runbooks_have_no_section_without_a_rule() -> None:
    sections = re.findall(r"^## (\w+)$", (REPOSITORY / "docs" / "runbooks.md").read_text(), re.M)
    assert sorted(sections) == sorted(alert["alert"] for alert in alerts())


def test_every_alert_is_tested_firing_and_not_firing() -> None:
    cases = [
        case
        for test in document("tests/alerts_test.yml")["tests"]
        for case in test.get("alert_rule_test", [])
    ]
    names = sorted(alert["alert"] for alert in alerts())
    assert sorted({case["alertname"] for case in cases if case["exp_alerts"]}) == names
    assert sorted({case["alertname"] for case in cases if not case["exp_alerts"]}) == names


def test_rules_name_only_metrics_that_are_declared_or_recorded() -> None:
    known = {metric.exposed for metric in all_metrics()}
    known |= {f"{metric.name}{end}" for metric in all_metrics() for end in ("_bucket", "_count", "_sum")}
    known |= {rule["record"] for group in document("recording.yml")["groups"] for rule in group["rules"]}
    used = {
        name for text in expressions() for name in re.findall(r"\b(?:tidewatch|kafka)[:_][a-z0-9_:]+", text)
    }
    assert used <= known


def test_promtool_accepts_the_rules_and_their_tests_pass() -> None:
    promtool = program("promtool", "prometheus")
    for command in (
        ["check", "rules", "recording.yml", "alerts.yml"],
        ["test", "rules", "tests/alerts_test.yml"],
    ):
        done = subprocess.run(
            [promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_amtool_accepts_the_routes() -> None:
    amtool = program("amtool", "prometheus-alertmanager")
    done = subprocess.run(
        [amtool, "check-config", FOLDER / "alertmanager.yml"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    promtool = program("promtool", "prometheus")
    (tmp_path / "rules").mkdir()
    (tmp_path / "prometheus.yml").write_text((FOLDER / "prometheus.yml").read_text())
    for name in ("recording.yml", "alerts.yml"):
        (tmp_path / "rules" / name).write_text((FOLDER / name).read_text())
    done = subprocess.run(
        [promtool, "check", "config", tmp_path / "prometheus.yml"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
