"""The protocol's bytes, written out by hand from its specification."""

from __future__ import annotations

import pytest

from streams import wire
from streams.wire import Asked, Fetched, Leader, WireError

FETCHED = bytes.fromhex(
    "00000000" "0000" "00000000"  # throttled for, error, session
    "02" "0274"  # one topic: t
    "03"  # two partitions
    "00000001" "0000" "000000000000000a" "0000000000000008" "0000000000000000"  # partition 1, no error, high watermark, end, start
    "03" "0000000000000007" "0000000000000003" "00" "0000000000000009" "0000000000000005" "00"  # two aborted transactions
    "ffffffff" "04" "aabbcc" "00"  # no other replica, three bytes of records, no tags
    "00000002" "0006" "ffffffffffffffff" "ffffffffffffffff" "ffffffffffffffff"  # partition 2: not the leader
    "00" "00000003" "00"  # no list of aborted ones, replica 3, no records
    "02" "00" "0d" "00000004" "0000000000000006" "00" "01" "09" "00000005" "00000007" "00"  # the log was cut at 6; a leader
    "00" "00"
)  # fmt: skip


def reader(data: bytes) -> wire.Reader:
    return wire.Reader(memoryview(data))


def test_an_answer_to_a_fetch() -> None:
    read = reader(FETCHED)
    error, (first, second) = wire.read_fetched(read)
    assert error == 0
    assert read.at == len(FETCHED)
    assert first == Fetched("t", 1, 0, 8, [(7, 3), (9, 5)], first.start, 3, None)
    assert FETCHED[first.start : first.start + 3] == b"\xaa\xbb\xcc"
    assert second == Fetched("t", 2, 6, -1, [], second.start, 0, 6)


def test_an_answer_that_ends_too_early_is_said() -> None:
    for size in range(len(FETCHED)):
        with pytest.raises(WireError, match="ends within"):
            wire.read_fetched(reader(FETCHED[:size]))


def test_a_request_to_fetch() -> None:
    asked = [Asked("t", 1, 42, 5, 4), Asked("t", 2, 7, -1, -1), Asked("u", 0, 0, 0, -1)]
    assert wire.fetch_request(asked, 50, 1 << 20, 1 << 16) == bytes.fromhex(
        "ffffffff" "00000032" "00000001" "00100000" "01" "00000000" "ffffffff" "03"
        "0274" "03"
        "00000001" "00000005" "000000000000002a" "00000004" "ffffffffffffffff" "00010000" "00"
        "00000002" "ffffffff" "0000000000000007" "ffffffff" "ffffffffffffffff" "00010000" "00"
        "00"
        "0275" "02" "00000000" "00000000" "0000000000000000" "ffffffff" "ffffffffffffffff" "00010000" "00" "00"
        "01" "01" "00"
    )  # fmt: skip


def test_a_request_has_its_length_and_says_who_asks() -> None:
    assert wire.framed(wire.METADATA, 9, "me", wire.metadata_request(["t"])) == bytes.fromhex(
        "00000014" "0003" "0007" "00000009" "0002" "6d65" "00000001" "0001" "74" "00"
    )  # fmt: skip
    assert wire.framed(wire.FETCH, 9, "me", b"")[-1:] == b"\0"  # tagged fields


def test_an_answer_to_another_request_is_none() -> None:
    with pytest.raises(WireError, match="request 8 came to request 9"):
        wire.answered(wire.METADATA, 9, memoryview(b"\0\0\0\x08"))


def test_where_partitions_are() -> None:
    layout = bytes.fromhex(
        "00000000" "00000001" "00000003" "0001" "68" "00002384" "ffff" "ffff" "00000003"  # one broker: 3 at h:9092
        "00000002" "0000" "0001" "74" "00"
        "00000001" "0000" "00000005" "00000003" "00000002" "00000001" "00000003" "00000001" "00000003" "00000000"
        "0003" "0001" "75" "00" "00000000"
    )  # fmt: skip
    found = wire.read_layout(reader(layout))
    assert found.brokers == {3: ("h", 9092)}
    assert found.topics == {"t": 0, "u": 3}
    assert found.leaders == {("t", 5): Leader(0, 3, 2)}
    for size in range(len(layout)):
        with pytest.raises(WireError, match="ends within"):
            wire.read_layout(reader(layout[:size]))


def test_what_a_broker_knows_and_says_of_passwords() -> None:
    assert wire.read_versions(reader(bytes.fromhex("0000" "00000001" "0001" "0004" "0011"))) == {1: (4, 17)}  # fmt: skip
    with pytest.raises(WireError, match="error 35"):
        wire.read_versions(reader(bytes.fromhex("0023")))
    assert wire.handshake_request("PLAIN") == b"\0\x05PLAIN"
    assert wire.read_handshake(reader(b"\0\x21\0\0\0\x01\0\x05PLAIN")) == (33, ["PLAIN"])
    assert wire.authenticate_request(b"abc") == b"\0\0\0\x03abc"
    assert wire.read_authenticated(reader(b"\0\x3a\0\x02no\xff\xff\xff\xff")) == (58, "no", b"")
