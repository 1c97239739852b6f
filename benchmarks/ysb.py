"""The Yahoo Streaming Benchmark (Chintapalli et al. 2016): views of advertisements, counted by campaign and ten seconds.

A hundred campaigns of ten advertisements. Of three kinds of events only views count. Which campaign an advertisement belongs to is
looked up in a table that does not change, kept in memory here as the published versions keep what they read from Redis.
Advertisements are on partitions by their own key, so campaigns are added up over all partitions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import flink
from benchmarks.counts import Row, Rows
from benchmarks.scenario import Record
from benchmarks.system import Run
from benchmarks.texts import closing, named, numerals, records
from schemas.columns import Columns
from schemas.event_types import EventType
from schemas.events import EventTime
from streams.attributes import LookUp
from streams.pipeline import Derived, Filter, Pipeline, RollUp, Tumbling

START, WINDOW, PER_SECOND = 1_750_000_000_000, 10_000, 10_000
CAMPAIGNS, ADS = 100, 1_000
KINDS = ("view", "click", "purchase")
Ints = NDArray[np.int64]
ENDINGS = (".alert", ".windows", ".partial", ".partial.late", ".partial.dlq")


def ad(number: int) -> str:
    """Return the name of an advertisement."""
    return f"ad-{number:04d}"


TABLE: Mapping[str, str] = {ad(number): f"campaign-{number % CAMPAIGNS:03d}" for number in range(ADS)}


class AdEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What someone did with an advertisement; only what is used is read."""

    ad_id: str
    event_type: str
    event_time: EventTime


AD_EVENT = EventType("ad-event", AdEvent, "ad_id", "event_time", labels=("ad_id", "event_type"))


@dataclass(frozen=True)
class Ysb:
    """Implements ``benchmarks.scenario.Scenario``: so many events, ten thousand a second of event time."""

    events: int
    partitions: int = 4
    seed: int = 1

    @property
    def name(self) -> str:
        """What its topic is called."""
        return f"ysb.{self.events}"

    @property
    def records_count(self) -> int:
        """How many records there are."""
        return self.events + self.partitions

    @cached_property
    def _ad(self) -> Ints:
        return np.random.default_rng(self.seed).integers(0, ADS, self.events)

    @cached_property
    def _kind(self) -> Ints:
        return np.random.default_rng(self.seed + 1).integers(0, len(KINDS), self.events)

    @cached_property
    def _time(self) -> Ints:
        return START + np.arange(self.events) * 1_000 // PER_SECOND

    def topics(self) -> Mapping[str, Iterable[Record]]:
        """Return the records of the topic."""
        return {"": self._records()}

    def _records(self) -> Iterator[Record]:
        yield from _records([ad(number) for number in range(ADS)], self._ad, self._kind, self._time)
        each, last = np.arange(self.partitions), self._time[-1:].repeat(self.partitions) + 3_600_000
        yield from _records(closing(self.partitions), each, np.zeros_like(each), last)

    def answer(self) -> Rows:
        """Count."""
        views = self._kind == 0
        campaign, start = self._ad[views] % CAMPAIGNS, self._time[views] // WINDOW * WINDOW
        (starts, campaigns), counts = np.unique(np.stack([start, campaign]), axis=1, return_counts=True)
        rows = zip(campaigns.tolist(), starts.tolist(), counts.tolist(), strict=True)
        return Rows([(f"campaign-{campaign:03d}", start, count) for campaign, start, count in rows])


def _records(names: Sequence[str], which: Ints, kind: Ints, time: Ints) -> Iterator[Record]:
    ads, number = named(names, which), np.arange(len(which))
    return records(
        ads,
        '{"user_id":"%s","page_id":"%s","ad_id":"%s","ad_type":"banner","event_type":"%s","event_time":%s,"ip_address":"192.0.2.1"}',
        named([f"user-{i:05d}" for i in range(100_000)], number * 7919 % 100_000),
        named([f"page-{i:03d}" for i in range(100)], number * 31 % 100),
        ads, named(KINDS, kind), numerals(time),
    )  # fmt: skip


# --- Tidewatch


def declare(source: str, results: str) -> Pipeline:
    """Return the pipeline: its roll-up's topic holds the results."""
    return Pipeline(
        name="ysb", source=source, event=AD_EVENT, group_by=("campaign",), value="one", window=Tumbling(WINDOW),
        attributes=(LookUp("campaign", "ad_id", TABLE),), filters=(Filter("views", _views),),
        derived=(Derived("one", lambda columns: np.ones(len(columns))),), rollups=(RollUp(by=("campaign",)),),
        idle_timeout_ms=None, results=f"{results}.windows", totals=results, partials=f"{results}.partial",
        alerts=f"{results}.alert",
    )  # fmt: skip


def _views(columns: Columns) -> NDArray[np.bool_]:
    label = columns.labels["event_type"]
    return np.asarray(np.array([text == KINDS[0] for text in label.values])[label.codes])


class _Window(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    start: int
    count: int


_window = msgspec.json.Decoder(_Window).decode


def read(value: bytes) -> list[Row]:
    """Return a result as a row."""
    window = _window(value)
    return [(window.labels["campaign"], window.start, window.count)]


# --- Flink


def statements(run: Run) -> list[str]:
    """Return what Flink is told. What the table says is computed, which is cheaper than looking it up."""
    events = (
        "ad_id STRING, event_type STRING, event_time BIGINT, moment AS TO_TIMESTAMP_LTZ(event_time, 3),"
        " WATERMARK FOR moment AS moment - INTERVAL '2' SECOND"
    )
    number = f"MOD(TRY_CAST(SUBSTRING(ad_id, 4) AS INT), {CAMPAIGNS})"
    return [
        flink.source(run, "", "events", events),
        flink.sink(run, "results", "campaign STRING, `start` TIMESTAMP(3), n BIGINT"),
        f"CREATE VIEW viewed AS SELECT CONCAT('campaign-', LPAD(CAST({number} AS STRING), 3, '0')) AS campaign, moment"
        " FROM events WHERE event_type = 'view'",
        "INSERT INTO results SELECT campaign, window_start, COUNT(*) FROM TABLE(TUMBLE("
        f"TABLE viewed, DESCRIPTOR(moment), INTERVAL '{WINDOW // 1000}' SECOND)) GROUP BY campaign, window_start, window_end",
    ]
