"""The events of Nexmark, of 50 one person, three auctions and 46 bids, with its hot auctions, bidders and sellers.

Proportions, hot shares and prices are those of the generator of Apache Beam's suite. Event time runs in even milliseconds, so that
with a session gap of an odd number of them no two bids are exactly a gap apart, which systems judge differently.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.scenario import Record
from benchmarks.texts import named, numerals, records
from schemas.partitioning import partition_of

START = 1_750_000_000_000
STEP_MS = 2
EPOCH = 50
PEOPLE, AUCTIONS = 1, 3
FIRST_ID = 1_000
IN_FLIGHT, ACTIVE_PEOPLE = 100, 1_000
HOT = 100
CHANNELS = ("Apple", "Baidu", "Facebook", "Google")
NAMES = ("Ada", "Ben", "Cleo", "Dan", "Eve", "Finn", "Gil", "Hana")
CLOSER_ID = 9_000_000_000
"""Ids from here on are of events an hour later, which close all windows."""

Ints = NDArray[np.int64]


class Bids(NamedTuple):
    """Bids in order, arrays of shape (n,)."""

    auction: Ints
    bidder: Ints
    price: Ints
    channel: Ints
    time: Ints


class Auctions(NamedTuple):
    """Auctions in order."""

    id: Ints
    seller: Ints
    reserve: Ints
    time: Ints


class People(NamedTuple):
    """People in order."""

    id: Ints
    name: Ints
    time: Ints


@dataclass(frozen=True)
class Site:
    """``events`` events of an auction site, two milliseconds apart; those of a smaller site are the first of a larger one's."""

    events: int
    partitions: int = 4
    seed: int = 1

    @cached_property
    def bids(self) -> Bids:
        """Half of the bids are on the newest hot auction, three quarters by the newest hot bidder."""
        number = self._numbers(PEOPLE + AUCTIONS, EPOCH)
        last_auction, last_person = self._auctions_before(number) - 1, self._people_before(number) - 1
        first = np.maximum(last_auction - IN_FLIGHT, 0)
        hot = last_auction // HOT * HOT
        auction = np.where(
            self._draw(1, number) < 0.5, hot, first + self._below(2, number, last_auction - first + 1)
        )
        active = np.minimum(last_person + 1, ACTIVE_PEOPLE)
        bidder = np.where(
            self._draw(3, number) < 0.75,
            last_person // HOT * HOT + 1,
            last_person + 1 - active + self._below(4, number, active),
        )
        price = np.round(10 ** (self._draw(5, number) * 6) * 100).astype(np.int64)
        channel = self._below(6, number, np.full(len(number), len(CHANNELS)))
        return Bids(FIRST_ID + auction, FIRST_ID + bidder, price, channel, self._times(number))

    @cached_property
    def auctions(self) -> Auctions:
        """Three quarters of the auctions are by the newest hot seller."""
        number = self._numbers(PEOPLE, PEOPLE + AUCTIONS)
        last_person = self._people_before(number) - 1
        active = np.minimum(last_person + 1, ACTIVE_PEOPLE)
        seller = np.where(
            self._draw(7, number) < 0.75,
            last_person // HOT * HOT,
            last_person + 1 - active + self._below(8, number, active),
        )
        reserve = np.round(10 ** (self._draw(9, number) * 6) * 100).astype(np.int64)
        return Auctions(FIRST_ID + np.arange(len(number)), FIRST_ID + seller, reserve, self._times(number))

    @cached_property
    def people(self) -> People:
        """One person in 50 events."""
        number = self._numbers(0, PEOPLE)
        name = self._below(10, number, np.full(len(number), len(NAMES)))
        return People(FIRST_ID + np.arange(len(number)), name, self._times(number))

    # --- records

    def bid_records(self, key: str, *, closed: bool) -> Iterator[Record]:
        """Yield bids as JSON, on the partition of their ``auction`` or ``bidder``, and what closes windows if asked."""
        yield from _bids(key, self.bids)
        if closed:
            number, time = self._closers()
            yield from _bids(key, Bids(number, number, np.ones_like(number), np.zeros_like(number), time))

    def auction_records(self) -> Iterator[Record]:
        """Yield auctions as JSON, on the partition of their seller, and what closes windows."""
        number, time = self._closers()
        yield from _auctions(self.auctions)
        yield from _auctions(Auctions(number, number, np.ones_like(number), time))

    def person_records(self) -> Iterator[Record]:
        """Yield people as JSON, on the partition of their id, and what closes windows."""
        number, time = self._closers()
        yield from _people(self.people)
        yield from _people(People(number + CLOSER_ID, np.zeros_like(number), time))  # nobody who sells

    def closers(self) -> list[tuple[int, int]]:
        """Return (id, time) of what closes windows, at least one on each partition of every topic."""
        ids = [CLOSER_ID + i for i in range(64 * self.partitions)]
        found = []
        for shift in (0, CLOSER_ID):  # ids of people are others
            homes = partition_of([b"%d" % (number + shift) for number in ids], self.partitions).tolist()
            found.append([ids[homes.index(partition)] for partition in range(self.partitions)])
        last = START + self.events * STEP_MS + 3_600_000
        return [(number, last) for number in dict.fromkeys(found[0] + found[1])]

    def _closers(self) -> tuple[Ints, Ints]:
        ids, times = zip(*self.closers(), strict=True)
        return np.array(ids), np.array(times)

    # --- the generator

    def _numbers(self, begin: int, end: int) -> Ints:
        """Return the numbers of the events whose place among 50 is in ``[begin, end)``."""
        number = np.arange(self.events)
        place = number % EPOCH
        return number[(place >= begin) & (place < end)]

    def _draw(self, what: int, number: Ints) -> NDArray[np.float64]:
        """Return numbers in [0, 1), which depend on what they are for, but not on how many events there are."""
        return np.random.default_rng([self.seed, what]).random(len(number))

    def _below(self, what: int, number: Ints, limit: Ints) -> Ints:
        return (self._draw(what, number) * limit).astype(np.int64)

    @staticmethod
    def _people_before(number: Ints) -> Ints:
        """Return how many people there are up to an event, itself left out."""
        return number // EPOCH * PEOPLE + np.minimum(number % EPOCH, PEOPLE)

    @staticmethod
    def _auctions_before(number: Ints) -> Ints:
        return number // EPOCH * AUCTIONS + np.clip(number % EPOCH - PEOPLE, 0, AUCTIONS)

    @staticmethod
    def _times(number: Ints) -> Ints:
        return START + number * STEP_MS


