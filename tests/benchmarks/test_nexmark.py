"""Nexmark's events, its answers by SQL against a recount of the records, and the queries' tasks on one partition."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.families import families
from benchmarks.nexmark.events import FIRST_ID, START, Site
from benchmarks.nexmark.queries import QUERIES, SESSION_GAP
from benchmarks.nexmark.scenario import Nexmark
from benchmarks.nexmark.sql import FLINK, ORACLE
from schemas.partitioning import partition_of

SITE = Site(30_000)


def events(query: str, topic: str = ".bid") -> list[dict[str, Any]]:
    records = Nexmark(query, SITE.events).topics()[topic]
    found = [msgspec.json.decode(value) for _, value in records]
    return [e for e in found if e["time"] < START + SITE.events * 2]


def rows(query: str) -> list[tuple[Any, ...]]:
    return Nexmark(query, SITE.events).answer()._rows


def test_of_fifty_events_one_is_a_person_three_are_auctions() -> None:
    assert (len(SITE.people.id), len(SITE.auctions.id), len(SITE.bids.time)) == (600, 1_800, 27_600)
    times = np.sort(np.concatenate([SITE.people.time, SITE.auctions.time, SITE.bids.time]))
    np.testing.assert_array_equal(times, START + 2 * np.arange(30_000))


def test_bids_are_on_auctions_and_sellers_are_people_that_there_are() -> None:
    opened = np.searchsorted(SITE.auctions.time, SITE.bids.time)
    assert (SITE.bids.auction - FIRST_ID < opened).all()
    registered = np.searchsorted(SITE.people.time, SITE.auctions.time)
    assert (SITE.auctions.seller - FIRST_ID < registered).all()
    assert 0.45 < (SITE.bids.auction % 100 == 0).mean() < 0.55
    assert (SITE.bids.price >= 100).all()


def test_a_smaller_site_is_the_beginning_of_a_larger_one() -> None:
    small = Site(10_000)
    for mine, theirs in zip(small.bids, SITE.bids, strict=True):
        np.testing.assert_array_equal(mine, theirs[: len(mine)])
    first = next(SITE.bid_records("auction", closed=True))
    assert first[0] == b"1000"
    assert b'"auction":"1000","bidder":"1001","price":20489,"channel":"Apple"' in first[1]


@pytest.mark.parametrize("query", QUERIES)
def test_every_partition_of_every_topic_is_closed(query: str) -> None:
    scenario = Nexmark(query, 2_000)
    topics = scenario.topics()
    records = {name: list(found) for name, found in topics.items()}
    assert sum(map(len, records.values())) == scenario.records_count
    for found in records.values():
        closers = [key for key, value in found if msgspec.json.decode(value)["time"] > START + 3_600_000]
        wanted = [0, 1, 2, 3] if QUERIES[query].windows else []
        assert sorted(set(partition_of(closers, 4).tolist() if closers else [])) == wanted
    assert QUERIES.keys() == ORACLE.keys() == FLINK.keys()


def test_hot_items_and_highest_bids_by_hand() -> None:
    counts: dict[int, Counter[int]] = defaultdict(Counter)
    highest: dict[int, tuple[int, int, int]] = {}
    for bid in events("q5"):
        newest = bid["time"] - bid["time"] % 2_000
        for start in range(newest - 8_000, newest + 1, 2_000):
            counts[start][int(bid["auction"])] += 1
        window = bid["time"] - bid["time"] % 10_000
        highest[window] = max(
            highest.get(window, (0, 0, 0)), (bid["price"], int(bid["auction"]), int(bid["bidder"]))
        )
    hot = [
        (start, *min(found.items(), key=lambda pair: (-pair[1], str(pair[0]))))
        for start, found in counts.items()
    ]
    assert sorted(rows("q5")) == sorted(hot)
    assert sorted(rows("q7")) == sorted((s, a, b, p) for s, (p, a, b) in highest.items())
    assert max(len(found) for found in counts.values()) < 768, (
        "counts of frequent items are exact up to there"
    )


def test_new_sellers_by_hand() -> None:
    people = {p["id"]: p for p in events("q8", ".person")}
    found = [
        (int(a["seller"]), people[a["seller"]]["name"], a["reserve"])
        for a in events("q8", ".auction")
        if a["seller"] in people and people[a["seller"]]["time"] // 10_000 == a["time"] // 10_000
    ]
    assert Counter(rows("q8")) == Counter(found)


def test_sessions_by_hand() -> None:
    times: dict[str, list[int]] = defaultdict(list)
    for bid in events("q11"):
        times[bid["bidder"]].append(bid["time"])
    found = []
    for bidder, moments in times.items():
        cuts = [0, *(np.flatnonzero(np.diff(moments) >= SESSION_GAP) + 1), len(moments)]
        for begin, end in pairwise(cuts):
            found.append((int(bidder), moments[begin], moments[end - 1] + SESSION_GAP, end - begin))
    assert sorted(rows("q11")) == sorted(found)
    assert len(found) > len(times)


def test_rows_of_flink_are_those_of_sql() -> None:
    read = families()["nexmark-q11"].systems()["flink"].read
    value = b'{"bidder":7,"start":"2025-06-15 15:06:40.002","end":"2025-06-15 15:06:50.001","n":3}'
    assert read(value) == [(7, START + 2, START + 10_001, 3)]
