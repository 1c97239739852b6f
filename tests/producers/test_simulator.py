"""The simulated city: determinism, order, faults and incidents as promised."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import EventRejectedError
from producers.incidents import Incident
from producers.pacing import Pacer
from producers.simulator import CitySpec, Sent, draw_incidents, send_arrivals, simulate
from producers.transmission import DUPLICATE
from schemas.events import SensorReading

START = 1_750_032_000_000
SPEC = CitySpec(start=START, seconds=1500, sensors=8, sites=3, incidents=1.0)
CLEAN = replace(SPEC, late=0.0, duplicate=0.0, malformed=0.0)


def digest(spec: CitySpec, seed: int) -> str:
    hashed = hashlib.sha256()
    for arrival, key, value in (event for batch in simulate(spec, seed) for event in batch):
        hashed.update(b"%d %b %b\n" % (arrival, key, value))
    return hashed.hexdigest()


def readings(spec: CitySpec, seed: int = 5) -> list[SensorReading]:
    return [msgspec.json.decode(value, type=SensorReading) for b in simulate(spec, seed) for _, _, value in b]


def during(events: list[SensorReading], incident: Incident) -> list[SensorReading]:
    series = (incident.sensor_id, incident.quantity)
    return [
        e
        for e in events
        if (e.sensor_id, e.quantity) == series and incident.start <= int(str(e.time)) < incident.end
    ]


def test_a_seed_decides_every_byte() -> None:
    short = replace(SPEC, seconds=60)
    assert digest(short, 1) == digest(short, 1)
    assert digest(short, 1) != digest(short, 2)


@settings(deadline=None, max_examples=20)
@given(
    sensors=st.integers(1, 40), interval=st.sampled_from([0.5, 1.0, 7.0]), seconds=st.integers(1, 90), seed=st.integers(0, 99)
)  # fmt: skip
def test_what_arrives_is_in_order_and_complete(
    sensors: int, interval: float, seconds: int, seed: int
) -> None:
    spec = replace(SPEC, sites=1, sensors=sensors, interval=interval, seconds=seconds, incidents=0.0)
    batches = list(simulate(spec, seed))
    times = np.concatenate([batch.times for batch in batches])
    assert (np.diff(times) >= 0).all()
    assert sum(map(len, batches)) == spec.readings + sum(batch.duplicates for batch in batches)


def test_clean_readings_are_evenly_spaced_and_of_known_units() -> None:
    events = readings(replace(CLEAN, seconds=30, incidents=0.0))
    of_one = sorted(
        int(str(e.time)) for e in events if (e.sensor_id, e.quantity) == ("site-01-sensor-0004", "pm25")
    )
    assert len(of_one) == 30
    assert set(np.diff(of_one).tolist()) == {1_000}
    assert {(e.quantity, e.unit) for e in events} == {
        ("pm25", "ug/m3"), ("no2", "ug/m3"), ("temperature", "degC"), ("humidity", "%"),
    }  # fmt: skip


def test_late_events_come_after_their_window_and_others_within_the_out_of_orderness() -> None:
    spec = replace(SPEC, late=0.05, malformed=0.0, duplicate=0.05)
    delays = np.array(
        [at - int(str(msgspec.json.decode(value)["time"])) for b in simulate(spec, 1) for at, _, value in b]
    )
    late = delays > 2_000
    assert (delays[late] >= 15_000).all()
    assert late.sum() == sum(batch.late for batch in simulate(spec, 1))


def test_duplicates_repeat_sensor_time_and_value() -> None:
    spec = replace(SPEC, seconds=300, duplicate=0.02, late=0.0, malformed=0.0)
    values = [value for batch in simulate(spec, 1) for _, _, value in batch]
    assert len(values) - len(set(values)) == sum(batch.duplicates for batch in simulate(spec, 1)) > 100


def test_malformed_events_fail_to_decode_and_no_others() -> None:
    spec = replace(SPEC, seconds=120, malformed=0.02)
    bad = 0
    for _, _, value in (event for batch in simulate(spec, 1) for event in batch):
        try:
            bad += msgspec.json.decode(value, type=SensorReading).unit.startswith("?")
        except msgspec.DecodeError:
            bad += 1
    assert bad == sum(batch.malformed for batch in simulate(spec, 1)) > 20


def test_incidents_are_seen_in_the_readings() -> None:
    events, incidents = readings(CLEAN), draw_incidents(CLEAN, 5)
    assert {incident.kind for incident in incidents} == {"spike", "plume", "stuck", "outage"}
    for incident in incidents:
        values = [e.value for e in during(events, incident)]
        before = [
            e.value
            for e in during(
                events, msgspec.structs.replace(incident, start=incident.start - 60_000, end=incident.start)
            )
        ]
        match incident.kind:
            case "outage":
                assert values == []
            case "stuck":
                assert len(values) >= 90
                assert len(set(values)) == 1
            case _:
                departure = np.array(values) - np.mean(before)
                assert np.sign(incident.size) * departure[np.abs(departure).argmax()] > 0.7 * abs(
                    incident.size
                )
        assert len(before) == 60


def test_incidents_leave_time_to_warm_up_and_to_be_noticed() -> None:
    for seed in range(20):
        for incident in draw_incidents(SPEC, seed):
            assert START + 360_000 <= incident.start < incident.end <= SPEC.end - 15_000


def test_a_sensor_recovers_before_its_next_incident() -> None:
    spec = replace(SPEC, seconds=4 * 3600)
    begun: dict[str, set[int]] = {}
    for incident in draw_incidents(spec, 3):
        begun.setdefault(incident.sensor_id, set()).add(incident.start)
    assert max(map(len, begun.values())) >= 5
    assert min(min(np.diff(sorted(starts)), default=10**9) for starts in begun.values()) >= 2_399_000


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sensors": 2, "sites": 3}, "as many sensors as sites"),
        ({"seconds": 0.0}, "seconds and interval"),
        ({"late": 1.5}, "shares"),
        ({"late": 0.6, "malformed": 0.6}, "at most 1 together"),
        ({"quantities": ("radon",)}, "radon"),
    ],
)
def test_a_city_that_cannot_be_is_refused(wrong: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        replace(SPEC, **wrong)  # type: ignore[arg-type]


def test_sending_counts_what_was_sent_and_refused() -> None:
    spec = replace(SPEC, seconds=20, late=0.1)
    taken: list[bytes] = []

    def send(key: bytes, value: bytes) -> None:
        if key.endswith(b"0001"):
            raise EventRejectedError("too large")
        taken.append(value)

    sent = send_arrivals(simulate(spec, 1), send, Pacer(None, lambda: 0.0, lambda _: None), Sent())
    assert sent.events == len(taken)
    assert sent.events + sent.refused == spec.readings + sent.duplicates
    assert sent.refused >= 4 * 20
    assert sent.late == sum(batch.late for batch in simulate(spec, 1))


def test_an_interrupted_play_counts_only_what_was_sent() -> None:
    spec = replace(SPEC, seconds=20, duplicate=0.5)
    (batch,) = simulate(spec, 1)
    left = iter(range(100))

    def send(_key: bytes, _value: bytes) -> None:
        if next(left) == 99:
            raise KeyboardInterrupt

    sent = Sent()
    with pytest.raises(KeyboardInterrupt):
        send_arrivals([batch], send, Pacer(None, lambda: 0.0, lambda _: None), sent)
    assert (sent.events, sent.duplicates) == (99, int((batch.faults[:99] == DUPLICATE).sum()))
