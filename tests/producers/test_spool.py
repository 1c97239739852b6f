"""The spool: what was appended is read back in order, through any kill, up to its bounds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from producers.errors import SpoolError, SpoolFullError
from producers.spool import Spool, SpoolLimits
from producers.spool_entries import Item

_OPEN: list[Spool] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _OPEN:
        _OPEN.pop().close()


def opened(directory: Path, limits: SpoolLimits | None = None, partitions: int | None = 4) -> Spool:
    _OPEN.append(Spool(directory, "g", "t", partitions, limits, monotonic=lambda: 0.0))
    return _OPEN[-1]


def items(*values: bytes) -> list[Item]:
    return [Item(i % 4, 1, 0, value) for i, value in enumerate(values)]


def held(spool: Spool, after: int | None = None) -> list[bytes]:
    """What the reader finds until there is no more for now."""
    found: list[bytes] = []
    newest = -1
    for entry in spool.entries(spool.acked if after is None else after):
        if entry is not None:
            found.append(entry.value)
            newest = entry.number
        elif not found or newest >= spool.last:
            return found
    raise AssertionError("the reader never ends")


def segments(directory: Path) -> list[Path]:
    return sorted(directory.glob("*.seg"))


def test_entries_come_back_in_order_with_rising_numbers(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    first = spool.append(items(b"a", b"b"))
    assert spool.append(items(b"c")) == first + 1
    found = [entry for entry, _ in zip(spool.entries(-1), range(3), strict=False) if entry]
    assert [(e.number, e.partition, e.rows, e.value) for e in found] == [
        (first - 1, 0, 1, b"a"),
        (first, 1, 1, b"b"),
        (first + 1, 0, 1, b"c"),
    ]


def test_a_reader_waits_and_goes_on_with_what_comes(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=1_000, segment_bytes=30))
    reader = spool.entries(-1)
    assert next(reader) is None
    for value in (b"a" * 20, b"b" * 20, b"c" * 20):
        spool.append(items(value))
        entry = next(reader) or next(reader)
        assert entry is not None
        assert entry.value == value
        assert next(reader) is None
    assert len(segments(tmp_path)) == 3


def test_what_is_acknowledged_is_not_found_again_and_leaves_the_disk(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=1_000, segment_bytes=30))
    numbers = [spool.append(items(b"%d" % i * 20)) for i in range(4)]
    spool.ack(numbers[1])
    assert len(segments(tmp_path)) == 2
    spool.close()
    again = opened(tmp_path)
    assert held(again) == [b"2" * 20, b"3" * 20]
    again.ack(numbers[3])
    again.close()
    last = opened(tmp_path)
    assert (held(last), segments(tmp_path)) == ([], [])


def test_numbers_are_never_used_twice_even_if_the_newest_entries_are_lost(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    lost = spool.append(items(b"a", b"b"))
    spool.close()
    os.truncate(segments(tmp_path)[0], 0)
    again = opened(tmp_path)
    assert again.append(items(b"c")) > lost
    assert again.meta.stream == spool.meta.stream


def test_another_disk_is_another_stream(tmp_path: Path) -> None:
    assert opened(tmp_path / "a").meta.stream != opened(tmp_path / "b").meta.stream


@settings(max_examples=60, deadline=None)
@given(
    values=st.lists(st.binary(max_size=40), min_size=1, max_size=12),
    cut=st.floats(0, 1),
    rubbish=st.binary(max_size=30),
)
def test_a_torn_end_is_cut_and_everything_before_it_is_there(
    tmp_path_factory: pytest.TempPathFactory, values: list[bytes], cut: float, rubbish: bytes
) -> None:
    directory = tmp_path_factory.mktemp("spool")
    spool = opened(directory)
    ends = []
    for value in values:
        spool.append(items(value))
        ends.append(spool.size)
    path = segments(directory)[0]
    spool.close()
    size = int(cut * ends[-1])
    with path.open("r+b") as file:
        file.truncate(size)
        file.seek(size)
        file.write(rubbish)
    whole = sum(end <= size for end in ends)
    again = opened(directory)
    # What a later life appends comes after what was saved, and nothing of the torn entry.
    again.append(items(b"later"))
    assert held(again) == [*values[:whole], b"later"]
    again.close()


def test_a_damaged_entry_costs_the_rest_of_its_segment_and_is_counted(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=1_000, segment_bytes=30))
    for value in (b"a" * 20, b"b" * 20, b"c" * 20):
        spool.append(items(value))
    spool.close()
    with segments(tmp_path)[1].open("r+b") as file:
        file.seek(35)
        file.write(b"x")
    again = opened(tmp_path)
    assert held(again) == [b"a" * 20, b"c" * 20]
    assert again.damaged == 45


def test_a_full_spool_refuses_and_has_room_again_after_acknowledgements(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=100, segment_bytes=50))
    number = spool.append(items(b"a" * 30))
    with pytest.raises(SpoolFullError, match="100 bytes"):
        spool.append(items(b"b" * 30))
    assert held(spool) == [b"a" * 30]
    spool.ack(number)
    spool.append(items(b"b" * 30))
    assert held(spool) == [b"b" * 30]


def test_a_full_spool_may_let_go_of_the_oldest_and_counts_its_rows(tmp_path: Path) -> None:
    limits = SpoolLimits(max_bytes=120, segment_bytes=50, when_full="drop-oldest")
    spool = opened(tmp_path, limits)
    for i in range(4):
        spool.append([Item(0, 10, 0, b"%d" % i * 30)])
    assert held(spool) == [b"2" * 30, b"3" * 30]
    assert spool.dropped == 20


def test_a_reader_in_the_midst_of_a_dropped_segment_goes_on(tmp_path: Path) -> None:
    spool = opened(tmp_path, SpoolLimits(max_bytes=150, segment_bytes=50, when_full="drop-oldest"))
    spool.append(items(b"a" * 10, b"b" * 10))
    reader = spool.entries(-1)
    assert (first := next(reader)) is not None
    assert first.value == b"a" * 10
    for value in (b"c" * 30, b"d" * 30):
        spool.append(items(value))
    assert [entry.value for entry in (next(reader), next(reader), next(reader)) if entry] == [
        b"b" * 10,
        b"c" * 30,
        b"d" * 30,
    ]


def test_a_disk_that_is_full_takes_nothing_of_an_append(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = opened(tmp_path)
    spool.append(items(b"a"))
    monkeypatch.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(SpoolFullError, match="No space"):
        spool.append(items(b"b"))
    monkeypatch.undo()
    spool.append(items(b"c"))
    assert held(spool) == [b"a", b"c"]


def test_a_directory_has_one_gateway_one_topic_and_one_way_to_split(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(SpoolError, match="in use"):
        opened(tmp_path)
    spool.close()
    with pytest.raises(SpoolError, match="gateway g for t"):
        Spool(tmp_path, "h", "t", 4)
    with pytest.raises(SpoolError, match="split for 4 partitions and t has 8"):
        opened(tmp_path, partitions=8)
    assert opened(tmp_path, partitions=None).meta.partitions == 4


def test_a_new_directory_needs_the_number_of_partitions(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="--partitions"):
        opened(tmp_path, partitions=None)


def test_batches_of_nobody_are_not_guessed_at(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append(items(b"a"))
    spool.close()
    (tmp_path / "spool.json").unlink()
    with pytest.raises(SpoolError, match="nobody knows whose"):
        opened(tmp_path)


def test_a_spool_has_room_for_two_segments() -> None:
    with pytest.raises(ValueError, match="two segments"):
        SpoolLimits(max_bytes=100, segment_bytes=60)
