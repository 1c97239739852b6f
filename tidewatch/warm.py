"""Compiles a worker's loops before it joins its group: until the first batch is through, it could send no heartbeat in time."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Final

import numpy as np
import pyarrow as pa

from producers.splitting import ipc_stream
from schemas.codec import ARROW, JSON
from schemas.columns import RawBatch
from schemas.packed import Packed
from streams import record_kernel as kernel
from streams.bins import Bins
from streams.config import Stage
from streams.distributions.grid import Grid
from streams.distributions.sources import of_sample
from streams.distributions.wasserstein import wasserstein
from streams.exact import ExactWindow
from streams.record_sets import record_set, records_of
from streams.sketches.fixed_point import Resolution

_EVENTS: Final = (
    b'{"sensor_id":"a%d","site":"b","quantity":"temperature","unit":"degC","value":1.5,"time":%d}',
    b'{"id":"%d","source":"a","kind":"condition","patient":"p","code":"c","system":"s","time":%d}',
)
_START: Final = 1_750_000_000_000
# Many groups, so that tables grow, over two days, so that windows close.
_GROUPS: Final = 600
_STEP: Final = 300_000


def warm_up(stages: Iterable[Stage]) -> None:
    """Send a few made-up events through each stage's decoder and a task that is thrown away, and copy an empty batch.

    The first time on a machine this compiles, for some seconds; later it reads numba's cache. Whatever goes wrong with made-up
    events, such as a filter of one's own that they do not suit, is of no matter.
    """
    _warm_fetching()
    _warm_distances()
    _warm_panes()
    _warm_bins()
    arrow = _arrow_record()
    for stage in stages:
        values = [form % (i, _START + i * _STEP) for i in range(_GROUPS) for form in _EVENTS] + [arrow]
        offsets = np.arange(len(values))
        times = np.full(len(values), _START + _GROUPS * _STEP)
        keys = Packed.of([b"a"] * len(values))
        types = [JSON] * (len(values) - 1) + [ARROW]
        batch = RawBatch(stage.topic, 0, 0, len(values), offsets, times, keys, Packed.of(values), types)
        with suppress(Exception):
            task = stage.task(0)
            task.process(stage.decode(batch))
            task.snapshot(full=True)


def _warm_fetching() -> None:
    """Read a record set without records."""
    records_of(("warm", 0), record_set(np.empty(0, np.uint8), 0, []))
    kernel.unpack(0, np.empty((0, kernel.COLUMNS), np.int64), 0, np.empty((kernel.FIELDS, 1), np.int64))


def _arrow_record() -> bytes:
    """Return a record as gateways send it."""
    texts = {"sensor_id": "a1", "site": "b", "quantity": "temperature", "unit": "degC"}
    arrays = {
        name: pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array([text]))
        for name, text in texts.items()
    }
    return ipc_stream({**arrays, "value": pa.array([1.5]), "time": pa.array([_START])})


def _warm_panes() -> None:
    """Add a row and a pane to a window whose sums are exact."""
    window = ExactWindow(0, Resolution(0.1))
    one = np.zeros(1, np.int32)
    window.update(one, np.ones(1), np.zeros(1, np.int64), one)
    groups, table = window.panes()
    window.merge(groups, table, np.zeros(1, np.intp))


def _warm_bins() -> None:
    """Count bins and merge them with those counted before, as windows do that have been saved before."""
    bins, one = Bins(), np.ones(1, np.int64)
    bins.begin()
    for times in (None, one):
        bins.note(one, times)
        bins.of(one)
    bins.fresh()


def _warm_distances() -> None:
    """Compare two samples, as shape pipelines compare summaries, which no made-up event leads to."""
    f, g = of_sample([1.0, 2.0]), of_sample([3.0])
    wasserstein(f, g)
    f.grid_error(Grid.midpoints(2))
