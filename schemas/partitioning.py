"""Java's murmur2 partitioner for many keys at once: which partition a key belongs to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Int32s

UInt32s = NDArray[np.uint32]

_M = np.uint32(0x5BD1E995)
_SEED = 0x9747B28C
_CHUNK = 4096


def murmur2(keys: Sequence[bytes]) -> UInt32s:
    """Return the 32-bit murmur2 hash of each key, shape (n,), as Kafka's Java client computes it.

    The hash is unsigned; Java shows the same bits as a signed integer.
    """
    hashes = np.empty(len(keys), np.uint32)
    order = sorted(range(len(keys)), key=lambda i: len(keys[i]))
    # Chunks of keys of similar length keep the padded matrix small when one key is long.
    for first in range(0, len(order), _CHUNK):
        chunk = order[first : first + _CHUNK]
        hashes[chunk] = _hash_padded([keys[i] for i in chunk])
    return hashes


def partition_of(keys: Sequence[bytes], partitions: int) -> Int32s:
    """Return the partition of each key, shape (n,): ``(murmur2(key) & 0x7fffffff) % partitions``.

    Raises ValueError if ``partitions`` is not positive.
    """
    if partitions < 1:
        raise ValueError(f"a topic has at least one partition, not {partitions}")
    return ((murmur2(keys) & np.uint32(0x7FFFFFFF)) % np.uint32(partitions)).astype(np.int32)


def _hash_padded(keys: Sequence[bytes]) -> UInt32s:
    lengths = np.fromiter(map(len, keys), np.uint32, len(keys))
    width = int(lengths.max()) // 4 * 4 + 4
    padded = b"".join([key.ljust(width, b"\0") for key in keys])
    words = np.frombuffer(padded, "<u4").reshape(len(keys), width // 4).astype(np.uint32)
    whole = lengths // 4
    hashes = np.uint32(_SEED) ^ lengths
    for column in range(int(whole.max())):
        word = words[:, column] * _M
        word = (word ^ (word >> np.uint32(24))) * _M
        hashes = np.where(column < whole, (hashes * _M) ^ word, hashes)
    # The zero padding makes the last partial word what Java assembles byte by byte.
    rest = words[np.arange(len(keys)), whole]
    hashes = np.where(lengths % 4 != 0, (hashes ^ rest) * _M, hashes)
    hashes = (hashes ^ (hashes >> np.uint32(13))) * _M
    return hashes ^ (hashes >> np.uint32(15))
