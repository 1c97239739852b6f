"""The compose file: whole, pinned, bounded, and true to the rest of the repository."""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from tidewatch.cli import commands

REPOSITORY = Path(__file__).parents[1]
KEYS = {
    *("build", "image", "restart", "mem_limit", "environment", "command", "depends_on", "healthcheck"),
    *("ports", "volumes", "stop_grace_period"),
}
JOBS = {"topics", "hospitals"}


@cache
def compose() -> Any:
    return yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


EACH = [pytest.param(name, service, id=name) for name, service in services().items()]


@pytest.mark.parametrize(("name", "service"), EACH)
def test_a_service_is_pinned_and_bounded(name: str, service: dict[str, Any]) -> None:
    assert set(service) <= KEYS
    if "build" not in service:
        assert re.fullmatch(r"[\w./-]+:v?\d+\.\d+(\.\d+)?[\w.-]*", service["image"])
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert service["restart"] == ("no" if name in JOBS else "unless-stopped")
    for port in service.get("ports", []):
        assert port.startswith("127.0.0.1:"), "reachable from this machine only"


@pytest.mark.parametrize(("name", "service"), EACH)
def test_what_others_wait_for_can_be_waited_for(name: str, service: dict[str, Any]) -> None:
    for other, how in service.get("depends_on", {}).items():
        if how["condition"] == "service_healthy":
            assert "healthcheck" in services()[other]
        else:
            assert other in JOBS
    assert name in JOBS | {"city", "notifier"} or "healthcheck" in service


@pytest.mark.parametrize(("name", "service"), EACH)
def test_mounted_files_and_volumes_are_there(name: str, service: dict[str, Any]) -> None:
    for mount in service.get("volumes", []):
        source = mount.split(":")[0]
        known = (REPOSITORY / source).exists() if source.startswith("./") else source in compose()["volumes"]
        assert known, f"{name} mounts {source}"


def test_every_volume_is_used() -> None:
    used = {mount.split(":")[0] for service in services().values() for mount in service.get("volumes", [])}
    assert set(compose()["volumes"]) <= used


@pytest.mark.parametrize(("name", "service"), [each for each in EACH if "build" in each.values[1]])
def test_the_command_is_one_that_the_command_line_takes(name: str, service: dict[str, Any]) -> None:
    command: click.Command = typer.main.get_command(commands())
    arguments = list(service["command"])
    context = click.Context(command)
    while isinstance(command, click.Group):
        verb = arguments.pop(0)
        found = command.get_command(context, verb)
        assert found is not None, f"{name}: no verb {verb}"
        command = found
    command.make_context(name, arguments)


def test_every_scrape_target_is_a_service_on_its_metrics_port() -> None:
    config = yaml.safe_load((REPOSITORY / "grafana/prometheus/prometheus.yml").read_text())
    targets = [t for job in config["scrape_configs"] for one in job["static_configs"] for t in one["targets"]]
    alertmanagers = config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    for target in [*targets, *alertmanagers]:
        host, port = target.split(":")
        assert host == "localhost" or host in services(), target
        if host.startswith("worker"):
            assert services()[host]["environment"]["TIDEWATCH_METRICS_PORT"] == port
        elif host in {"monitor", "keeper"}:
            assert services()[host]["command"][-1] == port
    workers = {name for name in services() if name.startswith("worker")}
    assert workers == {target.split(":")[0] for target in targets if target.startswith("worker")}


def test_grafana_finds_prometheus_and_the_dashboards_where_they_are() -> None:
    sources = yaml.safe_load((REPOSITORY / "grafana/provisioning/datasources/prometheus.yml").read_text())
    for source in sources["datasources"]:
        host = re.search(r"//([\w-]+):", source["url"])
        assert host is not None
        assert host.group(1) in services()
    providers = yaml.safe_load((REPOSITORY / "grafana/provisioning/dashboards/tidewatch.yml").read_text())
    path = providers["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{path}:ro" in services()["grafana"]["volumes"]


def test_kafka_states_what_the_image_no_longer_does() -> None:
    settings = services()["kafka"]["environment"]
    listeners = {one.split(":")[0] for one in settings["KAFKA_LISTENERS"].split(",")}
    protocols = {one.split(":")[0] for one in settings["KAFKA_LISTENER_SECURITY_PROTOCOL_MAP"].split(",")}
    assert listeners == protocols
    assert settings["KAFKA_CONTROLLER_LISTENER_NAMES"] in listeners
    assert settings["KAFKA_LOG_MESSAGE_TIMESTAMP_TYPE"] == "LogAppendTime"
    assert settings["KAFKA_LOG_DIRS"] in {one.split(":")[1] for one in services()["kafka"]["volumes"]}
    bootstrap = services()["worker-1"]["environment"]["TIDEWATCH_BOOTSTRAP"]
    assert f"INTERNAL://{bootstrap}" in settings["KAFKA_ADVERTISED_LISTENERS"].split(",")


def test_the_image_copies_every_package_and_runs_as_nobody_special() -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    copied = {word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.M) for word in line.split()}
    assert {"schemas", "producers", "streams", "sinks", "tidewatch", "requirements.lock"} <= copied
    assert all((REPOSITORY / name).exists() for name in copied)
    allowed = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line[0] == "!"}
    assert copied <= allowed
    assert re.search(r"^USER (?!root)\w+$", text, re.M)


def test_the_compose_client_accepts_it() -> None:
    for client in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(client[0]) is not None and _runs([*client, "version"]).returncode == 0:
            done = _runs([*client, "config", "-q"])
            assert done.returncode == 0, done.stderr
            return
    pytest.skip("no compose client on this machine")


def _runs(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=60)
