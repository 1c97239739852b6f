"""The board: everything that result topics have said so far, folded record by record, bounded in memory."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import msgspec
from confluent_kafka import Message

from schemas.deadletters import dead_letter
from schemas.results import Alert, WindowSummary
from schemas.safety import SignalChange, SignalState
from tidewatch.live.records import headers_of
from tidewatch.live.shapes import Shapes
from tidewatch.live.signals import Signals

MAX_ALERTS = 2_000
MAX_SAMPLES = 50
_PREVIEW = 160


class DeadSample(msgspec.Struct, frozen=True, kw_only=True):
    """A dead letter without what it said: where it was, why, and its outline with every value masked."""

    topic: str
    partition: int
    offset: int
    code: str
    time: int
    size: int
    outline: str


class Board:
    """Fold records of result, alert, signal, late and dead-letter topics. Safe for use by one writer and several readers.

    ``late`` counts by topic, ``dead`` by topic and code, ``windows`` and ``opened`` (alerts) by pipeline, ``news`` what people
    should see at once: steps of alerts and signals. ``lock`` is held while records are taken; hold it to read several things
    that must agree.
    """

    def __init__(
        self,
        results: Collection[str],
        alerts: Collection[str],
        states: Collection[str] = (),
        changes: Collection[str] = (),
    ) -> None:
        self.lock = threading.Lock()
        self.windows: Counter[str] = Counter()
        self.newest_end: dict[str, int] = {}
        self.late: Counter[str] = Counter()
        self.dead: Counter[tuple[str, str]] = Counter()
        self.opened: Counter[str] = Counter()
        self.news = 0
        self.samples: deque[DeadSample] = deque(maxlen=MAX_SAMPLES)
        self.alerts: OrderedDict[str, Alert] = OrderedDict()
        self.openings: dict[str, Alert] = {}
        self.shapes = Shapes()
        self.signals = Signals()
        self._results, self._alerts = frozenset(results), frozenset(alerts)
        self._states, self._changes = frozenset(states), frozenset(changes)

    def take(self, messages: Iterable[Message]) -> None:
        """Fold committed records."""
        summaries: list[WindowSummary] = []
        with self.lock:
            for message in messages:
                topic, value = message.topic() or "", message.value() or b""
                if topic in self._results:
                    summaries.append(_summary(value))
                elif topic in self._alerts:
                    self._alert(_alert(value))
                elif topic in self._states:
                    if value:  # else the pair's state was taken back
                        self.signals.take_state(_state(value))
                elif topic in self._changes:
                    self.signals.take_change(_change(value))
                    self.news += 1
                elif topic.endswith(".late"):
                    self.late[topic] += 1
                else:
                    self._dead(message)
            self._windows(summaries)

    def _windows(self, summaries: Sequence[WindowSummary]) -> None:
        first = [summary for summary in summaries if summary.revision == 0]
        for summary in first:
            self.windows[summary.pipeline] += 1
            self.newest_end[summary.pipeline] = max(
                summary.end, self.newest_end.get(summary.pipeline, summary.end)
            )
        self.shapes.take(first)

    def _alert(self, alert: Alert) -> None:
        self.news += 1
        self.alerts[alert.alert_id] = alert
        self.alerts.move_to_end(alert.alert_id)
        if alert.state == "open":
            self.opened[alert.pipeline] += 1
            self.openings[alert.alert_id] = alert
        while len(self.alerts) > MAX_ALERTS:
            gone, _ = self.alerts.popitem(last=False)
            self.openings.pop(gone, None)

    def _dead(self, message: Message) -> None:
        letter = dead_letter(headers_of(message), message.key(), message.value())
        self.dead[message.topic() or "", letter.code] += 1
        self.samples.append(
            DeadSample(
                topic=letter.topic,
                partition=letter.partition,
                offset=letter.offset,
                code=letter.code,
                time=message.timestamp()[1],
                size=len(letter.value or b""),
                outline=outline(letter.value or b""),
            )
        )


def outline(value: bytes) -> str:
    """Return a record's field names with the type of each value in place of the value, or only what it is not.

    Nothing of a record that cannot be parsed is shown: there is no telling what it holds.
    """
    try:
        parsed = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return "not JSON"
    return msgspec.json.encode(_masked(parsed)).decode()[:_PREVIEW]


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _masked(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_masked(inner) for inner in value[:3]]
    return {str: "text", bool: "truth", int: "number", float: "number"}.get(type(value), "nothing")


_summary = msgspec.json.Decoder(WindowSummary).decode
_alert = msgspec.json.Decoder(Alert).decode
_state = msgspec.json.Decoder(SignalState).decode
_change = msgspec.json.Decoder(SignalChange).decode
