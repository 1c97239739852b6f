"""Summaries are written as msgspec writes their type, from quantiles and sketches made the slow way."""

from __future__ import annotations

import msgspec
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.packed import address_of
from schemas.results import WindowSummary
from streams.frames import Firing
from streams.groups import Groups
from streams.sketches import text_kernel
from streams.sketches.codes import encode_many, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.summaries import Summaries
from streams.windows import Window

NAMES = ["plain", 'quo"ted\\', "new\nline", "Zürich/é|%", ""]
VALUES = st.floats(allow_nan=False, allow_infinity=False, width=32) | st.sampled_from([0.0, -0.0, 1e22, 1e-9])
ROWS = st.lists(
    st.tuples(st.integers(0, 4), VALUES, st.integers(-(1 << 60), 1 << 60)), min_size=1, max_size=80
)
COUNTS = st.integers(1, 1 << 62)


@settings(deadline=None, max_examples=150)
@given(
    rows=ROWS,
    levels=st.sampled_from([(), (0.5,), (0.01, 0.5, 0.999)]),
    name=st.sampled_from(["p", 'p:"é']),
    extras=st.booleans(),
    data=st.data(),
)
def test_the_bytes_are_those_of_the_type(
    rows: list[tuple[int, float, int]],
    levels: tuple[float, ...],
    name: str,
    extras: bool,
    data: st.DataObject,
) -> None:
    mapping, groups = LogMapping(0.02), Groups(("a",), ("b",))
    groups.add([(text, f"of {text}") for text in NAMES])
    window = Window(-7)
    group, value, time = (np.array(column) for column in zip(*rows, strict=True))
    value = value.astype(np.float64)
    window.update(group.astype(np.int32), value, time.astype(np.int64), mapping.index(value))
    closed = window.closed()
    closed.counts[:] = data.draw(st.lists(COUNTS, min_size=len(closed.counts), max_size=len(closed.counts)))
    closed.counts[:] //= len(closed.counts)
    closed.counts[closed.counts == 0] = 1
    firing = Firing.of(3, -7, 3, 1, closed)
    late = list(range(len(closed.group)))
    more = [{"top": {'a"': i}, "share": i / 3} for i in late]
    outputs = Summaries(name, groups, mapping, levels).of(
        firing, late if extras else None, more if extras else None
    )
    low, high = closed.floats["min"] + 0.0, closed.floats["max"] + 0.0
    quantiles = quantiles_many(
        mapping, closed.indptr, closed.codes, closed.counts, low, high, np.array(levels)
    )
    sketches = encode_many(mapping, closed.indptr, closed.codes, closed.counts)
    assert len(outputs) == len(closed.group)
    for i, code in enumerate(closed.group.tolist()):
        text = groups.names[code]
        floats = {
            field: float(closed.column(field)[i]) for field in ("sum", "mean", "variance", "first", "last")
        }
        times = {field: int(column[i]) for field, column in closed.times.items()}
        expected = WindowSummary(
            id=f"{name}|{text}|-7|3|1", pipeline=name, group=text, labels=groups.labels(code), start=-7, end=3, revision=1,
            count=int(closed.count[i]), min=float(low[i]), max=float(high[i]), alpha=0.02, sketch=sketches[i],
            quantiles=dict(zip((f"{p:g}" for p in levels), quantiles[i].tolist(), strict=True)),
            late=i if extras else 0, extras=more[i] if extras else {}, **floats, **times,
        )  # fmt: skip
        assert outputs[i].value == msgspec.json.encode(expected)
        assert outputs[i].key == groups.keys[code]


@given(number=st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(-1000, 1000))
def test_integers_are_written_as_python_writes_them(number: int) -> None:
    out = np.zeros(30, np.uint8)
    end = text_kernel.digits(np.int64(number), address_of(out)) - address_of(out)
    assert out[:end].tobytes() == b"%d" % number
