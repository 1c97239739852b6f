"""The protocol that every detector keeps, and what they share: parameters, missing values, state as bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.distributions.estimator import Estimator

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FORMAT = 1

LARGEST = 1e100
"""Larger values count as infinite: their squares must not overflow."""


class StateError(ValueError):
    """A snapshot is of another detector, of other parameters or damaged."""


class Detector(Estimator, ABC):
    """Takes observations in order and gives each a score: at one and above it is an alarm.

    The score of an observation depends on it and earlier ones alone, never on how they were cut into batches; NaN and infinite
    values score 0 and leave no trace. After an alarm a change detector starts anew. Parameters are keyword arguments of
    ``__init__``; ``snapshot`` holds the state but not the parameters, in a versioned binary form, the same bytes for the same
    state. Nothing here reads a clock or a global random generator.
    """

    kind: ClassVar[str]
    """The name in the registry."""

    takes: ClassVar[str] = "values"
    """What an observation is: ``values`` (numbers) or ``distributions`` (quantile vectors)."""

    def update(self, values: ArrayLike, times: ArrayLike | None = None) -> Floats:
        """Take the next observations and return their scores, shape (n,).

        ``values`` has the shape (n,), or (n, m) for detectors of distributions; ``times`` are event times in milliseconds, shape
        (n,), for those that condition on the hour of day, and without effect on the others.

        Raises:
            ValueError: the shapes do not fit.
        """
        x = np.asarray(values, np.float64)
        if x.ndim != (1 if self.takes == "values" else 2):
            raise ValueError(f"{self.kind} takes {self.takes}, not an array of shape {x.shape}")
        t = None if times is None else np.asarray(times, np.int64)
        if t is not None and t.shape != (len(x),):
            raise ValueError(f"{len(x)} observations need as many times, not {t.shape}")
        scores = np.zeros(len(x))
        usable = np.abs(x) <= LARGEST
        present = np.flatnonzero(usable if x.ndim == 1 else usable.all(axis=1))
        if len(present):
            scores[present] = self._scores(x[present], None if t is None else t[present])
        return scores

    @abstractmethod
    def _scores(self, values: Floats, times: Ints | None) -> Floats:
        """Return the scores of finite observations, at least one."""

    @abstractmethod
    def _state(self) -> dict[str, Any]:
        """Return the state as numbers, lists and arrays."""

    @abstractmethod
    def _load(self, state: dict[str, Any]) -> None:
        """Take over what ``_state`` returned."""

    def snapshot(self) -> bytes:
        """Return the state."""
        header = [FORMAT, self.kind, repr(self)]
        return msgspec.msgpack.encode([*header, self._state()], enc_hook=_packed)

    def restore(self, state: bytes) -> None:
        """Take over a snapshot of a detector with the same parameters.

        Raises:
            StateError: it is of another format, detector or parameters, or damaged.
        """
        try:
            version, kind, stated, held = msgspec.msgpack.decode(state, ext_hook=_unpacked)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise StateError(f"this is no snapshot of a detector: {error}") from error
        if [version, kind, stated] != [FORMAT, self.kind, repr(self)]:
            raise StateError(f"the snapshot is of {stated} in format {version}, not of {self!r}")
        self._load(held)


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        body = [value.dtype.str, value.shape, value.tobytes()]
        return msgspec.msgpack.Ext(1, msgspec.msgpack.encode(body))
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} has no place in a snapshot")


def _unpacked(code: int, data: memoryview) -> Any:
    if code != 1:
        raise ValueError(f"unknown extension {code}")
    dtype, shape, body = msgspec.msgpack.decode(data)
    return np.frombuffer(body, dtype).reshape(shape).copy()
