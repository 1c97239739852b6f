"""Counted bins against a plain counter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.bins import Bins, Sparse
from streams.narrow import narrowed, widened

large = st.integers(1, 300) | st.sampled_from([255, 256, 65_535, 65_536, 1 << 32, 1 << 50])
hits = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(1, 3)), max_size=30)


def keys_of(rows: list[tuple[int, int, int]]) -> np.ndarray:
    return np.array([group << 16 | code for group, code, _ in rows], np.int64)


def counted(slots: Sequence[int], bins: Sparse) -> Counter[int]:
    indptr, codes, counts = (array.tolist() for array in bins)
    return Counter(
        {
            slot << 16 | code: n
            for slot, (a, b) in zip(slots, pairwise(indptr), strict=True)
            for code, n in zip(codes[a:b], counts[a:b], strict=True)
        }
    )


@settings(max_examples=150, deadline=None)
@given(
    batches=st.lists(
        st.tuples(hits, st.booleans(), st.sampled_from(["", "ask", "count", "both"])), max_size=8
    )
)
def test_bins_agree_with_a_counter_and_changes_add_up(
    batches: list[tuple[list[tuple[int, int, int]], bool, str]],
) -> None:
    bins, expected, from_changes = Bins(), Counter[int](), Counter[int]()
    bins.begin()

    def ask() -> None:
        fresh = bins.fresh()
        assert fresh is not None
        slots = fresh[0].tolist()
        assert slots == sorted(set(slots))
        from_changes.update(counted(slots, fresh[1]))

    for rows, once, what in batches:
        keys = keys_of(rows)
        times = np.array([1 if once else n for _, _, n in rows], np.int64)
        bins.note(keys, None if once else times)
        for key, n in zip(keys.tolist(), times.tolist(), strict=True):
            expected[key] += n
        if what in ("ask", "both"):
            ask()
        if what in ("count", "both"):
            assert counted(range(6), bins.of(np.arange(6))) == expected
    ask()
    assert from_changes == expected
    chosen = [3, 1]
    some = Counter({key: n for key, n in expected.items() if key >> 16 in chosen})
    assert counted(chosen, bins.of(np.array(chosen))) == some
    moved = Counter({(chosen.index(key >> 16) << 16) | key & 0xFFFF: n for key, n in some.items()})
    assert counted(range(2), bins.kept(np.array(chosen)).of(np.arange(2))) == moved


@settings(max_examples=150, deadline=None)
@given(counts=st.lists(st.lists(large, max_size=3), max_size=6), more=hits, gap=st.integers(0, 3))
def test_bins_of_new_slots_are_added_whatever_their_counts(
    counts: list[list[int]], more: list[tuple[int, int, int]], gap: int
) -> None:
    bins, expected, first = Bins(), Counter[int](), 0
    for each in counts:
        bins.extend(
            first, np.array([len(each)]), np.arange(len(each), dtype=np.uint16), np.array(each, np.int64)
        )
        expected.update({first << 16 | code: n for code, n in enumerate(each)})
        first += 1 + gap
    bins.note(keys_of(more), np.array([n for _, _, n in more], np.int64))
    for group, code, n in more:
        expected[group << 16 | code] += n
    assert counted(range(30), bins.of(np.arange(30))) == expected


def test_a_bin_takes_three_bytes_while_counts_are_small() -> None:
    bins = Bins()
    keys = np.arange(1 << 21) % (1 << 20) << 3
    bins.note(keys[: 1 << 20])
    bins.note(keys[1 << 20 :])
    bins.of(np.arange(1))
    assert bins.nbytes < 3.1 * (1 << 20)


@given(values=st.lists(st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 300)))
def test_integers_come_back_from_few_bytes(values: list[int]) -> None:
    assert widened(narrowed(np.array(values, np.int64))).tolist() == values


def test_near_integers_take_a_byte_each() -> None:
    assert len(narrowed(np.arange(1 << 60, (1 << 60) + 256))[2]) == 256
