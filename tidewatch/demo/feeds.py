"""Two producers, each on its own thread: real weather and the simulated city, with a ledger of what was delivered."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec

from producers.mapping import Readings
from producers.pacing import Pacer
from producers.producer import EventProducer
from producers.rejects import Rejects
from producers.replay import ReplayReport, replay
from producers.simulator import Sent, send_arrivals, simulate
from producers.weather import weather_readings
from schemas.events import SensorReading
from streams.pipelines.weather import WEATHER
from tidewatch.demo.scenario import CITY, Scenario

_encode = msgspec.json.Encoder().encode


class StoppedError(Exception):
    """The demo was told to stop while events were being sent."""


@dataclass(slots=True)
class Ledger:
    """What a producer handed over, and how many of it the broker acknowledged.

    ``digest`` is the sum, modulo 2**64, of the records' digests: it does not depend on the order in which they are read back.
    """

    accepted: int = 0
    delivered: int = 0
    digest: int = 0

    def note(self, key: bytes | None, value: bytes | None) -> None:
        """Count one record."""
        self.accepted += 1
        self.digest = (self.digest + digest_of(key, value)) % 2**64


def digest_of(key: bytes | None, value: bytes | None) -> int:
    """Return 64 bits that stand for a record."""
    hashed = hashlib.blake2b(value or b"", digest_size=8, key=(key or b"")[:64])
    return int.from_bytes(hashed.digest(), "little")


class Feed(threading.Thread):
    """Send one source's events at their pace; ``error`` says why it ended early, if it did.

    Delivery: idempotent and acknowledged by all in-sync replicas; the ledger's ``delivered`` is final when the thread has ended.
    """

    def __init__(self, connection: Mapping[str, str | int], topic: str, play: Callable[[Feed], None]) -> None:
        super().__init__(name=f"feed-{topic}", daemon=True)
        self.topic = topic
        self.ledger = Ledger()
        self.error: Exception | None = None
        self._connection = connection
        self._play = play
        self._stopping = threading.Event()
        self._producer: EventProducer | None = None

    def stop(self) -> None:
        """Let the thread end at its next event."""
        self._stopping.set()

    def run(self) -> None:
        """Send everything, then wait for the last acknowledgement."""
        try:
            with EventProducer({**self._connection, "log_level": 2}, self.topic) as producer:
                self._producer = producer
                self._play(self)
                self.ledger.delivered = producer.flush().delivered
        except StoppedError:
            pass
        except Exception as error:  # whatever ends this thread, the demo's main thread has to tell it
            self.error = error

    def send(self, key: bytes, value: bytes) -> None:
        """Hand over one record and note it. Raises StoppedError when told to stop."""
        if self._stopping.is_set() or self._producer is None:
            raise StoppedError
        self._producer.send_bytes(key, value)
        self.ledger.note(key, value)

    def wait(self, seconds: float) -> None:
        """Serve delivery reports for a while, as a sleep between events. Raises StoppedError when told to stop."""
        if self._stopping.is_set() or self._producer is None:
            raise StoppedError
        self._producer.poll(seconds)


def weather_feed(connection: Mapping[str, str | int], scenario: Scenario) -> Feed:
    """Return the feed of hourly weather at three airports, in the scenario's time."""
    readings = weather_readings(Rejects())
    days = readings.times < readings.times[0] + scenario.weather_days * 86_400_000
    readings = Readings(readings.events[: int(days.sum())], readings.times[days])
    # A little faster than the city, so that both end together.
    speed = (int(readings.times[-1]) - int(readings.times[0])) / 970.0 / scenario.seconds

    def play(feed: Feed) -> None:
        def send(event: SensorReading) -> None:
            feed.send(event.sensor_id.encode(), _encode(event))

        replay([readings], send, Pacer(speed, time.monotonic, feed.wait), ReplayReport())

    return Feed(connection, WEATHER.source, play)


def city_feed(connection: Mapping[str, str | int], scenario: Scenario, sent: Sent) -> Feed:
    """Return the feed of the simulated city; ``sent`` counts what it spoilt on purpose."""

    def play(feed: Feed) -> None:
        pacer = Pacer(scenario.city_speed, time.monotonic, feed.wait)
        send_arrivals(simulate(scenario.city, scenario.seed), feed.send, pacer, sent)

    return Feed(connection, CITY.source, play)
