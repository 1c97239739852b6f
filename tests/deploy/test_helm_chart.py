"""The Helm chart: its topics are the catalogue's, and the real helm renders what Kubernetes is to get."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import typer.main
import yaml

from schemas.topics import all_topics, to_json
from tidewatch.cli import commands

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "tidewatch"


def test_the_topics_are_those_of_the_catalogue() -> None:
    committed = (CHART / "topics.json").read_text()
    assert committed == to_json(), "run: python -m schemas.topics > deploy/helm/tidewatch/topics.json"


@pytest.fixture(scope="module")
def helm() -> str:
    found = os.environ.get("TIDEWATCH_HELM") or shutil.which("helm")
    if not found:
        pytest.skip("no helm on this machine; TIDEWATCH_HELM may name one")
    return found


def rendered(helm: str, *settings: str) -> list[dict[str, Any]]:
    command = [helm, "template", "mine", str(CHART), "--kube-version", "1.30.0"]
    for setting in settings:
        command += ["--set", setting]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def kinds(documents: list[dict[str, Any]]) -> list[str]:
    return sorted(document["kind"] for document in documents)


def test_helm_finds_nothing_to_complain_about(helm: str) -> None:
    done = subprocess.run(
        [helm, "lint", "--strict", CHART], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_by_default_there_are_workers_a_monitor_and_a_job_for_topics(helm: str) -> None:
    documents = rendered(helm)
    assert kinds(documents) == ["Deployment", "Deployment", "Job", "PodDisruptionBudget"]
    (worker,) = [d for d in documents if d["kind"] == "Deployment" and "worker" in d["metadata"]["name"]]
    spec = worker["spec"]["template"]["spec"]
    assert worker["spec"]["replicas"] == 2
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["containers"][0]["resources"]["limits"]["memory"] == "1Gi"
    assert spec["containers"][0]["livenessProbe"]["httpGet"]["port"] == "metrics"


def test_commands_are_those_of_the_command_line(helm: str) -> None:
    documents = rendered(helm)
    containers = [
        container
        for document in documents
        if document["kind"] in {"Deployment", "Job"}
        for container in document["spec"]["template"]["spec"]["containers"]
    ]
    assert len(containers) == 3
    for container in containers:
        command: click.Command = typer.main.get_command(commands())
        arguments = list(container["args"])
        context = click.Context(command)
        while isinstance(command, click.Group):
            found = command.get_command(context, arguments.pop(0))
            assert found is not None, container["args"]
            command = found
        command.make_context(container["name"], arguments)


def test_budgets_and_deployments_select_the_same_pods(helm: str) -> None:
    documents = rendered(helm)
    (budget,) = [d for d in documents if d["kind"] == "PodDisruptionBudget"]
    (worker,) = [
        d for d in documents if d["metadata"]["name"].startswith("mine-worker") and d["kind"] == "Deployment"
    ]
    labels = worker["spec"]["template"]["metadata"]["labels"]
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert worker["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_scaling_leaves_the_number_of_replicas_to_keda(helm: str) -> None:
    documents = rendered(helm, "autoscaling.enabled=true")
    (scaled,) = [d for d in documents if d["kind"] == "ScaledObject"]
    (worker,) = [
        d
        for d in documents
        if d["metadata"]["name"] == "mine-worker-air-quality" and d["kind"] == "Deployment"
    ]
    assert "replicas" not in worker["spec"]
    assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]
    trigger = scaled["spec"]["triggers"][0]["metadata"]
    arguments = worker["spec"]["template"]["spec"]["containers"][0]["args"]
    assert trigger["consumerGroup"] == arguments[arguments.index("--app-id") + 1]
    assert trigger["topic"] in {topic.name for topic in all_topics()}


def test_strimzi_gets_every_topic_of_the_catalogue(helm: str) -> None:
    documents = rendered(helm, "topics.strimzi.enabled=true", "topics.job=false")
    topics = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "KafkaTopic"}
    assert "Job" not in kinds(documents)
    assert topics.keys() == {topic.name for topic in all_topics()}
    for topic in all_topics():
        spec = topics[topic.name]
        assert spec["partitions"] == topic.partitions
        assert topic.config.items() <= {key: str(value) for key, value in spec["config"].items()}.items()


def test_credentials_come_from_a_secret(helm: str) -> None:
    documents = rendered(helm, "kafka.credentialsSecret=kafka-user")
    for document in documents:
        if document["kind"] in {"Deployment", "Job"}:
            (container,) = document["spec"]["template"]["spec"]["containers"]
            assert container["envFrom"] == [{"secretRef": {"name": "kafka-user"}}]


def test_the_prometheus_operator_gets_the_job_names_of_the_rules(helm: str) -> None:
    documents = rendered(helm, "podMonitor.enabled=true", "podMonitor.labels.release=prometheus")
    (monitor,) = [d for d in documents if d["kind"] == "PodMonitor"]
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["podMetricsEndpoints"][0]["relabelings"][0]["replacement"] == "tidewatch-$1"
