"""The year of weather: its size, and that every value passes the codec's units."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from producers.mapping import Readings
from producers.rejects import RejectReason, Rejects
from producers.weather import weather_readings
from schemas.columns import Coded
from schemas.units import UNITS


@pytest.fixture(scope="module")
def weather() -> tuple[Readings, Rejects]:
    rejects = Rejects()
    return weather_readings(rejects), rejects


def test_every_value_of_the_table_is_sent_or_counted_as_missing(weather: tuple[Readings, Rejects]) -> None:
    readings, rejects = weather
    assert set(rejects.counts) == {RejectReason.MISSING_VALUE}
    assert len(readings.events) + rejects.total == 26_115 * 9
    assert Counter(e.site for e in readings.events).keys() == {"EWR", "JFK", "LGA"}


def test_all_of_it_is_in_order_and_within_2013(weather: tuple[Readings, Rejects]) -> None:
    times = weather[0].times
    assert (np.diff(times) >= 0).all()
    assert (int(times[0]), int(times[-1])) == (1_357_020_000_000, 1_388_444_400_000)


def test_its_units_are_known_and_all_values_but_one_plausible(weather: tuple[Readings, Rejects]) -> None:
    events = weather[0].events
    names = sorted({e.quantity for e in events})
    units = sorted({e.unit for e in events})
    done = UNITS.convert(
        Coded(np.array([names.index(e.quantity) for e in events], np.int32), names),
        Coded(np.array([units.index(e.unit) for e in events], np.int32), units),
        np.array([e.value for e in events]),
    )
    assert done.known_quantity.all()
    assert done.known_unit.all()
    odd = [events[i] for i in np.flatnonzero(~done.plausible).tolist()]
    # A wind of 1048 mph is in the source: real input has a dead letter of its own.
    assert [(e.sensor_id, e.value) for e in odd] == [("EWR-wind_speed", 1048.36058)]
    assert (events[0].sensor_id, events[0].value) == ("EWR-temp", 39.02)
