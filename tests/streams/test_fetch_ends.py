"""Where partitions end, within one fetch: told once, with the records that led there, whatever the order of arrival."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from confluent_kafka import KafkaError

from schemas.packed import address_of
from streams.config import EngineConfig
from streams.fetcher import Delivery, Fetcher
from streams.intake import Arrival, Event, Records, Source
from streams.librdkafka import library_path

END = KafkaError._PARTITION_EOF
A, B = ("t", 0), ("t", 1)


def records(source: Source, first: int, last: int) -> Records:
    n = last - first + 1
    return Records(source, np.arange(first, last + 1), np.zeros(n, np.int64), [None] * n, [b"x"] * n, None)


def end(source: Source, offset: int) -> Event:
    return Event(source, offset, END, "end")


class Script:
    """An intake that gives one prepared fetch after the other, then nothing more."""

    def __init__(self, fetches: list[list[Arrival]]) -> None:
        self.fetches = fetches
        self.limits: list[int] = []
        self.over = threading.Event()

    def assign(self, source: Source, position: int) -> None:
        pass

    unassign = pause = resume = assign

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:  # noqa: ARG002
        self.limits.append(limit)
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
    assert delivered([records(A, 0, 9), records(B, 0, 4), end(A, 10)]) == [
        (0, 0, 10, 10, True),
        (1, 0, 5, 5, False),
    ]


def test_markers_between_the_last_record_and_the_end_are_passed() -> None:
    assert delivered([records(A, 0, 9), end(A, 12)], [records(A, 12, 12)]) == [
        (0, 0, 12, 10, True),
        (0, 12, 13, 1, False),
    ]


def test_an_end_without_records_is_a_delivery_of_its_own() -> None:
    assert delivered([end(A, 0), records(B, 0, 1)], [end(A, 3)]) == [
        (0, 0, 0, 0, True),
        (1, 0, 2, 2, False),
        (0, 0, 3, 0, True),
    ]


def test_an_end_that_reading_went_past_is_none() -> None:
    assert delivered([records(A, 0, 1), end(A, 2), records(A, 2, 5)]) == [
        (0, 0, 2, 2, False),
        (0, 2, 6, 4, False),
    ]


@pytest.mark.skipif(
    library_path() is None, reason="confluent-kafka brings no librdkafka that can be loaded here"
)
def test_ends_move_behind_all_else_and_only_the_last_of_a_partition_stays() -> None:
    from streams import librdkafka_kernel as kernel

    sent = [(0, 0, 1), (END, 0, 2), (0, 1, 1), (0, 0, 3), (END, 1, 2), (END, 0, 4), (-5, 1, 9), (END, 2, 7)]
    table = np.zeros((len(sent), 9), np.int64)
    for row, (error, partition, offset) in zip(table, sent, strict=True):
        row.view(np.int32)[0], row[1], row.view(np.int32)[4], row[7] = error, 1000, partition, offset
    addresses = address_of(table) + table.itemsize * 9 * np.arange(len(sent))
    ordered = kernel.ends_last(addresses.copy(), END)
    found = [sent[(int(address) - address_of(table)) // 72] for address in ordered]
    assert found[:4] == [(0, 0, 1), (0, 1, 1), (0, 0, 3), (-5, 1, 9)]
    assert sorted(found[4:]) == [(END, 0, 4), (END, 2, 7)]


def test_of_large_records_fewer_are_taken_at_once() -> None:
    large = replace(records(A, 0, 3), values=[b"." * 100_000] * 4)
    script = Script([[large], [records(A, 4, 9)], []])
    config = EngineConfig("app", {}, fetch_records=5_000, fetch_bytes=1_000_000)
    fetcher = Fetcher(config, lambda _: None, lambda _: None, lambda _: None, lambda _: script)
    fetcher.add(A, 0)
    fetcher.start()
    assert script.over.wait(30)
    fetcher.stop()
    assert script.limits[:3] == [5_000, 10, 5_000]
