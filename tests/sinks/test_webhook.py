"""The webhook sink against a real HTTP server that fails at times: signed, repeated with one key, in order."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event

import msgspec
import pytest
from confluent_kafka import Consumer, TopicPartition
from prometheus_client import CollectorRegistry

from schemas.results import Alert
from sinks.alert_filter import AlertFilter
from sinks.backoff import Backoff
from sinks.contract import Result
from sinks.decoding import decoders
from sinks.errors import BackPressureError, SinkError
from sinks.metrics import SinkMetrics
from sinks.runner import SinkLimits, SinkRunner
from sinks.signing import is_authentic, signature
from sinks.webhook import WebhookSink
from tests.conftest import Kafka
from tests.sinks.results import T0, alert, make_topic, publish
from tests.streams.harness import until

SECRET = b"not a secret"
NOW = 1_800_000_000.0


class Receiver:
    """A web service; ``answers`` are the statuses of its next answers (0: it hangs up), 200 when they are used up."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.requests: list[tuple[dict[str, str], bytes, int]] = []
        self.url = ""

    @property
    def taken(self) -> list[Alert]:
        return [msgspec.json.decode(body, type=Alert) for _, body, status in self.requests if status == 200]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    state = Receiver()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = state.answers.pop(0) if state.answers else 200
            state.requests.append((dict(self.headers), body, status))
            if status == 0:
                self.close_connection = True
                return
            self.send_response(status)
            if status == 429:
                self.send_header("Retry-After", "7")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        state.url = f"http://127.0.0.1:{server.server_port}/hook?a=1"
        yield state
        server.shutdown()
        thread.join()


def results(*alerts: Alert) -> list[Result]:
    return [Result("t", 0, offset, T0, each) for offset, each in enumerate(alerts)]


@contextmanager
def sink(receiver: Receiver, wanted: AlertFilter | None = None) -> Iterator[WebhookSink]:
    made = WebhookSink(
        receiver.url, SECRET, wanted, backoff=Backoff(1, 4, lambda _, high: high), clock=lambda: NOW
    )
    yield made
    made.close()


def test_a_request_is_the_alert_signed_with_its_key(receiver: Receiver) -> None:
    strange = alert(0, id="p|hot|Zürich 1|0")
    with sink(receiver) as webhook:
        assert webhook.write(results(strange)) == 1
    ((headers, body, _),) = receiver.requests
    assert msgspec.json.decode(body, type=Alert) == strange
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "p|hot|Z%C3%BCrich 1|0"
    by_hand = hmac.new(SECRET, f"{int(NOW)}.".encode() + body, hashlib.sha256).hexdigest()
    assert (headers["Tidewatch-Timestamp"], headers["Tidewatch-Signature"]) == (
        str(int(NOW)),
        f"v1={by_hand}",
    )
    assert is_authentic(SECRET, headers, body, NOW + 299)


@pytest.mark.parametrize(
    ("secret", "headers", "body", "now"),
    [
        (b"other", {}, b"body", NOW),
        (SECRET, {}, b"bodY", NOW),
        (SECRET, {}, b"body", NOW + 301),
        (SECRET, {}, b"body", NOW - 301),
        (SECRET, {"Tidewatch-Timestamp": str(int(NOW) + 1)}, b"body", NOW),
        (SECRET, {"Tidewatch-Timestamp": "soon"}, b"body", NOW),
        (SECRET, {"Tidewatch-Signature": ""}, b"body", NOW),
    ],
)
def test_a_request_that_was_tampered_with_is_not_authentic(
    secret: bytes, headers: dict[str, str], body: bytes, now: float
) -> None:
    sent = {"Tidewatch-Timestamp": str(int(NOW)), "Tidewatch-Signature": signature(SECRET, int(NOW), b"body")}
    assert is_authentic(SECRET, sent, b"body", NOW)
    assert not is_authentic(secret, sent | headers, body, now)


def test_only_what_the_filter_takes_is_posted(receiver: Receiver) -> None:
    with sink(receiver, AlertFilter("critical")) as webhook:
        assert webhook.write(results(*(alert(n) for n in range(9)))) == 3
    assert [each.offset for each in receiver.taken] == [2, 5, 8]


