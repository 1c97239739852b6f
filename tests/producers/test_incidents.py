"""The truth file."""

from __future__ import annotations

from pathlib import Path

from producers.city import CitySpec
from producers.incidents import draw_incidents, read_truth, shortest_seconds, write_truth

SPEC = CitySpec(start=1_750_032_000_000, incidents=1.0)


def test_the_truth_file_gives_back_what_was_written(tmp_path: Path) -> None:
    incidents = draw_incidents(SPEC, 1)
    write_truth(tmp_path / "truth.ndjson", incidents)
    assert read_truth(tmp_path / "truth.ndjson") == incidents
    assert len({incident.id for incident in incidents}) == len(incidents)


def test_the_truth_of_a_seed_is_one_and_the_same() -> None:
    assert draw_incidents(SPEC, 1) == draw_incidents(SPEC, 1) != draw_incidents(SPEC, 2)


def test_an_outage_takes_every_quantity_of_a_sensor() -> None:
    outages = [incident for incident in draw_incidents(SPEC, 1) if incident.kind == "outage"]
    by_time = {(o.sensor_id, o.start): {p.quantity for p in outages if p.start == o.start} for o in outages}
    assert set(map(frozenset, by_time.values())) == {frozenset(SPEC.quantities)}


def test_a_simulation_too_short_for_incidents_has_none() -> None:
    shortest = shortest_seconds()
    assert draw_incidents(CitySpec(start=0, seconds=shortest - 1, incidents=1.0), 1) == []
    assert draw_incidents(CitySpec(start=0, seconds=shortest + 1, incidents=1.0), 1)
