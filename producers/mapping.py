"""From the columns of any table to sensor readings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from producers.errors import MappingError
from producers.rejects import RejectReason, Rejects
from producers.times import Series, TimeForm, to_milliseconds
from schemas.events import SensorReading
from schemas.units import UNITS

_TEXTS = ("sensor_id", "site", "quantity", "unit")
_FIELDS = (*_TEXTS, "value", "time")


@dataclass(frozen=True, slots=True)
class Melt:
    """One value column of a wide table: its readings are sensor ``<sensor_id>-<column>``."""

    column: str
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class Readings:
    """Events in row order with their times in milliseconds, shape (n,)."""

    events: list[SensorReading]
    times: NDArray[np.int64]


@dataclass(frozen=True)
class ColumnMap:
    """Which column, or which constant, each field of a reading comes from.

    A long table names the column of ``value``; a wide one lists ``melts`` instead. ``site`` is the
    sensor's id where nothing names it.

    Raises:
        MappingError: fields are unknown, missing or named twice, or a fixed unit is none of its quantity.
    """

    columns: Mapping[str, str]
    constants: Mapping[str, str] = field(default_factory=dict)
    melts: Sequence[Melt] = ()
    time_form: TimeForm = field(default_factory=TimeForm)

    def __post_init__(self) -> None:
        given = [*self.columns, *self.constants]
        if unknown := set(given) - set(_FIELDS):
            raise MappingError(
                f"no such field: {', '.join(sorted(unknown))}; fields are {', '.join(_FIELDS)}"
            )
        if twice := set(self.columns) & set(self.constants):
            raise MappingError(f"both a column and a constant: {', '.join(sorted(twice))}")
        needed = {"sensor_id", "time"} | (set() if self.melts else {"value", "quantity", "unit"})
        if missing := needed - set(given):
            raise MappingError(f"nothing is mapped to {', '.join(sorted(missing))}")
        if self.melts and (more := {"value", "quantity", "unit"} & set(given)):
            raise MappingError(f"a melted table has its own {', '.join(sorted(more))}")
        for quantity, unit in self._fixed_units():
            _check_unit(quantity, unit)

    @property
    def source_columns(self) -> list[str]:
        """The columns to read, each once."""
        return list(dict.fromkeys([*self.columns.values(), *(melt.column for melt in self.melts)]))

    def readings(self, frame: pd.DataFrame, rejects: Rejects) -> Readings:
        """Turn rows into events; rows and values that are none are added to ``rejects``."""
        times, usable = self._times(frame, rejects)
        texts, complete = self._texts(frame, usable, rejects)
        usable &= complete
        parts = [self._measured(frame, melt, texts, times, usable, rejects) for melt in self.melts or (None,)]
        rows = np.concatenate([part_rows for part_rows, _ in parts])
        events = [event for _, part in parts for event in part]
        # A wide row's readings stay together, in the order of the melts.
        order = np.argsort(rows, kind="stable")
        return Readings([events[i] for i in order.tolist()], times[rows[order]])

    def _fixed_units(self) -> list[tuple[str, str]]:
        if {"quantity", "unit"} <= set(self.constants):
            return [(self.constants["quantity"], self.constants["unit"])]
        return [(melt.quantity, melt.unit) for melt in self.melts]

    def _times(self, frame: pd.DataFrame, rejects: Rejects) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        if "time" in self.constants:
            column = pd.Series([self.constants["time"]] * len(frame), dtype=object)
        else:
            column = frame[self.columns["time"]].reset_index(drop=True)
        times, valid = to_milliseconds(column, self.time_form)
        missing = column.isna().to_numpy(bool)
        _note(rejects, RejectReason.MISSING_TIME, missing, column)
        _note(rejects, RejectReason.BAD_TIME, ~valid & ~missing, column)
        return times, valid

    def _texts(
        self, frame: pd.DataFrame, usable: NDArray[np.bool_], rejects: Rejects
    ) -> tuple[dict[str, list[str]], NDArray[np.bool_]]:
        complete = np.ones(len(frame), bool)
        texts: dict[str, list[str]] = {}
        for name in _TEXTS:
            if name in self.constants:
                texts[name] = [self.constants[name]] * len(frame)
            elif name in self.columns:
                column = frame[self.columns[name]]
                empty = (column.isna() | (column.astype("string") == "")).to_numpy(bool, na_value=True)
                bad = empty & usable & complete
                rejects.add(RejectReason.MISSING_FIELD, f"no {name}", int(bad.sum()))
                complete &= ~empty
                texts[name] = column.astype("string").fillna("").tolist()
        texts.setdefault("site", texts["sensor_id"])
        return texts, complete

    def _measured(
        self,
        frame: pd.DataFrame,
        melt: Melt | None,
        texts: Mapping[str, list[str]],
        times: NDArray[np.int64],
        usable: NDArray[np.bool_],
        rejects: Rejects,
    ) -> tuple[NDArray[np.intp], list[SensorReading]]:
        values, good = self._values(frame, melt, usable, rejects)
        rows = np.flatnonzero(good)
        suffix = f"-{melt.column}" if melt else ""
        quantities = [melt.quantity] * len(frame) if melt else texts["quantity"]
        units = [melt.unit] * len(frame) if melt else texts["unit"]
        sensors, sites = texts["sensor_id"], texts["site"]
        return rows, [
            SensorReading(
                sensor_id=sensors[i] + suffix,
                site=sites[i],
                quantity=quantities[i],
                unit=units[i],
                value=value,
                time=time,
            )
            for i, value, time in zip(rows.tolist(), values[rows].tolist(), times[rows].tolist(), strict=True)
        ]

    def _values(
        self, frame: pd.DataFrame, melt: Melt | None, usable: NDArray[np.bool_], rejects: Rejects
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        if "value" in self.constants:
            column = pd.Series([self.constants["value"]] * len(frame), dtype=object)
        else:
            column = frame[melt.column if melt else self.columns["value"]]
        values = pd.to_numeric(column, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        missing = column.isna().to_numpy(bool)
        finite = np.isfinite(values)
        _note(rejects, RejectReason.MISSING_VALUE, usable & missing, column)
        _note(rejects, RejectReason.NOT_A_NUMBER, usable & ~missing & np.isnan(values), column)
        _note(rejects, RejectReason.NOT_FINITE, usable & np.isinf(values), column)
        return values, usable & finite


def _note(rejects: Rejects, reason: RejectReason, rows: NDArray[np.bool_], column: Series) -> None:
    if rows.any():
        rejects.add(reason, f"{column.name}: {column.iloc[int(rows.argmax())]}", int(rows.sum()))


def _check_unit(quantity: str, unit: str) -> None:
    if quantity not in UNITS:
        raise MappingError(f"unknown quantity {quantity}; known are {', '.join(q.name for q in UNITS)}")
    if unit not in UNITS[quantity].units:
        raise MappingError(
            f"{unit} is no unit of {quantity}; accepted are {', '.join(UNITS[quantity].units)}"
        )
