"""A Nexmark query as a scenario: its topics, and DuckDB's rows against those of a system."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from benchmarks.counts import Rows
from benchmarks.nexmark.events import Site
from benchmarks.nexmark.queries import QUERIES, Query
from benchmarks.nexmark.sql import answer
from benchmarks.scenario import Record


@dataclass(frozen=True)
class Nexmark:
    """Implements ``benchmarks.scenario.Scenario`` for one query over a site of so many events, those it does not read included."""

    query: str
    site_events: int
    partitions: int = 4

    @cached_property
    def _site(self) -> Site:
        return Site(self.site_events, self.partitions)

    @property
    def _query(self) -> Query:
        return QUERIES[self.query]

    @property
    def name(self) -> str:
        """What its topics' names begin with: the same for queries that read the same."""
        query = self._query
        what = "-".join((*query.reads, query.bid_key if "bid" in query.reads else "seller"))
        return f"nexmark.{what}{'' if query.windows else '-open'}.{self.site_events}"

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

    def answer(self) -> Rows:
        """Ask DuckDB. Windows of what closes windows never close, so nothing of them comes."""
        return Rows(answer(self.query, self._site))
