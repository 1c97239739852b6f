"""Window summaries for the tests of shapes: samples in, records as the upstream pipeline would publish them out."""

import msgspec
import numpy as np

from schemas.columns import RawBatch
from schemas.contributions import as_columns
from schemas.results import WindowSummary
from streams.shape import ShapePipeline
from streams.sketches.codes import encode_many
from streams.sketches.mapping import LogMapping

MAPPING = LogMapping(0.01)
MINUTE = 60_000
START = 1_750_000_020_000 - 1_750_000_020_000 % 86_400_000  # midnight

PIPELINE = ShapePipeline(name="shapes", upstream="up", window_ms=MINUTE, reference=60)


def summary(site, window, values, *, family="pm", revision=0, pipeline="up", start=START):
    codes, counts = np.unique(MAPPING.index(values), return_counts=True)
    begin = start + window * MINUTE
    sketch = encode_many(MAPPING, np.array([0, len(codes)]), codes, counts.astype(np.int64))[0]
    return WindowSummary(
        id=f"{pipeline}|{site}/{family}|{begin}|{begin + MINUTE}|{revision}", pipeline=pipeline, group=f"{site}/{family}",
        labels={"site": site, "quantity": family}, start=begin, end=begin + MINUTE, revision=revision, count=len(values),
        sum=float(values.sum()), mean=float(values.mean()), variance=float(values.var()), min=float(values.min()),
        max=float(values.max()), first=float(values[0]), last=float(values[-1]), quantiles={}, alpha=0.01, sketch=sketch,
    )  # fmt: skip


def columns(records, first=0):
    """Return records (summaries or bytes) as the rows of a batch that begins at offset ``first``."""
    values = [r if isinstance(r, bytes) else msgspec.json.encode(r) for r in records]
    offsets = np.arange(first, first + len(values))
    keys = [b"pm"] * len(values)
    times = np.zeros(len(values), np.int64)
    return as_columns(RawBatch("up", 0, first, first + len(values), offsets, times, keys, values))


def city(windows=150, sites=("a", "b", "c", "d"), seed=0, change=None):
    """Return samples by (window, site): skewed values whose level wanders a little from window to window.

    ``change(window, site, values)`` may return others.
    """
    rng = np.random.default_rng(seed)
    level = dict.fromkeys(sites, 0.0)
    samples = {}
    for window in range(windows):
        for number, site in enumerate(sites):
            level[site] = 0.6 * level[site] + 0.2 * rng.normal()
            values = 20 + number + level[site] + rng.gamma(4, 1, 200)
            samples[window, site] = values if change is None else change(window, site, values)
    return samples


def summaries(samples, **options):
    return [summary(site, window, values, **options) for (window, site), values in samples.items()]
