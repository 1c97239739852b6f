"""A Nexmark query as a scenario: its topics, and DuckDB's rows against those of a system."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property

from benchmarks.nexmark.events import Site
from benchmarks.nexmark.queries import QUERIES, Row, closing
from benchmarks.nexmark.sql import answer
from benchmarks.scenario import Read, Record


class Nexmark:
    """Implements ``benchmarks.scenario.Scenario`` for one query over a site of so many events, those it does not read included."""

    def __init__(self, query: str, events: int, partitions: int = 4) -> None:
        self.partitions = partitions
        self._query, self._name, self._site = QUERIES[query], query, Site(events, partitions)

    @property
    def name(self) -> str:
        """What its topics' names begin with: the same for queries that read the same."""
        query = self._query
        what = "-".join((*query.reads, query.bid_key if "bid" in query.reads else "seller"))
        return f"nexmark.{what}{'' if query.windows else '-open'}.{self._site.events}"

    @property
    def events(self) -> int:
        """How many events the query reads."""
        sizes = {
            "bid": self._site.bids.time,
            "auction": self._site.auctions.time,
            "person": self._site.people.time,
        }
        return sum(len(sizes[name]) for name in self._query.reads)

    @property
    def records_count(self) -> int:
        """How many records there are, with those that close windows."""
        closers = len(self._site.closers()) * len(self._query.reads) if self._query.windows else 0
        return self.events + closers

    def topics(self) -> Mapping[str, Iterable[Record]]:
        """Return the records of each topic that the query reads."""
        site, query = self._site, self._query
        every = {
            "bid": lambda: site.bid_records(query.bid_key, closed=query.windows),
            "auction": site.auction_records,
            "person": site.person_records,
        }
        return {f".{name}": every[name]() for name in query.reads}

    def answer(self) -> NexmarkAnswer:
        """Ask DuckDB."""
        return NexmarkAnswer(answer(self._name, self._site))


class NexmarkAnswer:
    """The rows of a query; a system must give each as often, in whatever order."""

    def __init__(self, rows: list[Row]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def wanted(self, value: bytes) -> bool:  # noqa: ARG002
        """Tell that every result counts: windows of what closes windows never close."""
        return True

    @cached_property
    def _counts(self) -> Counter[Row]:
        return Counter(map(_plain, self._rows))

    def judge(self, read: Read, values: Iterable[bytes], *, sketch: bool) -> list[str]:  # noqa: ARG002
        """Return what is missing and what is too much."""
        found = Counter(_plain(row) for value in values for row in read(value) if not closing(row))
        missing, more = self._counts - found, found - self._counts
        return [
            f"{sum(rows.values())} of {len(self)} rows are {how}, such as {next(iter(rows))}"
            for rows, how in ((missing, "missing"), (more, "wrong"))
            if rows
        ]


def _plain(row: Row) -> Row:
    return tuple(round(part, 6) if isinstance(part, float) else part for part in row)
