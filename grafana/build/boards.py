"""The list of dashboards and their JSON."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from grafana.build.air_quality import air_quality
from grafana.build.kafka import kafka
from grafana.build.pipeline_health import pipeline_health
from grafana.build.safety_signals import safety_signals

FOLDER = Path(__file__).parents[1] / "dashboards"
BOARDS = {
    "pipeline-health.json": pipeline_health,
    "air-quality.json": air_quality,
    "safety-signals.json": safety_signals,
    "kafka.json": kafka,
}


def rendered() -> dict[str, str]:
    """Return each dashboard's file name and JSON text."""
    encoder = JSONEncoder(sort_keys=True, indent=2)
    return {name: encoder.encode(_numbered(make())) + "\n" for name, make in BOARDS.items()}


def _numbered(board: Dashboard) -> model.Dashboard:
    built = board.build()
    for number, panel in enumerate(built.panels or [], 1):
        panel.id_val = number  # so that links to a panel stay what they are
    return built
