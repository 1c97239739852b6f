"""Physical quantities: their canonical unit, the units accepted for them, and what is plausible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Coded, Float64s


@dataclass(frozen=True, slots=True)
class Linear:
    """The conversion ``canonical = (value + shift) * scale``; in this order 32 degF is 0 degC exactly."""

    scale: float = 1.0
    shift: float = 0.0


@dataclass(frozen=True, slots=True)
class Quantity:
    """A measured quantity; ``[low, high]`` in the canonical unit holds every plausible value."""

    name: str
    unit: str
    low: float
    high: float
    others: Mapping[str, Linear] = field(default_factory=dict)

    @property
    def units(self) -> Mapping[str, Linear]:
        """All accepted units with their conversion, the canonical one first."""
        return {self.unit: Linear(), **self.others}


_CELSIUS = {name: Linear() for name in ("°C", "C", "celsius", "Cel")}
_TEMPERATURE = _CELSIUS | {
    **{name: Linear(5 / 9, -32.0) for name in ("degF", "°F", "F", "[degF]")},
    "K": Linear(1.0, -273.15),
}
_PERCENT = {"percent": Linear(), "1": Linear(100.0)}
_PER_CUBIC_METRE = {name: Linear() for name in ("µg/m3", "μg/m3", "µg/m³", "μg/m³", "ug/m³")} | {
    "mg/m3": Linear(1e3)
}
_LENGTH_MM = {"cm": Linear(10.0), "m": Linear(1000.0), "in": Linear(25.4), "[in_i]": Linear(25.4)}


def _gas(ppb: float) -> dict[str, Linear]:
    """Return the units of a gas; ``ppb`` is ug/m3 for 1 ppb at 293 K, 101.3 kPa (Directive 2008/50/EC)."""
    return _PER_CUBIC_METRE | {"ppb": Linear(ppb), "ppm": Linear(1e3 * ppb)}


# One row a quantity: name, canonical unit, lowest and highest plausible value, other accepted units.
QUANTITIES: tuple[Quantity, ...] = (
    Quantity("temperature", "degC", -100.0, 100.0, _TEMPERATURE),
    Quantity("dew_point", "degC", -100.0, 100.0, _TEMPERATURE),
    Quantity("body_temperature", "degC", 20.0, 50.0, _TEMPERATURE),
    Quantity("device_temperature", "degC", -100.0, 2000.0, _TEMPERATURE),
    Quantity("humidity", "%", 0.0, 110.0, _PERCENT),
    Quantity(
        "pressure",
        "hPa",
        300.0,
        1200.0,
        {
            "mbar": Linear(),
            "millibar": Linear(),
            "Pa": Linear(0.01),
            "kPa": Linear(10.0),
            "bar": Linear(1000.0),
            "inHg": Linear(33.86389),
            "mmHg": Linear(1.33322387415),
        },
    ),
    Quantity("pm1", "ug/m3", 0.0, 10_000.0, _PER_CUBIC_METRE),
    Quantity("pm25", "ug/m3", 0.0, 10_000.0, _PER_CUBIC_METRE),
    Quantity("pm10", "ug/m3", 0.0, 20_000.0, _PER_CUBIC_METRE),
    Quantity("no2", "ug/m3", -50.0, 10_000.0, _gas(1.9125)),
    Quantity("o3", "ug/m3", -50.0, 10_000.0, _gas(1.9957)),
    Quantity("so2", "ug/m3", -50.0, 20_000.0, _gas(2.6609)),
    Quantity("co", "ug/m3", -500.0, 1_000_000.0, _gas(1.1642)),
    Quantity("co2", "ppm", 0.0, 1_000_000.0, {"%": Linear(1e4)}),
    Quantity(
        "wind_speed",
        "m/s",
        0.0,
        150.0,
        {
            "mph": Linear(0.44704),
            "km/h": Linear(1 / 3.6),
            "kn": Linear(1852 / 3600),
            "ft/s": Linear(0.3048),
        },
    ),
    Quantity(
        "wind_gust",
        "m/s",
        0.0,
        200.0,
        {
            "mph": Linear(0.44704),
            "km/h": Linear(1 / 3.6),
            "kn": Linear(1852 / 3600),
            "ft/s": Linear(0.3048),
        },
    ),
    Quantity("wind_direction", "deg", 0.0, 360.0, {"°": Linear(), "rad": Linear(180 / np.pi)}),
    Quantity("precipitation", "mm", 0.0, 3_000.0, _LENGTH_MM),
    Quantity(
        "visibility", "km", 0.0, 500.0, {"mi": Linear(1.609344), "m": Linear(1e-3), "nmi": Linear(1.852)}
    ),
    Quantity("noise", "dB", 0.0, 200.0, {"dB(A)": Linear(), "dBA": Linear()}),
    Quantity("illuminance", "lx", 0.0, 300_000.0, {"lux": Linear(), "klx": Linear(1e3)}),
    Quantity("irradiance", "W/m2", -50.0, 2_000.0, {"W/m²": Linear(), "kW/m2": Linear(1e3)}),
    Quantity("power", "W", -1e10, 1e10, {"mW": Linear(1e-3), "kW": Linear(1e3), "MW": Linear(1e6)}),
    Quantity(
        "energy",
        "kWh",
        -1e12,
        1e12,
        {"Wh": Linear(1e-3), "MWh": Linear(1e3), "J": Linear(1 / 3.6e6), "MJ": Linear(1 / 3.6)},
    ),
    Quantity("voltage", "V", -1e6, 1e6, {"mV": Linear(1e-3), "kV": Linear(1e3)}),
    Quantity("current", "A", -1e6, 1e6, {"mA": Linear(1e-3), "kA": Linear(1e3)}),
    Quantity("frequency", "Hz", 0.0, 1e12, {"kHz": Linear(1e3), "MHz": Linear(1e6)}),
    Quantity("heart_rate", "1/min", 0.0, 400.0, {"/min": Linear(), "bpm": Linear(), "Hz": Linear(60.0)}),
    Quantity(
        "respiratory_rate", "1/min", 0.0, 200.0, {"/min": Linear(), "bpm": Linear(), "Hz": Linear(60.0)}
    ),
    Quantity("oxygen_saturation", "%", 0.0, 100.0, _PERCENT),
    Quantity("duration", "s", -1e12, 1e12, {"ms": Linear(1e-3), "min": Linear(60.0), "h": Linear(3600.0)}),
    Quantity("count", "1", 0.0, 2.0**53, {"": Linear()}),
    Quantity("ratio", "1", -1e300, 1e300, {"": Linear(), "%": Linear(0.01)}),
    Quantity("dimensionless", "1", -1e300, 1e300, {"": Linear(), "%": Linear(0.01)}),
)


@dataclass(frozen=True, slots=True)
class Conversion:
    """A column in canonical units; each mask of shape (n,) is true where the row passes.

    ``values`` is NaN where the quantity or its unit is unknown. ``units`` are the canonical units of the
    rows.
    """

    values: Float64s
    units: Coded
    known_quantity: NDArray[np.bool_]
    known_unit: NDArray[np.bool_]
    plausible: NDArray[np.bool_]


class Units:
    """A set of quantities that converts whole columns at once."""

    def __init__(self, quantities: Iterable[Quantity] = QUANTITIES) -> None:
        self._quantities = {quantity.name: quantity for quantity in quantities}

    def __getitem__(self, name: str) -> Quantity:
        return self._quantities[name]

    def __contains__(self, name: object) -> bool:
        return name in self._quantities

    def __iter__(self) -> Iterator[Quantity]:
        return iter(self._quantities.values())

    def extended(self, *quantities: Quantity) -> Units:
        """Return this set with more quantities, or others under the same names."""
        return Units([*self, *quantities])

    def convert(self, quantity: Coded, unit: Coded, values: Float64s) -> Conversion:
        """Convert ``values`` of shape (n,) by their (quantity, unit) pairs to canonical units."""
        if len(quantity.values) * len(unit.values) > _LARGE_TABLE:
            quantity, unit = _used(quantity), _used(unit)
        rows = [self._quantities.get(name) for name in quantity.values]
        table = _table(rows, unit.values)
        pair = quantity.codes.astype(np.intp) * len(unit.values) + unit.codes
        with np.errstate(over="ignore", invalid="ignore"):
            converted = (values + table.shift[pair]) * table.scale[pair]
        low = np.array([row.low if row else np.nan for row in rows])
        high = np.array([row.high if row else np.nan for row in rows])
        return Conversion(
            converted,
            Coded(quantity.codes, [row.unit if row else "" for row in rows]),
            np.array([row is not None for row in rows], bool)[quantity.codes],
            ~np.isnan(table.scale)[pair],
            (converted >= low[quantity.codes]) & (converted <= high[quantity.codes]),
        )


_LARGE_TABLE = 10_000


def _used(column: Coded) -> Coded:
    """Return the column without the values that no row has."""
    kept, codes = np.unique(column.codes, return_inverse=True)
    return Coded(codes.astype(np.int32), [column.values[code] for code in kept.tolist()])


@dataclass(frozen=True, slots=True)
class _Table:
    """Conversions by pair code, shape (quantities * units,); NaN where the quantity lacks the unit."""

    scale: Float64s
    shift: Float64s


def _table(rows: list[Quantity | None], units: Iterable[str]) -> _Table:
    names = list(units)
    nothing = Linear(np.nan, np.nan)
    accepted = [row.units if row else {} for row in rows]
    found = [units_of.get(name, nothing) for units_of in accepted for name in names]
    return _Table(np.array([f.scale for f in found]), np.array([f.shift for f in found]))


UNITS = Units()
