"""Where partitions end, within one fetch: told once, with the records that led there, whatever the order of arrival."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np

from schemas.packed import Packed
from streams.config import EngineConfig
from streams.fetcher import Delivery, Fetcher
from streams.intake import Arrival, End, Records, Source

A, B = ("t", 0), ("t", 1)


def records(source: Source, first: int, last: int) -> Records:
    n = last - first + 1
    values = Packed.of([b"x"] * n)
    return Records(
        source, np.arange(first, last + 1), np.zeros(n, np.int64), Packed.of([None] * n), values, None
    )


class Script:
    """An intake that gives one prepared fetch after the other, then nothing more."""

    def __init__(self, fetches: list[list[Arrival]]) -> None:
        self.fetches = fetches
        self.over = threading.Event()

    def assign(self, source: Source, position: int) -> None:
        pass

    unassign = pause = resume = assign

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:  # noqa: ARG002
        if not self.fetches:
            self.over.set()
        yield from self.fetches.pop(0) if self.fetches else []

    def close(self) -> None:
        pass


def delivered(*fetches: list[Arrival]) -> list[tuple[int, int, int, int, bool]]:
    """Return (partition, start, next, records, at end) of each delivery."""
    script, found = Script(list(fetches)), list[Delivery]()
    fetcher = Fetcher(EngineConfig("app", {}), found.append, lambda _: None, found.append, lambda _: script)  # type: ignore[arg-type]
    for source in (A, B):
        fetcher.add(source, 0)
    fetcher.start()
    assert script.over.wait(30)
    fetcher.stop()
    return [(d.batch.partition, d.batch.start, d.batch.next, len(d.batch), d.at_end) for d in found]


def test_the_end_goes_with_the_last_records_before_it() -> None:
    assert delivered([records(A, 0, 9), records(B, 0, 4), End(A, 10)]) == [
        (0, 0, 10, 10, True),
        (1, 0, 5, 5, False),
    ]


def test_markers_between_the_last_record_and_the_end_are_passed() -> None:
    assert delivered([records(A, 0, 9), End(A, 12)], [records(A, 12, 12)]) == [
        (0, 0, 12, 10, True),
        (0, 12, 13, 1, False),
    ]


def test_an_end_without_records_is_a_delivery_of_its_own() -> None:
    assert delivered([End(A, 0), records(B, 0, 1)], [End(A, 3)]) == [
        (0, 0, 0, 0, True),
        (1, 0, 2, 2, False),
        (0, 0, 3, 0, True),
    ]


def test_an_end_that_reading_went_past_is_none() -> None:
    assert delivered([records(A, 0, 1), End(A, 2), records(A, 2, 5)]) == [
        (0, 0, 2, 2, False),
        (0, 2, 6, 4, False),
    ]
