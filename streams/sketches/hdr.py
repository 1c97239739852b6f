"""HDR histograms (Tene): counts of whole numbers to so many decimal digits, in the V2 encoding that other tools log."""

from __future__ import annotations

import base64
import binascii
import struct
import zlib

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streams.sketches.errors import (
    CorruptSketchError,
    EmptySketchError,
    InfiniteValueError,
    MappingMismatchError,
    NeverAddedError,
    SketchError,
)

Ints = NDArray[np.int64]

_OUTER, _INNER = 0x1C849314, 0x1C849313
_WRAPPER, _HEADER = struct.Struct(">II"), struct.Struct(">IIIIQQd")
_LARGEST_PAYLOAD = 1 << 24


class HdrHistogram:
    """Counts of whole numbers from 0 to ``highest``, told apart to ``digits`` significant decimal digits from ``lowest`` on."""

    def __init__(self, lowest: int, highest: int, digits: int) -> None:
        if not (lowest >= 1 and 2 * lowest <= highest < 1 << 62 and 1 <= digits <= 5):
            raise SketchError("need 1 <= lowest, 2 lowest <= highest < 2^62 and 1 to 5 digits")
        self.lowest, self.highest, self.digits = lowest, highest, digits
        self._unit = lowest.bit_length() - 1
        # Twice as many sub-buckets as digits need, for the upper half of each bucket alone is used.
        self._bits = (2 * 10**digits - 1).bit_length()
        buckets, reach = 1, 1 << (self._bits + self._unit)
        while reach <= highest:
            buckets, reach = buckets + 1, reach << 1
        self.counts = np.zeros((buckets + 1) << (self._bits - 1), np.int64)

    @property
    def count(self) -> int:
        """The number of values."""
        return int(self.counts.sum())

    def update(self, values: ArrayLike) -> None:
        """Add whole numbers.

        Raises:
            InfiniteValueError: one is negative or above ``highest``. Nothing is added then.
        """
        v = np.asarray(values, np.int64).ravel()
        if len(v) and not (v.min() >= 0 and v.max() <= self.highest):
            raise InfiniteValueError(
                f"values must be from 0 to {self.highest}; leave others out or raise highest"
            )
        self.counts += np.bincount(self._index(v), minlength=len(self.counts))

    def merge(self, other: HdrHistogram) -> None:
        """Add the counts of a histogram of the same range and digits."""
        self._require(other)
        self.counts += other.counts

    def subtract(self, other: HdrHistogram) -> None:
        """Take out counts that were added before."""
        self._require(other)
        if (self.counts < other.counts).any():
            raise NeverAddedError(
                "these values were never added, so they cannot be taken out; nothing was changed"
            )
        self.counts -= other.counts

    def percentile(self, percent: float) -> int:
        """Return the value at a percentile: the largest that its bin holds, or at 0 the smallest of the first bin in use."""
        if not 0 <= percent <= 100:
            raise SketchError("percentiles must be in [0, 100]")
        n = self._required()
        rank = max(int(percent / 100 * n + 0.5), 1)
        at = int(np.searchsorted(np.cumsum(self.counts), rank))
        low, width = self._bins(np.array([at]))
        return int(low[0]) if percent == 0 else int(low[0] + width[0] - 1)

    @property
    def mean(self) -> float:
        """The mean, each value taken as the middle of its bin."""
        middle, counts = self._middles()
        return float(middle @ counts) / self._required()

    @property
    def standard_deviation(self) -> float:
        """The population standard deviation, each value taken as the middle of its bin."""
        middle, counts = self._middles()
        off = middle - self.mean
        return float(np.sqrt((off * off) @ counts / self._required()))

    def encode(self) -> str:
        """Return the V2 compressed encoding in base64, as HDR logs have it."""
        used = np.flatnonzero(self.counts)
        last = int(used[-1]) + 1 if len(used) else 0
        payload = bytearray()
        zeros = 0
        for count in self.counts[:last].tolist():
            if count == 0:
                zeros += 1
                continue
            if zeros:
                payload += _leb128(2 * zeros - 1)
                zeros = 0
            payload += _leb128(2 * count)
        header = _HEADER.pack(_INNER, len(payload), 0, self.digits, self.lowest, self.highest, 1.0)
        packed = zlib.compress(header + bytes(payload))
        return base64.b64encode(_WRAPPER.pack(_OUTER, len(packed)) + packed).decode()

    @classmethod
    def decode(cls, text: str) -> HdrHistogram:
        """Read a V2 compressed encoding.

        Raises:
            CorruptSketchError: it is none, of another version, or cut short.
        """
        try:
            data = base64.b64decode(text, validate=True)
            cookie, size = _WRAPPER.unpack_from(data)
            if cookie != _OUTER or len(data) != _WRAPPER.size + size:
                raise CorruptSketchError("only whole compressed V2 encodings are read")
            payload = zlib.decompressobj().decompress(data[_WRAPPER.size :], _LARGEST_PAYLOAD)
            inner, length, offset, digits, lowest, highest, ratio = _HEADER.unpack_from(payload)
            if inner != _INNER or offset != 0 or ratio != 1.0 or len(payload) != _HEADER.size + length:
                raise CorruptSketchError("only V2 histograms of whole numbers without offset are read")
            histogram = cls(lowest, highest, digits)
            histogram._read(payload[_HEADER.size :])
        except (binascii.Error, struct.error, zlib.error, IndexError) as error:
            raise CorruptSketchError("text is no HDR histogram, or is cut short") from error
        return histogram

    def _read(self, payload: bytes) -> None:
        at = index = 0
        while at < len(payload):
            number = shift = 0
            while True:
                byte = payload[at]
                at += 1
                # The ninth byte has eight bits of its own.
                number |= (byte if shift == 56 else byte & 127) << shift
                shift += 7
                if byte < 128 or shift > 56:
                    break
            if number & 1:
                index += (number + 1) >> 1
                continue
            if index >= len(self.counts) or number >> 1 > np.iinfo(np.int64).max:
                raise CorruptSketchError("an HDR histogram has more bins than its range")
            self.counts[index] = number >> 1
            index += 1

    def _index(self, v: Ints) -> Ints:
        mask = ((1 << self._bits) - 1) << self._unit
        # frexp gives the number of bits exactly below 2^53; above, rounding up to a power of two is undone.
        bits = np.frexp((v | mask).astype(np.float64))[1].astype(np.int64)
        bits -= ((v | mask) >> np.maximum(bits - 1, 0)) == 0
        bucket = bits - self._unit - self._bits
        sub = v >> (bucket + self._unit)
        half = 1 << (self._bits - 1)
        return np.asarray(((bucket + 1) << (self._bits - 1)) + sub - half)

    def _bins(self, index: Ints) -> tuple[Ints, Ints]:
        """Return the smallest value and the number of values of each bin."""
        half = 1 << (self._bits - 1)
        bucket = (index >> (self._bits - 1)) - 1
        sub = (index & (half - 1)) + half
        sub = np.where(bucket < 0, sub - half, sub)
        bucket = np.maximum(bucket, 0)
        return sub << (bucket + self._unit), np.left_shift(np.int64(1), bucket + self._unit)

    def _middles(self) -> tuple[NDArray[np.float64], Ints]:
        used = np.flatnonzero(self.counts)
        low, width = self._bins(used)
        return (low + (width >> 1)).astype(np.float64), self.counts[used]

    def _required(self) -> int:
        n = self.count
        if not n:
            raise EmptySketchError("an empty histogram has no percentiles")
        return n

    def _require(self, other: HdrHistogram) -> None:
        if (self.lowest, self.highest, self.digits) != (other.lowest, other.highest, other.digits):
            raise MappingMismatchError("only histograms of the same range and digits can be combined")


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 127 and len(out) < 8:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
