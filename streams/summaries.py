"""From closed windows to the summaries that are published."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.packed import address_of
from streams.extras import Value
from streams.frames import Firing
from streams.groups import Groups
from streams.sketches import text_kernel as kernel
from streams.sketches.codes import header_of, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.task import Output

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]

_AT_ONCE = 4096
_FLOATS = ("sum", "mean", "variance", "min", "max", "first", "last")
_BEFORE, _AFTER = ("start", "end", "revision", "count"), ("late", "first_time", "last_time")
# Bytes at most: of an integer; of a bin, its step of 16 bits and its count of 63; of a bin in base64; of a sketch's header in it.
_INTEGER, _LARGEST_BIN, _BIN, _HEADER = 20, 12, 16, 20
_NO_EXTRAS = b"{}\n"


class Summaries:
    """Makes the summaries of one pipeline or roll-up, named ``name`` in their ids.

    Their bytes are those of ``schemas.results.WindowSummary`` as msgspec encodes it. It writes the texts and the floating numbers
    of many rows at a time, and a compiled loop puts them together.
    """

    def __init__(self, name: str, groups: Groups, mapping: LogMapping, levels: Sequence[float]) -> None:
        self._groups, self._mapping = groups, mapping
        self._levels = np.array(levels)
        self._header = np.frombuffer(header_of(mapping), np.uint8)
        self._pieces, self._piece_at = _laid([piece.encode() for piece in _pieces(name, mapping, levels)])
        self._labels_of = _struct_of(groups.label_names)
        self._encoder = msgspec.json.Encoder()

    def of(
        self,
        firing: Firing,
        late: Sequence[int] | None = None,
        extras: Sequence[Mapping[str, Value]] | None = None,
    ) -> list[Output]:
        """Return one result for each group of the windows, in their order; ``late`` rows of each were folded in."""
        closed = firing.closed
        n = len(closed.group)
        # The smaller of 0 and -0 is either, by where it was looked for; adding 0 makes both 0.
        low, high = closed.floats["min"] + 0.0, closed.floats["max"] + 0.0
        quantiles = quantiles_many(
            self._mapping, closed.indptr, closed.codes, closed.counts, low, high, self._levels
        )
        numbers = closed.floats | {"mean": closed.mean, "variance": closed.variance, "min": low, "max": high}
        floats = np.column_stack([*(numbers[name] for name in _FLOATS), quantiles])
        whole = {"start": firing.start, "end": firing.end, "revision": firing.revision, "count": closed.count}
        whole |= {"late": np.array([0] * n if late is None else late, np.int64)} | closed.times
        integers = np.column_stack([whole[name] for name in (*_BEFORE, *_AFTER)])
        codes, counts = (
            np.ascontiguousarray(closed.codes, np.int32),
            np.ascontiguousarray(closed.counts, np.int64),
        )
        outputs: list[Output] = []
        for at in range(0, n, _AT_ONCE):
            here = slice(at, at + _AT_ONCE)
            groups = closed.group[here].tolist()
            bins = closed.indptr[at : at + len(groups) + 1], codes, counts
            rest = None if extras is None else extras[here]
            values = self._values(groups, integers[here], floats[here], bins, rest)
            keys = self._groups.keys
            outputs += [
                Output("result", keys[group], value) for group, value in zip(groups, values, strict=True)
            ]
        return outputs

    def _values(
        self,
        groups: Sequence[int],
        integers: Ints,
        floats: NDArray[np.float64],
        bins: tuple[Ints, NDArray[np.int32], Ints],
        extras: Sequence[Mapping[str, Value]] | None,
    ) -> Iterator[bytes]:
        """Yield the JSON of each row."""
        known, lines = self._groups, self._encoder.encode_lines
        name_lines = lines([known.names[group] for group in groups])
        label_lines = lines([self._labels_of(*known.kept[group]) for group in groups])
        extra_lines = _NO_EXTRAS if extras is None else lines(extras)
        numbers = self._encoder.encode(floats.ravel().tolist())[1:-1] + b","
        texts = 2 * len(name_lines) + len(label_lines) + len(numbers)
        texts += len(extra_lines) * (len(groups) if extras is None else 1)
        constant = len(self._pieces) + integers.shape[1] * _INTEGER + _HEADER + len(self._piece_at)
        size = texts + constant * len(groups) + _BIN * int(bins[0][-1] - bins[0][0])
        out, ends = np.empty(size, np.uint8), np.empty(len(groups), np.int64)
        indptr, codes, counts = bins
        scratch = np.empty(len(self._header) + _LARGEST_BIN * int(np.diff(indptr).max()), np.uint8)
        text, header = np.frombuffer(numbers, np.uint8), self._header
        (names, name_at), (labels, label_at), (more, more_at) = map(
            _by_line, (name_lines, label_lines, extra_lines)
        )
        kernel.rows(
            address_of(self._pieces), self._piece_at, address_of(names), name_at, address_of(labels), label_at,
            address_of(more), more_at, integers, address_of(text), floats.shape[1], address_of(header), len(header),
            indptr, address_of(codes), address_of(counts), address_of(scratch), address_of(out), ends,
        )  # fmt: skip
        data = out[: ends[-1]].tobytes()
        return (data[begin:end] for begin, end in pairwise([0, *ends.tolist()]))


def _struct_of(names: Sequence[str]) -> type[msgspec.Struct]:
    """Return a struct that takes a text for each name and is encoded like the dict of them, several times as fast."""
    fields = [(f"label_{i}", str) for i in range(len(names))]
    rename = {f"label_{i}": name for i, name in enumerate(names)}
    return msgspec.defstruct("Labels", fields, rename=rename, frozen=True, gc=False)


def _pieces(name: str, mapping: LogMapping, levels: Sequence[float]) -> list[str]:
    """Return the constant texts of a summary, each standing before what varies, and the last text."""
    inner = msgspec.json.encode(name).decode()[1:-1]
    first = [f'{{"id":"{inner}|', "|", f'","pipeline":"{inner}","group":', ',"labels":']
    middle = [f',"{field}":' for field in (*_BEFORE, *_FLOATS)]
    opened = ',"quantiles":{'
    for level in levels:
        middle.append(f'{opened}"{level:g}":')
        opened = ","
    alpha = msgspec.json.encode(mapping.alpha).decode()
    closed = "}" if levels else opened + "}"
    last = [f',"{field}":' for field in (*_AFTER, "extras")]
    return [*first, *middle, f'{closed},"alpha":{alpha},"sketch":"', '"' + last[0], *last[1:], "}"]


def _laid(texts: Sequence[bytes]) -> tuple[Bytes, Ints]:
    """Lay texts end to end and return where each begins, and the end of the last."""
    return np.frombuffer(b"".join(texts), np.uint8), np.cumsum([0, *map(len, texts)])


def _by_line(lines: bytes) -> tuple[Bytes, Ints]:
    """Return lines and where each begins, and the end of the last."""
    data = np.frombuffer(lines, np.uint8)
    return data, np.append(0, np.flatnonzero(data == ord("\n")) + 1)