def _bids(key: str, bids: Bids) -> Iterator[Record]:
    auction, bidder = numerals(bids.auction), numerals(bids.bidder)
    return records(
        auction if key == "auction" else bidder,
        '{"auction":"%s","bidder":"%s","price":%s,"channel":"%s","url":"https://auctions.example/%s/item?id=%s","time":%s}',
        auction, bidder, numerals(bids.price), named(CHANNELS, bids.channel),
        named([channel.lower() for channel in CHANNELS], bids.channel), numerals(bids.auction % 1000), numerals(bids.time),
    )  # fmt: skip


def _auctions(auctions: Auctions) -> Iterator[Record]:
    number, seller = numerals(auctions.id), numerals(auctions.seller)
    return records(
        seller,
        '{"id":"%s","seller":"%s","item":"item %s","category":%s,"reserve":%s,"time":%s}',
        number, seller, number, numerals(10 + auctions.id % 5), numerals(auctions.reserve), numerals(auctions.time),
    )  # fmt: skip


def _people(people: People) -> Iterator[Record]:
    number, city = numerals(people.id), named([f"city-{i:02d}" for i in range(10)], people.id % 10)
    return records(
        number,
        '{"id":"%s","name":"%s","city":"%s","state":"OR","time":%s}',
        number, named(NAMES, people.name), city, numerals(people.time),
    )  # fmt: skip
