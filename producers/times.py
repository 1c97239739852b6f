"""Columns of times, as people write them, to milliseconds since the Unix epoch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from producers.errors import MappingError

Series: TypeAlias = "pd.Series[Any]"

_OFFSET = r"(?:[Zz]|[+-]\d\d:?\d\d)\s*$"
# How many of each there are in a second: divisions are exact where multiplying by 0.001 is not.
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
# Epoch numbers above these are not seconds, milliseconds, microseconds: each bound is about the year 5138.
_MAGNITUDES = (1e11, 1e14, 1e17)


@dataclass(frozen=True, slots=True)
class TimeForm:
    """How a time column is written.

    ``form`` is ``auto`` (ISO 8601, or an epoch number whose unit is told by its size), ``iso``, one of ``s ms us ns``, or a
    strptime pattern. ``zone`` is where times without an offset were taken, an IANA name.

    Raises:
        MappingError: the form is none of these, or there is no such zone.
    """

    form: str = "auto"
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.form not in {"auto", "iso", *_PER_SECOND} and "%" not in self.form:
            raise MappingError(
                f"no such form of times: {self.form}; use auto, iso, {', '.join(_PER_SECOND)} or a pattern like %d/%m/%Y"
            )
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise MappingError(f"no such time zone: {self.zone}; use a name such as Europe/Paris") from error


def to_milliseconds(column: Series, form: TimeForm) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return times in ms, rounded down, and which of them are times; both of shape (n,).

    Local times that do not exist or happen twice (daylight saving) are no times.
    """
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        return _from_moments(_localised(column, form.zone))
    if form.form in {"auto", *_PER_SECOND}:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        if form.form != "auto" or np.isfinite(numbers).any():
            return _from_numbers(numbers, form.form)
    return _from_text(column.astype("string"), form)


def _from_numbers(numbers: NDArray[np.float64], unit: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    if unit == "auto":
        per_second = np.array(list(_PER_SECOND.values()))[np.searchsorted(_MAGNITUDES, np.abs(numbers))]
    else:
        per_second = np.full(len(numbers), _PER_SECOND[unit])
    # Half a microsecond: doubles of today's seconds and nanoseconds may lie that much below a millisecond.
    scaled = np.floor(numbers * 1e3 / per_second + 0.0005)
    valid = np.isfinite(scaled) & (np.abs(scaled) < 2.0**53)
    return np.where(valid, scaled, 0).astype(np.int64), valid


def _from_text(column: Series, form: TimeForm) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    pattern = "ISO8601" if form.form in {"auto", "iso"} else form.form
    aware = column.str.contains(_OFFSET, regex=True).fillna(False).to_numpy(bool)
    times = np.zeros(len(column), np.int64)
    valid = np.zeros(len(column), bool)
    for rows, utc in ((aware, True), (~aware, False)):
        if rows.any():
            moments = pd.to_datetime(column[rows], format=pattern, errors="coerce", utc=utc)
            times[rows], valid[rows] = _from_moments(_localised(moments, form.zone))
    return times, valid


def _localised(moments: Series, zone: str) -> Series:
    if moments.dt.tz is None:
        moments = moments.dt.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    return moments.dt.tz_convert("UTC")


def _from_moments(moments: Series) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    valid = moments.notna().to_numpy(bool)
    milliseconds = moments.dt.floor("ms").dt.tz_localize(None).to_numpy("datetime64[ms]").astype(np.int64)
    return np.where(valid, milliseconds, 0), valid
