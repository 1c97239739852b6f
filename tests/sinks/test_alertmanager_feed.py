"""The feed to Alertmanager: changes at once, open ones again, nothing lost while it is away; then the real server."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from schemas.results import Alert, Severity
from sinks.alertmanager import RETRY_SECONDS, AlertmanagerError, AlertmanagerFeed, http_post
from tests.debian import program
from tests.grafana.stack import Webhook, free_ports, until


def alert(state: str = "open", revision: int = 0, severity: Severity = "warning", name: str = "a") -> Alert:
    return Alert(
        id=f"{name}|{revision}", alert_id=name, pipeline="p", rule="hot", kind="threshold", group="s1/pm25",
        labels={"site": "north", "empty": ""}, state=state, severity=severity, revision=revision,
        opened_at=1_700_000_000_000, time=1_700_000_001_000, partition=2, offset=77, value=120.5, threshold=100.0,
        message="too hot", evidence={"clear": 90.0, "none": None},
    )  # fmt: skip


class Manager:
    """Stands where Alertmanager does, and can be away."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.away = False
        self.posts: list[list[dict[str, Any]]] = []
        self.feed = AlertmanagerFeed(self.post, lambda: 1.7e9 + self.now, lambda: self.now, resend=30.0)

    def post(self, alerts: list[dict[str, Any]]) -> None:
        if self.away:
            raise AlertmanagerError("away")
        self.posts.append(alerts)

    def firing(self) -> dict[str, bool]:
        """Severity by whether the newest post says that it goes on."""
        said = {}
        for one in (one for post in self.posts for one in post):
            ends = time.strptime(one["endsAt"][:19], "%Y-%m-%dT%H:%M:%S")
            clock = time.gmtime(1.7e9 + self.now)
            said[one["labels"]["severity"]] = ends > clock
        return said


def test_a_change_is_told_once_and_open_alerts_again_later() -> None:
    manager = Manager()
    assert manager.feed.send()
    manager.feed.take([alert()])
    assert manager.feed.send()
    assert manager.feed.send()
    assert len(manager.posts) == 1
    manager.now += 31
    assert manager.feed.send()
    assert len(manager.posts) == 2
    assert manager.firing() == {"warning": True}


def test_evidence_travels_and_empty_labels_do_not() -> None:
    manager = Manager()
    manager.feed.take([alert()])
    manager.feed.send()
    ((told,),) = manager.posts
    assert told["labels"]["site"] == "north"
    assert "empty" not in told["labels"]
    assert json.loads(told["annotations"]["evidence"]) == {"value": 120.5, "threshold": 100.0, "clear": 90.0}
    assert told["startsAt"] == "2023-11-14T22:13:20.000Z"


def test_a_close_resolves_and_is_not_told_again() -> None:
    manager = Manager()
    manager.feed.take([alert(), alert("close", 1)])
    manager.feed.send()
    assert manager.firing() == {"warning": False}
    manager.now += 100
    manager.feed.send()
    assert len(manager.posts) == 1


def test_a_change_of_severity_resolves_the_old_and_opens_the_new() -> None:
    manager = Manager()
    manager.feed.take([alert()])
    manager.feed.send()
    manager.feed.take([alert("update", 1, "critical")])
    manager.feed.send()
    assert manager.firing() == {"warning": False, "critical": True}
    manager.feed.take([alert("update", 2, "warning")])
    manager.feed.send()
    assert manager.firing() == {"warning": True, "critical": False}


def test_an_alert_that_is_no_longer_wanted_ends() -> None:
    manager = Manager()
    manager.feed.wanted = lambda one: one.severity != "info"
    manager.feed.take([alert("open", 0, "info")])
    manager.feed.send()
    assert manager.posts == []
    manager.feed.take([alert("update", 1, "warning")])
    manager.feed.send()
    manager.feed.take([alert("update", 2, "info")])
    manager.feed.send()
    assert manager.firing() == {"warning": False}


def test_what_happens_while_it_is_away_is_told_when_it_is_back() -> None:
    manager = Manager()
    manager.feed.take([alert(name="a"), alert(name="b")])
    manager.feed.send()
    manager.away = True
    manager.feed.take([alert("close", 1, name="a")])
    assert not manager.feed.send()
    manager.away = False
    assert not manager.feed.send(), "not asked again at once"
    manager.now += RETRY_SECONDS
    assert manager.feed.send()
    assert [one["labels"]["alert_id"] for one in manager.posts[-1]] == ["a"]


def test_an_older_transition_changes_nothing() -> None:
    manager = Manager()
    manager.feed.take([alert(revision=3), alert("close", 1)])
    assert list(manager.feed.open) == ["a"]


def test_a_real_alertmanager_shows_it_calls_and_calls_off(tmp_path: Path) -> None:
    binary = program("prometheus-alertmanager", "prometheus-alertmanager")
    (port,) = free_ports(1)
    webhook = Webhook()
    config = tmp_path / "am.yml"
    config.write_text(
        "route: {receiver: w, group_by: [alert_id], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}\n"
        f"receivers: [{{name: w, webhook_configs: [{{url: '{webhook.url}'}}]}}]\n"
    )
    command = [binary, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}",
               "--cluster.listen-address=", f"--storage.path={tmp_path / 'am'}"]  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    feed = AlertmanagerFeed(http_post(url), time.time, time.monotonic)
    with pytest.raises(AlertmanagerError, match="does not answer"):
        http_post(url)([{}])
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        feed.take([alert()])
        until(feed.send, 60, "Alertmanager does not start")
        until(lambda: webhook.states("hot") == ["firing"], 30, lambda: str(webhook.received))
        with urllib.request.urlopen(f"{url}/api/v2/alerts", timeout=10) as answer:
            (shown,) = json.loads(answer.read())
        assert json.loads(shown["annotations"]["evidence"])["value"] == 120.5
        feed.take([alert("close", 1)])
        assert feed.send()
        until(lambda: webhook.states("hot") == ["firing", "resolved"], 30, lambda: str(webhook.received))
        with pytest.raises(AlertmanagerError, match="answered 400"):
            http_post(url)([{"labels": {}}])
    finally:
        process.terminate()
        process.wait(20)
        webhook.close()
