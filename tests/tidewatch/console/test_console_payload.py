"""What the page is sent: rates, checks that tell the truth, pictures with their error, a bounded size."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from tests.tidewatch.console.samples import NOW, alert, shapes, snapshot
from tidewatch.console.checks import checks
from tidewatch.console.payload import SECTIONS, Payloads
from tidewatch.console.pictures import CELLS, MAX_SITES, Pictures
from tidewatch.live.operations import Operation, Operations, ask_alertmanager
from tidewatch.live.snapshot import Snapshot


def states(of: Snapshot, now: int = NOW) -> dict[str, str]:
    return {check.name: check.state for check in checks(of, now)}


def changed(**fields: object) -> Snapshot:
    return msgspec.structs.replace(snapshot(), **fields)


def test_all_is_well() -> None:
    assert set(states(snapshot()).values()) == {"ok"}


@pytest.mark.parametrize(
    ("fields", "now", "name", "state"),
    [
        ({}, NOW + 6_000, "Kafka answers", "error"),
        ({"looked": 0, "problem": "connection refused"}, NOW, "Kafka answers", "error"),
        ({"workers": ()}, NOW, "workers answer", "warning"),
        ({"stopped": (3,)}, NOW, "no partition is stopped", "error"),
        ({"lag": 10_001}, NOW, "workers keep up", "warning"),
        ({"dead": {"malformed": 501}}, NOW, "input is good", "warning"),
    ],
)
def test_what_is_wrong_is_said_with_its_remedy(
    fields: dict[str, object], now: int, name: str, state: str
) -> None:
    found = {check.name: check for check in checks(changed(**fields), now)}
    assert found[name].state == state
    assert name == "no partition is stopped" or found[name].remedy
    others = {check.state for check in found.values() if check.name != name}
    assert others == {"ok"}


def test_a_dead_worker_leaves_partitions_without_owner() -> None:
    found = states(snapshot(alive=False))
    assert (found["workers answer"], found["partitions have owners"]) == ("error", "warning")


def test_rates_are_taken_over_three_seconds() -> None:
    payloads = Payloads()
    for step in range(10):
        payload = payloads.make(snapshot(step), NOW)
    (flow,) = payload.pipeline
    assert (flow.rates["processed"], flow.rates["windows"], flow.rates["late"]) == (1_000.0, 10.0, 0.0)
    assert flow.counts.processed == 19_000


def test_open_alerts_come_first() -> None:
    payload = Payloads().make(
        snapshot(alerts=(alert(1, "close"), alert(2), alert(3, "close"), alert(4))), NOW
    )
    assert [each.group for each in payload.alerts] == ["sensor-2", "sensor-4", "sensor-1", "sensor-3"]


def test_every_section_is_part_of_the_whole() -> None:
    payload = Payloads().make(snapshot(), NOW)
    whole = msgspec.to_builtins(payload)
    for name in SECTIONS:
        part = msgspec.to_builtins(payload.section(name))
        assert all(part[field] == whole[field] for field in part)
    with pytest.raises(KeyError):
        payload.section("secrets")


def test_a_picture_holds_both_distributions_and_how_far_they_are_apart() -> None:
    (picture,) = Pictures().of(shapes())
    assert [site.site for site in picture.sites] == ["site-00", "site-01", "site-02"]
    for site in picture.sites:
        assert site.before is not None
        assert len(site.now) == len(site.before) == CELLS
        assert max(*site.now, *site.before) == 1000
        # Ten degrees... the second window is one unit warmer than the first, on twice twenty readings.
        assert site.distance is not None
        assert site.bound is not None
        assert abs(site.distance - 1.0) < 0.7
        assert 0 < site.bound < 1.5
        assert picture.low < site.quantiles[0] < site.quantiles[-1] < picture.high
    grid = np.linspace(picture.low, picture.high, CELLS + 1)
    weight = np.array(picture.sites[0].now, float)
    middle = float((weight * (grid[1:] + grid[:-1]) / 2).sum() / weight.sum())
    assert middle == pytest.approx(22.0, abs=0.7)


def test_what_did_not_change_is_not_drawn_again() -> None:
    drawer, first = Pictures(), shapes()
    (picture,) = drawer.of(first)
    assert drawer.of(first)[0] is picture
    (moved,) = drawer.of([*first[:-1], (first[-1][0], None)])
    assert moved is not picture
    assert moved.sites[-1].distance is None


def operated(said: Operations) -> Snapshot:
    return msgspec.structs.replace(snapshot(), operations=said)


def test_alerts_about_the_operation_are_part_of_the_self_check() -> None:
    lag = Operation(
        name="TidewatchLagTooHigh", severity="warning", summary="far behind", remedy="docs/runbooks.md#lag"
    )
    down = Operation(name="TidewatchPipelineDown", severity="critical", summary="no worker", remedy="")
    firing = checks(operated(Operations(firing=(lag, down))), NOW)
    assert [(each.name, each.state) for each in firing if each.name.startswith("Tidewatch")] == [
        ("TidewatchLagTooHigh (1)", "warning"),
        ("TidewatchPipelineDown (2)", "error"),
    ]
    quiet = {each.name: each.state for each in checks(operated(Operations()), NOW)}
    assert quiet["no alert is firing"] == "ok"
    assert "no alert is firing" not in {each.name for each in checks(snapshot(), NOW)}


def test_an_alertmanager_that_is_away_is_said_to_be() -> None:
    said = ask_alertmanager("http://127.0.0.1:9")
    assert said.firing == ()
    assert "does not answer" in str(said.problem)
    (check,) = [one for one in checks(operated(said), NOW) if one.name == "no alert is firing"]
    assert check.state == "warning"


def test_without_a_reference_there_is_no_distance() -> None:
    now, _ = shapes(1)[0]
    (picture,) = Pictures().of([(now, None)])
    assert (picture.sites[0].before, picture.sites[0].distance, picture.sites[0].bound) == (None, None, None)
    assert Pictures().of([]) == ()


def test_what_is_sent_is_bounded_however_many_sites_and_alerts_there_are() -> None:
    many = snapshot(sites=200, alerts=tuple(alert(n) for n in range(200)))
    payload = Payloads().make(many, NOW)
    assert (len(payload.distributions[0].sites), payload.distributions[0].more_sites) == (
        MAX_SITES,
        200 - MAX_SITES,
    )
    assert len(msgspec.json.encode(payload)) < 200_000
