"""The demo of signals: a simulated network of hospitals, played live through a real Kafka and judged against its truth."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from threading import Event

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from producers.hospitals import Network, Sent, day_of, records
from producers.loader import load
from producers.pacing import Pacer
from producers.pseudonyms import Pseudonyms
from schemas.deadletters import STAGE, header
from schemas.safety import SignalState
from schemas.topics import all_topics, checkpoint_topic
from sinks.reader import follow, read_to_end
from sinks.signals import changes, latest_states
from streams.monitoring import Monitored, MonitorPipeline
from streams.pipelines.pharma import HOSPITAL, PHARMA
from streams.signals.surveillance import Plan
from tidewatch.console.serve import console
from tidewatch.demo.crew import Crew, environment_for
from tidewatch.live.watch import Watcher
from tidewatch.pharma_verdict import PharmaReport, differences, verdict_of
from tidewatch.topics import create

APP = "pharma-demo"
# As the pipeline of the catalogue, but judged every hundred reports: the network is small.
WATCHED = replace(PHARMA, refresh=100)
_NETWORK = Network()
# The event of the hidden pair after every drug, against the rate at which it comes anyway.
_PAIRS = tuple(Monitored(drug, _NETWORK.hidden[1], _NETWORK.hidden_rate) for drug in _NETWORK.medicines)
DERIVED = replace(HOSPITAL, monitored=_PAIRS)
MONITOR = MonitorPipeline(
    name="monitor", monitored=_PAIRS, plan=Plan(horizon=8.0, minimum=3), every_days=7, settle_days=21
)
_DECLARED = tuple(f"tidewatch.pharma_demo:{name}" for name in ("DERIVED", "WATCHED", "MONITOR"))
_PATIENCE = 300.0
_DAY_MS = 86_400_000
_MONTH = 30


class PharmaDemoError(Exception):
    """The demo could not be played to its end."""


def play(
    connection: dict[str, str], network: Network, say: Callable[[str], None], *, seconds: float = 40.0
) -> PharmaReport:
    """Send the network's year within ``seconds``, let a worker derive, count and judge it, and compare with the truth.

    The topics have one partition each, so that what is found, and when, depends on the network alone.

    Raises:
        PharmaDemoError: the worker did not come to the end in time.
        WorkerError: it died; says its last words.
    """
    started = time.monotonic()
    # A key for this run: simulated patients need no lasting pseudonym.
    sent = records(network, Pseudonyms(os.urandom(32)))
    pipelines = (DERIVED, WATCHED, MONITOR)
    topics = {DERIVED.source, *(topic for pipeline in pipelines for topic in pipeline.outputs.values())}
    create(
        AdminClient({**connection}),
        [replace(spec, partitions=1) for spec in all_topics() if spec.name in topics],
    )
    with ExitStack() as stack:
        crew = stack.enter_context(Crew(_DECLARED, APP, environment_for(connection["bootstrap.servers"])))
        crew.start()
        stage = _Stage(connection, crew)
        stack.callback(stage.close)
        stage.until(stage.ready, "the worker to take over")
        say(
            f"playing {network.days} days of {network.hospitals} hospitals, {len(sent)} FHIR resources, in {seconds:g} s"
        )
        watcher = Watcher(connection, APP, [WATCHED], crew.targets)
        watcher.start()
        stack.callback(watcher.stop)
        say(f"console at {stack.enter_context(console(watcher.snapshot, watcher.news))}")
        view = _View(connection, network, say)
        stack.callback(view.close)
        load(connection, DERIVED.source, _paced(sent, seconds, crew, view), partition=0)
        say("everything is sent; waiting until all of it is counted")
        stage.until(stage.finished, "everything to be counted")
        view.look()
        reports, dead = stage.values(WATCHED.source), len(stage.messages(WATCHED.outputs["dead"]))
        states = stage.states()
        steps = changes(stage.values(WATCHED.changes))
    drug, event = network.hidden
    return PharmaReport(
        drug=drug, event=event, relative_risk=network.relative_risk, began_on_day=network.begins, resources=len(sent),
        reports=len(reports), dead_letters=dead, pairs=len(states), seconds=round(time.monotonic() - started, 1),
        verdicts=[verdict_of(name, steps, network) for name in (*WATCHED.presets, MONITOR.plan.method)],
        differences=differences(reports, states, WATCHED),
    )  # fmt: skip


def _paced(sent: Sequence[Sent], seconds: float, crew: Crew, view: _View) -> Iterator[tuple[bytes, bytes]]:
    """Give records when their simulated time has come, looking at what was found while there is nothing to send."""

    def look(_seconds: float) -> None:
        crew.check()
        view.look()

    days = max(sent[-1].day, 1.0)
    pacer = Pacer(days * 86_400 / seconds, time.monotonic, look)
    for record in sent:
        pacer.wait_for(int(record.day * _DAY_MS))
        view.day = record.day
        yield record.key, record.value


class _View:
    """Tells how far the year is, and when the hidden pair is raised, while it happens."""

    def __init__(self, connection: dict[str, str], network: Network, say: Callable[[str], None]) -> None:
        self.day = 0.0
        self._network, self._say, self._stopping = network, say, Event()
        self._batches = follow(connection, [WATCHED.changes], "earliest", self._stopping)
        self._open: set[str] = set()
        self._told = 0

    def look(self) -> None:
        """Take what came since, and say what is new."""
        for step in changes(message.value() for message in next(self._batches)):
            if step.step == "closed":
                self._open.discard(step.signal_id)
                continue
            self._open.add(step.signal_id)
            if step.step == "open" and (step.drug, step.event) == self._network.hidden:
                self._say(
                    f"  day {day_of(step.time):.0f}: {step.preset} raises the hidden {step.drug.rpartition('|')[2]} / "
                    f"{step.event.rpartition('|')[2]}: {step.state.n} reports, {step.state.expected:.1f} expected"
                )
        month = int(self.day) // _MONTH
        if month > self._told:
            self._told = month
            self._say(f"  day {self.day:.0f}: {len(self._open)} signals are open")

    def close(self) -> None:
        """Stop reading."""
        self._stopping.set()
        for _ in self._batches:  # ends it, and closes its consumer
            pass


class _Stage:
    """What can be seen of the pipeline from outside: positions, records, dead letters."""

    def __init__(self, connection: dict[str, str], crew: Crew) -> None:
        self._connection, self._crew = connection, crew
        self._consumer = Consumer(
            {"log_level": 3, **connection, "group.id": APP, "enable.auto.commit": False}
        )

    def until(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            self._crew.check()
            if time.monotonic() > deadline:
                raise PharmaDemoError(
                    f"waited {_PATIENCE:.0f} s in vain for {what}\n{self._crew.last_words()}"
                )
            time.sleep(0.5)

    def ready(self) -> bool:
        """Return whether the worker has written its first checkpoint."""
        try:
            return self._end(checkpoint_topic(APP)) > 0
        except KafkaException:
            return False  # it makes the topic itself

    def finished(self) -> bool:
        """Return whether all resources are derived, and the last states are of all reports that came of them."""
        places = [TopicPartition(topic, 0) for topic in (DERIVED.source, WATCHED.source, MONITOR.source)]
        if any(
            place.offset < self._end(place.topic) for place in self._consumer.committed(places, timeout=30)
        ):
            return False
        bad = sum(_stage_of(letter) == "decode" for letter in self.messages(WATCHED.outputs["dead"]))
        states = self.states()
        counted = len(self.messages(WATCHED.source)) - bad
        return bool(states) and {state.received for state in states.values()} == {counted}

    def messages(self, topic: str) -> list[Message]:
        return [message for batch in read_to_end(self._connection, [topic]) for message in batch]

    def states(self) -> dict[str, SignalState]:
        """Return the latest states of all pairs that reports are counted of."""
        found = latest_states((m.key(), m.value()) for m in self.messages(WATCHED.states))
        return {name: state for name, state in found.items() if state.pipeline == WATCHED.name}

    def values(self, topic: str) -> list[bytes]:
        return [message.value() or b"" for message in self.messages(topic)]

    def close(self) -> None:
        self._consumer.close()

    def _end(self, topic: str) -> int:
        return int(self._consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30)[1])


def _stage_of(letter: Message) -> str | None:
    found = letter.headers()
    return header(found if isinstance(found, list) else None, STAGE)
