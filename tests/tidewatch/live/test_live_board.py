"""The board: counts what result topics say, keeps the newest, and never shows what a bad record said."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.columns import Rejected
from schemas.deadletters import headers_for
from schemas.errors import ErrorCode
from schemas.results import Alert
from tests.tidewatch.live.test_live_shapes import summary
from tidewatch.live import board as board_module
from tidewatch.live.board import Board, outline
from tidewatch.live.workers import addresses_in, merged, parse
from tidewatch.supervisor import write_targets


class Record:
    """What the board reads of a Kafka record, which only the client library can make."""

    def __init__(self, topic: str, value: bytes, headers: object = None) -> None:
        self._topic, self._value, self._headers = topic, value, headers

    def topic(self) -> str:
        return self._topic

    def value(self) -> bytes:
        return self._value

    def key(self) -> bytes:
        return b"k"

    def headers(self) -> object:
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 1, 77


def alert(number: int, state: str = "open", revision: int = 0) -> Record:
    name = f"p|hot|g{number}|0"
    value = Alert(
        id=f"{name}|{revision}", alert_id=name, pipeline="p", rule="hot", kind="threshold", group=f"g{number}", labels={},
        state=state, severity="warning", revision=revision, opened_at=0, time=5, partition=0, offset=0, value=1.0,
        threshold=0.5, message="hot",
    )  # fmt: skip
    return Record("alerts", msgspec.json.encode(value))


def board() -> Board:
    return Board({"results"}, {"alerts"})


def test_windows_late_and_dead_are_counted() -> None:
    b = board()
    again = msgspec.structs.replace(summary("a", 10, [1.0]), revision=1)
    rejected = Rejected(9, 0, ErrorCode.UNKNOWN_UNIT, "unit parsec", b"k", b'{"unit":"parsec"}')
    b.take(
        [
            Record("results", msgspec.json.encode(summary("a", 10, [1.0]))),
            Record("results", msgspec.json.encode(again)),
            Record("in.late", b"x"),
            Record("in.dlq", b'{"unit":"parsec"}', list(headers_for(rejected, "in", 3, "decode"))),
        ]
    )  # type: ignore[list-item]
    assert (b.windows, b.newest_end, b.late, b.dead) == (
        {"p": 1},
        {"p": 10},
        {"in.late": 1},
        {("in.dlq", "unknown_unit"): 1},
    )
    (sample,) = b.samples
    assert (sample.topic, sample.partition, sample.offset, sample.size) == ("in", 3, 9, 17)
    assert sample.outline == '{"unit":"text"}'


def test_an_alert_is_its_newest_state_and_old_ones_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_module, "MAX_ALERTS", 2)
    b = board()
    b.take([alert(1), alert(2), alert(1, "close", 1), alert(3)])  # type: ignore[list-item]
    assert [(a.group, a.state) for a in b.alerts.values()] == [("g1", "close"), ("g3", "open")]
    assert sorted(a.group for a in b.openings.values()) == ["g1", "g3"]


secrets = st.text(st.characters(codec="ascii", categories=["Lu"]), min_size=8, max_size=12)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["a", "b"]), secrets | st.lists(secrets) | st.dictionaries(st.just("c"), secrets)
    )
)
def test_an_outline_never_shows_a_value(record: dict[str, object]) -> None:
    shown = outline(msgspec.json.encode(record))
    assert not any(letter.isupper() for letter in shown)


def test_an_outline_of_what_cannot_be_parsed_says_nothing_of_it() -> None:
    assert outline(b'{"patient":"12345') == "not JSON"
    assert outline(b'{"patient":"12345","age":7,"ok":true,"x":null,"y":[1.5]}') == (
        '{"patient":"text","age":"number","ok":"truth","x":"nothing","y":["number"]}'
    )


METRICS = """
# TYPE tidewatch_events_processed counter
tidewatch_events_processed_total 40.0
# TYPE tidewatch_position gauge
tidewatch_position{{topic="in",partition="0"}} {position}
# TYPE tidewatch_watermark_timestamp_seconds gauge
tidewatch_watermark_timestamp_seconds{{topic="in",partition="0"}} 12.5
# TYPE tidewatch_partition_stopped gauge
tidewatch_partition_stopped{{partition="0"}} 1.0
tidewatch_partition_stopped{{partition="1"}} 0.0
"""


def test_a_workers_metrics_say_where_it_stands() -> None:
    facts = parse("http://a", METRICS.format(position=7))
    assert (facts.processed, facts.positions, facts.watermarks, facts.stopped) == (
        40.0, {("in", 0): 7}, {("in", 0): 12_500}, (0,),
    )  # fmt: skip
    behind = parse("http://b", METRICS.format(position=3))
    assert merged([behind, facts])["in", 0].url == "http://a"


def test_workers_are_found_in_the_file_that_they_list_themselves_in(tmp_path: Path) -> None:
    path = tmp_path / "workers.json"
    assert addresses_in(path) == {}
    write_targets(path, "127.0.0.1", [9100, 9101], "air")
    assert addresses_in(path) == {f"127.0.0.1:{n}": f"http://127.0.0.1:{n}/metrics" for n in (9100, 9101)}
    path.write_text("[")
    assert addresses_in(path) == {}
