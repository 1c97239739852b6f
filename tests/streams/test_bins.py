"""Counted bins against a plain counter."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bins import Bins, merged
from streams.narrow import narrowed, widened

hits = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 3)), max_size=30)


def keys_of(rows: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([group << 16 | code for group, code, _ in rows], np.int64)


@settings(max_examples=100, deadline=None)
@given(batches=st.lists(st.tuples(hits, st.booleans(), st.booleans()), max_size=8))
def test_bins_agree_with_a_counter_and_changes_add_up(
    batches: list[tuple[list[tuple[int, int, int]], bool, bool]],
) -> None:
    bins, expected, from_changes = Bins(), Counter[int](), Counter[int]()
    for rows, once, ask in batches:
        keys = keys_of(rows)
        times = np.array([1 if once else n for _, _, n in rows], np.int64)
        bins.note(keys, None if once else times)
        for key, n in zip(keys.tolist(), times.tolist(), strict=True):
            expected[key] += n
        if ask:
            fresh, counts = bins.fresh(full=False)
            assert fresh.tolist() == sorted(set(fresh.tolist()))
            from_changes.update(dict(zip(fresh.tolist(), counts.tolist(), strict=True)))
    from_changes.update(dict(zip(*(array.tolist() for array in bins.fresh(full=False)), strict=True)))
    assert from_changes == expected
    assert dict(zip(*(array.tolist() for array in bins.fresh(full=True)), strict=True)) == expected
    indptr, codes, counts = bins.of(np.array([3, 1], np.int32))
    found = [dict(zip(codes[a:b].tolist(), counts[a:b].tolist(), strict=True)) for a, b in pairwise(indptr)]
    assert found == [{k & 0xFFFF: n for k, n in expected.items() if k >> 16 == group} for group in (3, 1)]


@settings(max_examples=100, deadline=None)
@given(one=hits, other=hits)
def test_the_compiled_merge_adds_up_as_numpy_does(
    one: list[tuple[int, int, int]], other: list[tuple[int, int, int]]
) -> None:
    sides = [np.unique(keys_of(rows)) for rows in (one, other)]
    counts = [np.arange(1, len(keys) + 1) for keys in sides]
    keys, inverse = np.unique(np.concatenate(sides), return_inverse=True)
    total = np.zeros(len(keys), np.int64)
    np.add.at(total, inverse, np.concatenate(counts))
    found = merged(sides[0], counts[0], sides[1], counts[1])
    assert found[0].tolist() == keys.tolist()
    assert found[1].tolist() == total.tolist()


@given(values=st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 300)))
def test_integers_come_back_from_few_bytes(values: list[int]) -> None:
    assert widened(narrowed(np.array(values, np.int64))).tolist() == values


def test_near_integers_take_a_byte_each() -> None:
    assert len(narrowed(np.arange(1 << 60, (1 << 60) + 256))[2]) == 256
