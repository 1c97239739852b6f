"""What the first phase of a roll-up sends to the second: partial windows, and how far each upstream partition has come."""

from __future__ import annotations

import msgspec
import numpy as np

from schemas.columns import Columns, RawBatch


class Partial(msgspec.Struct, frozen=True, kw_only=True):
    """One upstream partition's share in one window of one group of a roll-up.

    It replaces an earlier one of the same (rollup, start, end, group); ``revision`` is 0 for what the partition had when the window
    ended there. Times are milliseconds; ``squares`` is the sum of squares about ``mean``; ``sketch`` is in the binary form of
    `streams.sketches.codes`, ``extras`` are the packed states of `streams.extras`.
    ``whole`` is there where the pipeline has a resolution: sum and sum of squares in steps and squared steps of it, as text, since
    they may be larger than what JSON's readers take.
    """

    rollup: str
    group: str
    labels: dict[str, str]
    start: int
    end: int
    revision: int
    count: int
    sum: float
    mean: float
    squares: float
    min: float
    max: float
    first: float
    last: float
    first_time: int
    last_time: int
    sketch: bytes
    extras: list[bytes] = []
    whole: list[str] | msgspec.UnsetType = msgspec.UNSET


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """The watermark, in milliseconds, of the upstream partition; while ``idle`` is true nobody need wait for it."""

    watermark: int
    idle: bool


class Contribution(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A partial window (to the partition of its group) or progress (to every partition) of one upstream partition."""

    pipeline: str
    partition: int
    partial: Partial | None = None
    progress: Progress | None = None


def as_columns(batch: RawBatch) -> Columns:
    """Return the records as rows with nothing but their bytes; the task reads those itself."""
    keys, values = batch.keys, batch.values
    rows = np.zeros(len(batch), np.int32)
    return Columns(
        batch.topic, batch.partition, batch.start, batch.next, batch.offsets, rows, batch.log_times,
        batch.log_times, {}, {}, lambda i: (keys[i], values[i] or b""),
    )  # fmt: skip