@pytest.mark.parametrize("status", [500, 503, 408, 429, 0])
def test_a_service_that_is_away_is_asked_again_and_gets_each_alert_once(
    receiver: Receiver, status: int
) -> None:
    batch = results(alert(0), alert(1), alert(2))
    receiver.answers = [200, status, status]
    with sink(receiver) as webhook:
        waits = []
        for _ in range(2):
            with pytest.raises(BackPressureError) as pressure:
                webhook.write(batch)
            waits.append(pressure.value.retry_after)
        assert webhook.write(batch) == 3
    assert waits == ([7.0, 7.0] if status == 429 else [1.0, 2.0])
    assert receiver.taken == [alert(0), alert(1), alert(2)]
    keys = [headers["Idempotency-Key"] for headers, _, _ in receiver.requests]
    assert keys == [alert(n).id for n in (0, 1, 1, 1, 2)]


def test_an_alert_that_is_refused_for_good_does_not_hold_the_others(receiver: Receiver) -> None:
    receiver.answers = [422]
    with sink(receiver) as webhook:
        webhook.write(results(alert(0), alert(1)))
    assert receiver.taken == [alert(1)]


@pytest.mark.parametrize("status", [301, 401, 404])
def test_a_wrong_address_or_secret_ends_the_sink(receiver: Receiver, status: int) -> None:
    receiver.answers = [status]
    with sink(receiver) as webhook, pytest.raises(SinkError, match=f"answers {status}: check the address"):
        webhook.write(results(alert(0)))


def test_nobody_listening_is_back_pressure_and_no_address_an_error() -> None:
    webhook = WebhookSink("http://127.0.0.1:1/", SECRET)
    with pytest.raises(BackPressureError, match="does not answer"):
        webhook.write(results(alert(0)))
    with pytest.raises(SinkError, match="https://"):
        WebhookSink("example.org/hook", SECRET)


@contextmanager
def running(kafka: Kafka, topic: str, receiver: Receiver, start: str) -> Iterator[SinkRunner]:
    runner = SinkRunner(
        kafka.connection, topic, decoders([topic], Alert), WebhookSink(receiver.url, SECRET, backoff=Backoff(0.05, 0.2)),
        SinkMetrics(CollectorRegistry(), "webhook"), limits=SinkLimits(50, 0.1), start=start,
    )  # fmt: skip
    stopping = Event()
    thread = threading.Thread(target=runner.run, args=(stopping,))
    thread.start()
    try:
        yield runner
    finally:
        stopping.set()
        thread.join(60)
        assert not thread.is_alive()


@pytest.mark.kafka
def test_every_alert_of_a_topic_arrives_though_the_service_fails_half_the_time(
    kafka: Kafka, topic_prefix: str, receiver: Receiver
) -> None:
    make_topic(kafka.connection, topic_prefix)
    publish(kafka.connection, topic_prefix, [alert(n) for n in range(40)])
    receiver.answers = [503, 200, 0, 200] * 10
    with running(kafka, topic_prefix, receiver, "earliest"):
        until(lambda: len(receiver.taken) >= 40, 120, "alerts are missing")
    assert receiver.taken == [alert(n) for n in range(40)]


def begins_at(kafka: Kafka, topic: str) -> int:
    consumer = Consumer({**kafka.connection, "group.id": topic})
    (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=30)
    consumer.close()
    return int(place.offset)


@pytest.mark.kafka
def test_a_new_sink_may_begin_with_new_alerts_and_misses_none_after_that(
    kafka: Kafka, topic_prefix: str, receiver: Receiver
) -> None:
    make_topic(kafka.connection, topic_prefix)
    publish(kafka.connection, topic_prefix, [alert(n) for n in range(5)])
    receiver.answers = [503]
    with running(kafka, topic_prefix, receiver, "latest"):
        until(lambda: begins_at(kafka, topic_prefix) == 5, 60, "the start was not settled")
        publish(kafka.connection, topic_prefix, [alert(5)])
        until(lambda: len(receiver.requests) > 0, 60, "nothing was posted")
    publish(kafka.connection, topic_prefix, [alert(6)])
    with running(kafka, topic_prefix, receiver, "latest"):
        until(lambda: len(receiver.taken) >= 2, 60, "alerts are missing")
    assert [each.offset for each in receiver.taken] == [5, 6]
