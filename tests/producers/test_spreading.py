"""Hot keys: found while the stream goes on, spread evenly, and let go of when they cool down."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.spreading import SETTLED, HotKeys, Spreader
from schemas.partitioning import partition_of

PARTITIONS = 4


def zipf(n: int, exponent: float = 1.5, keys: int = 10_000, seed: int = 7) -> list[bytes]:
    weights = np.arange(1, keys + 1) ** -exponent
    drawn = np.random.default_rng(seed).choice(keys, n, p=weights / weights.sum())
    return [b"sensor-%d" % key for key in drawn.tolist()]


def imbalance(partitions: np.ndarray) -> float:
    load = np.bincount(partitions, minlength=PARTITIONS)
    return float(load.max() / load.mean())


@pytest.mark.parametrize("seed", range(3))
def test_zipf_keys_load_partitions_evenly_once_hot_ones_are_spread(seed: int) -> None:
    keys = zipf(40_000, seed=seed)
    assert imbalance(partition_of(keys, PARTITIONS)) > 1.6
    spreader = Spreader(PARTITIONS)
    assert imbalance(spreader.partitions(keys)) <= 1.15
    assert spreader.imbalance <= 1.15
    assert b"sensor-0" in spreader.hot[:1]
    assert len(spreader.hot) < 40


def test_keys_that_are_not_hot_stay_where_murmur2_puts_them() -> None:
    keys = zipf(20_000)
    chosen = Spreader(PARTITIONS).partitions(keys)
    home, counts = partition_of(keys, PARTITIONS), Counter(keys)
    cold = np.array([counts[key] < 0.005 * len(keys) for key in keys])
    assert cold.sum() > 1_000
    np.testing.assert_array_equal(chosen[cold], home[cold])


def test_even_keys_are_left_alone() -> None:
    keys = [b"k%d" % (i % 500) for i in range(20_000)]
    spreader = Spreader(PARTITIONS)
    np.testing.assert_array_equal(spreader.partitions(keys), partition_of(keys, PARTITIONS))
    assert spreader.hot == []


def test_a_key_that_cools_down_is_let_go_of() -> None:
    keys = HotKeys(0.1, counters=40, horizon=1_000)
    for _ in range(500):
        keys.add(b"hot")
    assert keys.hot == [b"hot"]
    for i in range(6_000):
        keys.add(b"k%d" % (i % 30))
    assert keys.hot == []


@settings(max_examples=60, deadline=None)
@given(
    stream=st.lists(
        st.sampled_from([b"a", b"a", b"a", b"b", b"b", *[b"k%d" % i for i in range(12)]]), max_size=300
    )
)
def test_no_key_above_the_share_is_missed_by_more_than_the_error_and_none_far_below_it_is_found(
    stream: list[bytes],
) -> None:
    share, counters = 0.4, 8
    keys = HotKeys(share, counters, horizon=1_000)
    settled = SETTLED / share
    for key in stream:
        keys.add(key)
    counts, n = Counter(stream), len(stream)
    for key in keys.hot:
        assert counts[key] >= share * max(n, settled)
    for key, count in counts.items():
        if n >= settled and count >= share * n + n / counters:
            assert key in keys.hot


def test_what_cannot_be_told_apart_is_refused() -> None:
    with pytest.raises(ValueError, match="counters cannot find"):
        HotKeys(0.001, counters=100)
