"""The demo of signals: a simulated network of hospitals through a real Kafka, judged against its hidden truth."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from producers.hospitals import Network, day_of, records
from producers.loader import load
from producers.pseudonyms import Pseudonyms
from schemas.safety import SignalChange
from schemas.topics import all_topics
from sinks.reader import read_to_end
from sinks.signals import Keyed, changes, latest_states
from streams.pipelines.pharma import HOSPITAL, PHARMA

_PATIENCE = 300.0


class PharmaDemoError(Exception):
    """The demo could not be played to its end."""


class Verdict(msgspec.Struct, frozen=True):
    """What one preset made of it. ``days_to_detection`` counts from the day the hidden risk began; None: not found."""

    preset: str
    days_to_detection: float | None
    reports_then: int | None
    false_alarms: int
    open_at_end: int

    def line(self) -> str:
        """Return it for people."""
        found = "not found"
        if self.days_to_detection is not None:
            found = f"found after {self.days_to_detection:.0f} days at {self.reports_then} reports"
        return f"{self.preset:<11} {found}; {self.false_alarms} other pairs raised, {self.open_at_end} open at the end"


class PharmaReport(msgspec.Struct, frozen=True):
    """What the demo found. ``pairs`` are those published, ``reports`` the records that were counted."""

    drug: str
    event: str
    relative_risk: float
    began_on_day: int
    resources: int
    reports: int
    pairs: int
    seconds: float
    verdicts: list[Verdict]

    @property
    def detected(self) -> bool:
        """Whether any preset found the hidden signal."""
        return any(verdict.days_to_detection is not None for verdict in self.verdicts)

    def lines(self) -> list[str]:
        """Return it for people."""
        head = [
            f"{self.resources} FHIR resources became {self.reports} reports of {self.pairs} pairs in {self.seconds:.0f} s",
            f"hidden: {self.drug} raises {self.event} {self.relative_risk:g}-fold from day {self.began_on_day}",
        ]
        return head + [f"  {verdict.line()}" for verdict in self.verdicts]


@dataclass(frozen=True, slots=True)
class _Place:
    connection: dict[str, str]

    def records(self, topic: str) -> list[Keyed]:
        return [(m.key(), m.value()) for batch in read_to_end(self.connection, [topic]) for m in batch]


def play(connection: dict[str, str], network: Network, say: Callable[[str], None]) -> PharmaReport:
    """Send the network's records, let one worker derive, count and judge, and compare with the truth.

    Raises:
        PharmaDemoError: the worker died, or did not come to the end in time.
    """
    started = time.monotonic()
    _make_topics(connection)
    # A key for this run: simulated patients need no lasting pseudonym.
    sent = records(network, Pseudonyms(os.urandom(32)))
    load(connection, HOSPITAL.source, ((record.key, record.value) for record in sent))
    say(f"{len(sent)} resources sent; deriving, counting and judging")
    place = _Place(connection)
    with _worker(connection) as worker:
        reports = _finished(place, worker)
    steps = changes(value for _, value in place.records(PHARMA.changes))
    pairs = len(latest_states(place.records(PHARMA.states)))
    drug, event = network.hidden
    return PharmaReport(
        drug, event, network.relative_risk, network.begins, len(sent), reports, pairs, time.monotonic() - started,
        [verdict_of(name, steps, network) for name in PHARMA.presets],
    )  # fmt: skip


def verdict_of(preset: str, steps: Sequence[SignalChange], network: Network) -> Verdict:
    """Compare a preset's signals with the truth: the hidden pair from the day it began, all else are false alarms."""
    opened = [step for step in steps if step.preset == preset and step.step == "open"]
    true = [s for s in opened if (s.drug, s.event) == network.hidden and day_of(s.time) >= network.begins]
    last: dict[str, SignalChange] = {step.signal_id: step for step in steps if step.preset == preset}
    first = true[0] if true else None
    return Verdict(
        preset,
        None if first is None else round(day_of(first.time) - network.begins, 1),
        None if first is None else first.state.n,
        len({(s.drug, s.event) for s in opened} - {network.hidden}),
        len({(s.drug, s.event) for s in last.values() if s.step != "closed"}),
    )


def _make_topics(connection: dict[str, str]) -> None:
    from confluent_kafka.admin import AdminClient
    from confluent_kafka.cimpl import NewTopic

    wanted = {HOSPITAL.source, PHARMA.source, PHARMA.states, PHARMA.changes}
    specs = [
        s
        for s in all_topics()
        if s.name in wanted or s.name.removesuffix(".dlq").removesuffix(".late") in wanted
    ]
    topics = [NewTopic(s.name, s.partitions, 1, config=s.config) for s in specs]
    admin = AdminClient(dict(connection))  # held, lest it be gone before it has answered
    for future in admin.create_topics(topics).values():
        future.result(30)


@contextmanager
def _worker(connection: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "tidewatch", "worker", HOSPITAL.name, PHARMA.name, "--app-id", "pharma-demo",
               "--metrics-port", "0"]  # fmt: skip
    environment = os.environ | {"TIDEWATCH_BOOTSTRAP": connection["bootstrap.servers"]}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path.cwd()
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _finished(place: _Place, worker: subprocess.Popen[bytes]) -> int:
    """Wait until no report is made any more and the states are of all of them; return how many there are."""
    deadline, before = time.monotonic() + _PATIENCE, -1
    while time.monotonic() < deadline:
        if worker.poll() is not None:
            raise PharmaDemoError(f"the worker ended with code {worker.returncode}")
        reports = len(place.records(PHARMA.source))
        states = latest_states(place.records(PHARMA.states))
        if reports and reports == before and states and max(s.received for s in states.values()) == reports:
            return reports
        before = reports
        time.sleep(2)
    raise PharmaDemoError(f"the worker did not come to the end within {_PATIENCE:.0f} s")
