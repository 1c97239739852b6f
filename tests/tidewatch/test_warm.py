"""Warming up compiles what the first real batch needs, and a task that the made-up events do not suit does no harm."""

from __future__ import annotations

import pkgutil
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module

import numpy as np
from numba.core.registry import CPUDispatcher

import schemas
import streams
from producers.splitting import split, split_panes
from schemas.codec import ARROW
from schemas.columns import RawBatch
from schemas.event_types import SENSOR_READING
from schemas.packed import Packed
from schemas.wire_panes import PANES
from streams.edge import reducer
from streams.pipeline import Derived
from streams.pipelines.air_quality import AIR_QUALITY
from streams.stages import stage_of
from tidewatch.warm import warm_up


def compiled() -> dict[str, int]:
    """How many signatures each compiled function of the worker's kernels has."""
    found = {}
    for package in (schemas, streams):
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.endswith("_kernel"):
                members = vars(import_module(f"{package.__name__}.{module.name}"))
                found |= {
                    f"{module.name}.{n}": len(f.signatures)
                    for n, f in members.items()
                    if isinstance(f, CPUDispatcher)
                }
    return found


def test_a_real_batch_compiles_nothing_more() -> None:
    stage = stage_of(AIR_QUALITY)
    warm_up([stage])
    before = compiled()
    values: list[bytes | None] = [
        b'{"time":%d,"value":%d,"unit":"%%","quantity":"humidity","site":"x","sensor_id":"s%d"}'
        % (1_750_000_000_000 + 100 * i, i % 90, i % 7)
        for i in range(500)
    ]
    keys = Packed.of([b"k"] * 500)
    batch = RawBatch(
        "in", 2, 0, 500, np.arange(500), np.full(500, 1_750_000_060_000), keys, Packed.of(values)
    )
    assert len(stage.task(2).process(stage.decode(batch))) > 0
    assert compiled() == before
    assert sum(before.values()) > 3


def test_a_gateways_batches_and_panes_compile_nothing_more() -> None:
    definition = replace(AIR_QUALITY, rules=(), resolution=0.1)
    stage = stage_of(definition)
    warm_up([stage])
    before = compiled()
    values: list[bytes | None] = [
        b'{"time":%d,"value":%d,"unit":"%%","quantity":"humidity","site":"x","sensor_id":"s%d"}'
        % (1_750_000_000_000 + 100 * i, i % 90, i % 7)
        for i in range(500)
    ]
    columns = stage.decode(records(values, None))
    panes, _ = reducer(definition)(columns)
    assert panes is not None
    arrow = [part.value for part in split(columns, SENSOR_READING, 1, 900_000)]
    made = [part.value for part in split_panes(panes, "sensor_id", 1, 900_000)]
    stage.task(0).process(stage.decode(records([*arrow, *made], [ARROW] * len(arrow) + [PANES] * len(made))))
    assert compiled() == before


def records(values: Sequence[bytes | None], types: list[str] | None) -> RawBatch:
    n = len(values)
    keys = Packed.of([b"k"] * n)
    return RawBatch(
        "in", 0, 0, n, np.arange(n), np.full(n, 1_750_000_060_000), keys, Packed.of(values), types
    )


def test_a_pipeline_of_ones_own_may_fail_on_made_up_events() -> None:
    def choke(_: object) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
        raise RuntimeError("not for me")

    warm_up([stage_of(replace(AIR_QUALITY, derived=(Derived("value", choke),)))])
