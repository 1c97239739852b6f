"""Makes msgspec look at every declared struct before threads do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec


def settle() -> None:
    """Let msgspec work out the fields of all structs declared so far; to be called before threads that decode are started.

    It does so when a type is first decoded, and two threads that come to that at once can crash the process: one finds what the
    other has begun (seen in msgspec 0.22 with threads that take turns every 10 us, and in workers that restored).
    """
    for kind in _below(msgspec.Struct):
        with contextlib.suppress(
            Exception
        ):  # one whose annotations cannot be resolved cannot be decoded either
            msgspec.msgpack.Decoder(kind)


def _below(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from _below(each)
