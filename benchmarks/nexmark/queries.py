"""The queries as Tidewatch declares them, and how their results are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.counts import Row
from schemas.columns import Columns
from schemas.event_types import EventType
from schemas.events import EventTime
from schemas.joins import Joined
from streams.extras import Largest, Top
from streams.joins import Input, Join
from streams.pipeline import Derived, Filter, Hopping, Pipeline, RollUp, Session, Tumbling
from streams.select import Select
from streams.stages import AnyPipeline

SESSION_GAP = 9_999
WINDOW, HOT_WINDOW, HOP = 10_000, 10_000, 2_000
DOLLARS_TO_EUROS = 0.908
ENDINGS = (
    ".alert",
    ".partial",
    ".partial.late",
    ".partial.dlq",
    ".windows",
    ".shuffled",
    ".shuffled.late",
    ".shuffled.dlq",
)
"""Topics beside that of results, which each run makes for itself."""


class Bid(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A bid."""

    auction: str
    bidder: str
    price: float
    channel: str
    url: str
    time: EventTime


class Auction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An auction that someone opens."""

    id: str
    seller: str
    reserve: float
    time: EventTime


class Person(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Someone who registers, and may sell later."""

    seller: str = msgspec.field(name="id")
    name: str
    time: EventTime


def bid(key: str) -> EventType:
    """Return the event of a bid, keyed by ``auction`` or ``bidder``."""
    labels = ("auction", "bidder", "channel", "url")
    return EventType(f"bid-by-{key}", Bid, key, "time", numbers=("price",), labels=labels)


AUCTION = EventType("auction", Auction, "seller", "time", numbers=("reserve",), labels=("id", "seller"))
PERSON = EventType("person", Person, "seller", "time", labels=("seller", "name"))


@dataclass(frozen=True)
class Query:
    """One query: its declaration for given topics, and how a result of it becomes rows as SQL has them.

    ``reads`` are the topics it needs, bids being keyed by ``bid_key``. ``per_result`` says that a result counts once, however many
    rows it holds.
    """

    declare: Callable[[str, str], AnyPipeline]
    read: Callable[[bytes], list[Row]]
    reads: tuple[str, ...] = ("bid",)
    bid_key: str = "auction"
    windows: bool = True


def _sold(columns: Columns) -> NDArray[np.bool_]:
    """Every 123rd auction."""
    label = columns.labels["auction"]
    return np.asarray(np.array([int(name) % 123 == 0 for name in label.values])[label.codes])


def _euros(columns: Columns) -> NDArray[np.float64]:
    return np.asarray(columns.numbers["price"] * DOLLARS_TO_EUROS)


def _select(fields: tuple[str, ...], **more: Any) -> Callable[[str, str], Select]:
    def declare(source: str, results: str) -> Select:
        return Select(
            name="nexmark",
            source=f"{source}.bid",
            event=bid("auction"),
            fields=fields,
            results=results,
            **more,
        )

    return declare


def _hot_items(source: str, results: str) -> Pipeline:
    """Return q5, the most frequent auction of ten seconds, every two.

    Counts are exact, as a window has fewer than 768 auctions. Of auctions with as many bids the one whose id is first as text
    counts, in SQL as well.
    """
    return Pipeline(
        **_topics(source, results), event=bid("auction"), group_by=("channel",), value="price",
        window=Hopping(HOT_WINDOW, HOP), extras=(Top("hot", "auction", k=1),), rollups=(RollUp(),),
    )  # fmt: skip


def _highest(source: str, results: str) -> Pipeline:
    return Pipeline(
        **_topics(source, results), event=bid("auction"), group_by=("channel",), value="price",
        window=Tumbling(WINDOW), extras=(Largest("highest", "price", ("auction", "bidder")),), rollups=(RollUp(),),
    )  # fmt: skip


def _new_sellers(source: str, results: str) -> Join:
    return Join(
        name="nexmark", on="seller", window_ms=WINDOW, shuffled=f"{results}.shuffled", results=results,
        left=Input(source=f"{source}.person", event=PERSON, fields=("name",)),
        right=Input(source=f"{source}.auction", event=AUCTION, fields=("reserve",)),
        idle_timeout_ms=None,
    )  # fmt: skip


def _sessions(source: str, results: str) -> Pipeline:
    topics = {**_topics(source, results), "results": results}
    return Pipeline(
        **topics, event=bid("bidder"), group_by=("bidder",), value="price", window=Session(SESSION_GAP)
    )


def _topics(source: str, results: str) -> dict[str, Any]:
    return {
        "name": "nexmark", "source": f"{source}.bid", "idle_timeout_ms": None, "results": f"{results}.windows",
        "totals": results, "partials": f"{results}.partial", "alerts": f"{results}.alert",
    }  # fmt: skip


class _Chosen(msgspec.Struct, frozen=True):
    auction: str
    time: int
    price: float = 0.0
    bidder: str = ""
    channel: str = ""
    url: str = ""
    euros: float = 0.0


class _Summary(msgspec.Struct, frozen=True):
    labels: dict[str, str]
    start: int
    end: int
    count: int
    extras: dict[str, dict[str, float]] = {}


_chosen, _summary = msgspec.json.Decoder(_Chosen).decode, msgspec.json.Decoder(_Summary).decode
_joined = msgspec.json.Decoder(Joined).decode


def _passed(value: bytes) -> list[Row]:
    row = _chosen(value)
    return [(int(row.auction), int(row.bidder), int(row.price), row.channel, row.url, row.time)]


def _converted(value: bytes) -> list[Row]:
    row = _chosen(value)
    return [(int(row.auction), int(row.bidder), row.euros, row.time)]


def _filtered(value: bytes) -> list[Row]:
    row = _chosen(value)
    return [(int(row.auction), int(row.price))]


def _hot(value: bytes) -> list[Row]:
    window = _summary(value)
    return [(window.start, int(auction), int(count)) for auction, count in window.extras["hot"].items()]


def _dearest(value: bytes) -> list[Row]:
    window = _summary(value)
    ((place, price),) = window.extras["highest"].items()
    auction, bidder = place.split("|")
    return [(window.start, int(auction), int(bidder), int(price))]


def _seller(value: bytes) -> list[Row]:
    pair = _joined(value)
    assert pair.right is not None
    return [(int(pair.key), str(pair.left["name"]), int(float(pair.right["reserve"] or 0)))]


def _session(value: bytes) -> list[Row]:
    window = _summary(value)
    return [(int(window.labels["bidder"]), window.start, window.end, window.count)]


QUERIES: dict[str, Query] = {
    "q0": Query(_select(("auction", "bidder", "price", "channel", "url")), _passed, windows=False),
    "q1": Query(
        _select(("auction", "bidder", "euros"), derived=(Derived("euros", _euros),)),
        _converted,
        windows=False,
    ),
    "q2": Query(_select(("auction", "price"), filters=(Filter("sold", _sold),)), _filtered, windows=False),
    "q5": Query(_hot_items, _hot),
    "q7": Query(_highest, _dearest),
    "q8": Query(_new_sellers, _seller, reads=("person", "auction")),
    "q11": Query(_sessions, _session, bid_key="bidder"),
}
