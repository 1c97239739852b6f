"""The queries in SQL: for DuckDB, which is the oracle, and for Flink."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from benchmarks import flink
from benchmarks.counts import Row
from benchmarks.nexmark.events import CHANNELS, NAMES, Site
from benchmarks.nexmark.queries import DOLLARS_TO_EUROS, HOP, HOT_WINDOW, QUERIES, SESSION_GAP, WINDOW
from benchmarks.system import Run

URL = "'https://auctions.example/' || lower(channel) || '/item?id=' || (auction % 1000)"

ORACLE: dict[str, str] = {
    "q0": f"SELECT auction, bidder, price, channel, {URL}, time FROM bid",
    "q1": f"SELECT auction, bidder, CAST(price AS DOUBLE) * CAST({DOLLARS_TO_EUROS} AS DOUBLE), time FROM bid",
    "q2": "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    "q5": f"""
        WITH counted AS (
            SELECT start, auction, count(*) AS n
            FROM (SELECT auction, time - time % {HOP} - {HOP} * k AS start FROM bid, range({HOT_WINDOW // HOP}) AS hops(k))
            GROUP BY start, auction)
        SELECT start, auction, n FROM counted
        QUALIFY row_number() OVER (PARTITION BY start ORDER BY n DESC, CAST(auction AS VARCHAR)) = 1""",
    "q7": f"""
        SELECT time - time % {WINDOW} AS start, auction, bidder, price FROM bid
        QUALIFY price = max(price) OVER (PARTITION BY start)""",
    "q8": f"""
        SELECT person.id, name, reserve FROM person JOIN auction ON person.id = seller
        AND person.time // {WINDOW} = auction.time // {WINDOW}""",
    "q11": f"""
        WITH begun AS (
            SELECT bidder, time, time - lag(time, 1, 0) OVER bids >= {SESSION_GAP} AS first FROM bid
            WINDOW bids AS (PARTITION BY bidder ORDER BY time)),
        numbered AS (
            SELECT bidder, time, sum(CAST(first AS INTEGER)) OVER (PARTITION BY bidder ORDER BY time) AS session FROM begun)
        SELECT bidder, min(time), max(time) + {SESSION_GAP}, count(*) FROM numbered GROUP BY bidder, session""",
}


def answer(query: str, site: Site) -> list[Row]:
    """Return the rows that a query must give, by DuckDB.

    Raises:
        ModuleNotFoundError: DuckDB, one of the packages for development, is not installed.
    """
    import duckdb

    with duckdb.connect() as connection:
        for name, table in _tables(query, site).items():
            connection.register(name, table)
        return list(connection.execute(ORACLE[query]).fetchall())


def _tables(query: str, site: Site) -> dict[str, pa.Table]:
    def texts(codes: Any, values: tuple[str, ...]) -> pa.Array:
        return pa.array(values).take(pa.array(codes))

    makers: dict[str, Any] = {
        "bid": lambda: {**site.bids._asdict(), "channel": texts(site.bids.channel, CHANNELS)},
        "auction": site.auctions._asdict,
        "person": lambda: {**site.people._asdict(), "name": texts(site.people.name, NAMES)},
    }
    return {name: pa.table(makers[name]()) for name in QUERIES[query].reads}


# --- Flink

_MOMENT = "`time` BIGINT, moment AS TO_TIMESTAMP_LTZ(`time`, 3), WATERMARK FOR moment AS moment - INTERVAL '2' SECOND"
_COLUMNS = {
    "bid": f"auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, {_MOMENT}",
    "auction": f"id BIGINT, seller BIGINT, reserve BIGINT, {_MOMENT}",
    "person": f"id BIGINT, name STRING, {_MOMENT}",
}
_BIDS = "TABLE bid, DESCRIPTOR(moment)"
_RANKED = "PARTITION BY window_start, window_end ORDER BY"

FLINK: dict[str, tuple[str, str]] = {
    "q0": (
        "auction BIGINT, bidder BIGINT, price BIGINT, channel STRING, url STRING, `time` BIGINT",
        "SELECT auction, bidder, price, channel, url, `time` FROM bid",
    ),
    "q1": (
        "auction BIGINT, bidder BIGINT, euros DOUBLE, `time` BIGINT",
        f"SELECT auction, bidder, price * CAST({DOLLARS_TO_EUROS} AS DOUBLE), `time` FROM bid",
    ),
    "q2": ("auction BIGINT, price BIGINT", "SELECT auction, price FROM bid WHERE MOD(auction, 123) = 0"),
    "q5": (
        "`start` TIMESTAMP(3), auction BIGINT, n BIGINT",
        f"""SELECT window_start, auction, n FROM (
            SELECT *, ROW_NUMBER() OVER ({_RANKED} n DESC, CAST(auction AS STRING)) AS place FROM (
                SELECT window_start, window_end, auction, COUNT(*) AS n
                FROM TABLE(HOP({_BIDS}, INTERVAL '{HOP // 1000}' SECOND, INTERVAL '{HOT_WINDOW // 1000}' SECOND))
                GROUP BY window_start, window_end, auction)) WHERE place <= 1""",
    ),
    "q7": (
        "`start` TIMESTAMP(3), auction BIGINT, bidder BIGINT, price BIGINT",
        f"""SELECT window_start, auction, bidder, price FROM (
            SELECT *, ROW_NUMBER() OVER ({_RANKED} price DESC) AS place
            FROM TABLE(TUMBLE({_BIDS}, INTERVAL '{WINDOW // 1000}' SECOND))) WHERE place <= 1""",
    ),
    "q8": (
        "id BIGINT, name STRING, reserve BIGINT",
        f"""SELECT P.id, P.name, A.reserve
            FROM (SELECT * FROM TABLE(TUMBLE(TABLE person, DESCRIPTOR(moment), INTERVAL '{WINDOW // 1000}' SECOND))) P
            JOIN (SELECT * FROM TABLE(TUMBLE(TABLE auction, DESCRIPTOR(moment), INTERVAL '{WINDOW // 1000}' SECOND))) A
            ON P.id = A.seller AND P.window_start = A.window_start AND P.window_end = A.window_end""",
    ),
    "q11": (
        "bidder BIGINT, `start` TIMESTAMP(3), `end` TIMESTAMP(3), n BIGINT",
        f"""SELECT bidder, window_start, window_end, COUNT(*)
            FROM TABLE(SESSION(TABLE bid PARTITION BY bidder, DESCRIPTOR(moment), INTERVAL '{SESSION_GAP / 1000}' SECOND(1, 3)))
            GROUP BY bidder, window_start, window_end""",
    ),
}  # fmt: skip


def statements(query: str, run: Run) -> list[str]:
    """Return what Flink is told for a query."""
    columns, select = FLINK[query]
    sources = [flink.source(run, f".{name}", name, _COLUMNS[name]) for name in QUERIES[query].reads]
    return [*sources, flink.sink(run, "results", columns), f"INSERT INTO results {select}"]
