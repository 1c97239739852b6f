"""The dashboards: current, and every panel with unit, description, data source variable and queries that fit."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from grafana.build.boards import BOARDS, FOLDER, rendered
from schemas.metrics import all_metrics

REPOSITORY = Path(__file__).parents[2]


def boards() -> list[dict[str, Any]]:
    return [json.loads(text) for text in rendered().values()]


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def expressions(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


ALL = [pytest.param(board, id=board["uid"]) for board in boards()]


@pytest.mark.parametrize("name", BOARDS)
def test_the_committed_json_is_what_the_code_makes(name: str) -> None:
    assert (FOLDER / name).read_text() == rendered()[name], "run: python -m grafana.build"


def test_no_file_is_left_over() -> None:
    assert sorted(path.name for path in FOLDER.glob("*.json")) == sorted(BOARDS)


@pytest.mark.parametrize("board", ALL)
def test_every_panel_explains_itself(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles))
    for panel in panels(board):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["datasource"]["uid"] == "${datasource}", panel["title"]
        unit = panel["fieldConfig"]["defaults"].get("unit") or panel["options"]["yAxis"]["unit"]
        assert unit, panel["title"]
        assert panel["targets"], panel["title"]


@pytest.mark.parametrize("board", ALL)
def test_ids_are_unique_and_panels_do_not_overlap(board: dict[str, Any]) -> None:
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(at["x"] + i, at["y"] + j) for i in range(at["w"]) for j in range(at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("board", ALL)
def test_rates_go_by_the_scrape_interval(board: dict[str, Any]) -> None:
    for expression in expressions(board):
        for window in re.findall(r"(?:rate|increase)\([^\[]*\[([^\]]+)\]", expression):
            assert window == "$__rate_interval", expression


@pytest.mark.parametrize("board", ALL)
def test_queries_name_only_metrics_that_are_declared_or_recorded(board: dict[str, Any]) -> None:
    known = {metric.exposed for metric in all_metrics()}
    known |= {f"{metric.name}{end}" for metric in all_metrics() for end in ("_bucket", "_count", "_sum")}
    recording = yaml.safe_load((REPOSITORY / "grafana/prometheus/recording.yml").read_text())
    known |= {rule["record"] for group in recording["groups"] for rule in group["rules"]}
    for expression in expressions(board):
        used = set(re.findall(r"\b(?:tidewatch|kafka)[:_][a-z0-9_:]+", expression))
        assert used <= known, expression


@pytest.mark.parametrize("board", ALL)
def test_a_board_offers_its_data_source_and_the_way_to_others(board: dict[str, Any]) -> None:
    kinds = {variable["name"]: variable["type"] for variable in board["templating"]["list"]}
    assert kinds["datasource"] == "datasource"
    used = set(re.findall(r"\$\{?([a-z]\w*)", " ".join(expressions(board))))
    assert used <= kinds.keys()
    assert {link["title"] for link in board["links"]} == {"Tidewatch", "Runbooks"}
