"""The vectorised checks that rows must pass: text, finite numbers, times, units, closed sets, routing."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from schemas.draft import Draft
from schemas.errors import ErrorCode
from schemas.lexicon import Texts, homes_of
from schemas.units import UNITS, Units

MS_A_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Limits:
    """What the codec accepts.

    ``max_bytes`` bounds a record, ``max_label`` a label in characters. Event times lie in ``[earliest,
    latest)`` and at most ``max_future`` after the record's LogAppendTime (None: no such guard); all in
    milliseconds. The defaults (1980 to 2100) also catch times sent in seconds or microseconds.
    """

    max_bytes: int = 1_048_576
    max_label: int = 256
    earliest: int = 315_532_800_000
    latest: int = 4_102_444_800_000
    max_future: int | None = MS_A_DAY


LIMITS = Limits()


_FAULTS = {1: "is empty", 2: "is longer than {} characters", 3: "holds a NUL"}


def check_labels(draft: Draft, required: Collection[str], limits: Limits) -> None:
    """Reject rows with an empty required label, an overlong one, or one with a NUL."""
    for name, column in draft.labels.items():
        faults = _faults(column.values, name in required, limits.max_label)
        if faults.any():
            of_row = faults[column.codes]
            for fault, what in _FAULTS.items():
                words = _words(f"{name} {what.format(limits.max_label)}")
                draft.reject(of_row == fault, ErrorCode.INVALID_TEXT, words)


def _faults(texts: Sequence[str], required: bool, longest: int) -> NDArray[np.uint8]:
    def fault(text: str) -> int:
        return (1 if required and not text else 0) or (2 if len(text) > longest else 3 if "\0" in text else 0)

    if isinstance(texts, Texts):
        return texts.marks((required, longest), fault)
    return np.array([fault(text) for text in texts], np.uint8)


def _words(text: str) -> Callable[[int], str]:
    return lambda _: text


def check_finite(draft: Draft, required: Collection[str]) -> None:
    """Reject rows with an infinite number, or with NaN in a required one."""
    for name, column in draft.numbers.items():
        bad = ~np.isfinite(column) if name in required else np.isinf(column)
        draft.reject(bad, ErrorCode.NOT_FINITE, _words(f"{name} is not a finite number"))


def check_times(draft: Draft, time: str, others: Collection[str], limits: Limits) -> None:
    """Reject rows whose event time or further times are out of bounds or too far in the future."""
    bad = (draft.event_time < limits.earliest) | (draft.event_time >= limits.latest)
    draft.reject(bad, ErrorCode.TIME_OUT_OF_RANGE, lambda i: f"{time} is {draft.event_time[i]} ms")
    for name in others:
        column = draft.numbers[name]
        outside = (column < limits.earliest) | (column >= limits.latest)
        draft.reject(outside, ErrorCode.TIME_OUT_OF_RANGE, _time_wording(name, column))
    if limits.max_future is not None:
        # A record without a log time (-1) cannot be compared.
        early = (draft.event_time - draft.log_time > limits.max_future) & (draft.log_time >= 0)
        draft.reject(
            early, ErrorCode.TIME_IN_FUTURE, lambda i: f"{time} is after the log's {draft.log_time[i]} ms"
        )


def _time_wording(name: str, column: NDArray[np.float64]) -> Callable[[int], str]:
    return lambda i: f"{name} is {column[i]:.0f} ms"


def check_routing(draft: Draft, rows: NDArray[np.bool_], key: str, partition: int, partitions: int) -> None:
    """Reject those of ``rows`` whose key belongs to another partition by murmur2."""
    column = draft.labels[key]
    if not rows.any():
        return
    home = homes_of(column.values, partitions)[column.codes]
    draft.reject(
        rows & (home != partition),
        ErrorCode.MISROUTED,
        lambda i: f"{key} belongs to partition {home[i]} of {partitions}, not {partition}",
    )


def units(value: str, quantity: str, unit: str, known: Units = UNITS) -> Callable[[Draft], None]:
    """Return a check that converts ``value`` to the canonical unit, refusing unknown and absurd ones."""

    def check(draft: Draft) -> None:
        done = known.convert(draft.labels[quantity], draft.labels[unit], draft.numbers[value])
        of = draft.label
        draft.reject(
            ~done.known_quantity,
            ErrorCode.UNKNOWN_QUANTITY,
            lambda i: f"unknown quantity {of(quantity, i)!r}",
        )
        draft.reject(
            ~done.known_unit,
            ErrorCode.UNKNOWN_UNIT,
            lambda i: f"unit {of(unit, i)!r} is none of {of(quantity, i)}",
        )
        draft.reject(
            ~done.plausible,
            ErrorCode.VALUE_OUT_OF_RANGE,
            lambda i: f"{of(quantity, i)} of {draft.numbers[value][i]} {of(unit, i)} is not plausible",
        )
        draft.numbers[value] = done.values
        draft.labels[unit] = done.units

    return check


def one_of(label: str, allowed: Collection[str]) -> Callable[[Draft], None]:
    """Return a check that rejects rows whose ``label`` is not in a closed set."""

    def check(draft: Draft) -> None:
        column = draft.labels[label]
        bad = np.array([text not in allowed for text in column.values], bool)[column.codes]
        draft.reject(bad, ErrorCode.UNKNOWN_KIND, lambda i: f"{label} is {draft.label(label, i)!r}")

    return check
