"""Runs the demo from an empty machine to a verdict, and stops all that it started."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Protocol

from confluent_kafka.admin import AdminClient

from producers.simulator import Sent
from schemas.topics import all_topics
from tidewatch.broker import LocalKafka, start_brokers
from tidewatch.console.serve import console
from tidewatch.demo.crew import Crew, Hand, environment_for
from tidewatch.demo.feeds import Feed, city_feed, weather_feed
from tidewatch.demo.judge import judge, read_published
from tidewatch.demo.report import Kill, Report, alerts_against_truth
from tidewatch.demo.scenario import APP, CITY, PIPELINES, Scenario
from tidewatch.live.snapshot import Snapshot
from tidewatch.live.watch import Watcher
from tidewatch.topics import create

WORKERS = 2
KILL_AT = 0.4
_TICK = 0.25
_READY_SECONDS = 300.0
_FINISH_SECONDS = 300.0
_DECLARED = ("tidewatch.demo.scenario:CITY", "weather")


class DemoError(Exception):
    """The demo could not be played to its end; the message says why."""


class View(Protocol):
    """How the demo is shown."""

    def say(self, text: str) -> None:
        """Tell what happens now."""

    def console(self, address: str) -> None:
        """Tell where the console is."""

    def show(self, snapshot: Snapshot, watcher: Watcher, scenario: Scenario, elapsed: float) -> None:
        """Show the state, ``elapsed`` seconds into the play (the length when it is over)."""


@dataclass(slots=True)
class _Stage:
    """What is running."""

    kafka: LocalKafka
    crew: Crew
    watcher: Watcher
    scenario: Scenario
    view: View
    monotonic: Callable[[], float]
    victim: Hand | None = None
    victim_row: tuple[int, int] = (0, 0)
    killed_at: float = 0.0
    caught_up_at: float | None = None

    def tick(self, elapsed: float) -> Snapshot:
        """Look, show, and wait a little. Raises WorkerError when a worker has ended by itself."""
        self.crew.check()
        snapshot = self.watcher.snapshot()
        if self.scenario.kill and self.victim is None and elapsed >= KILL_AT * self.scenario.seconds:
            self._kill(snapshot)
        self.view.show(snapshot, self.watcher, self.scenario, elapsed)
        self._note_recovery(snapshot)
        time.sleep(_TICK)
        return snapshot

    def _kill(self, snapshot: Snapshot) -> None:
        """Kill the worker that has done the most, if any has done something, and start another."""
        busy = [row for row in snapshot.workers if row.partitions and row.processed]
        if not busy:
            return
        row = max(busy, key=lambda row: row.processed)
        self.victim = next(hand for hand in self.crew.hands if hand.name == row.name)
        self.victim_row = row.partitions, row.processed
        self.crew.kill(self.victim)
        self.killed_at = self.monotonic()
        self.view.say(f"{self.victim.name} killed (-9) in the middle of its work; starting another")
        self.crew.start()

    def outcome(self) -> Kill | None:
        """Return what became of the killed worker's partitions."""
        if self.victim is None or self.caught_up_at is None:
            return None
        partitions, events = self.victim_row
        after = round(self.caught_up_at - self.killed_at, 1)
        return Kill(
            worker=self.victim.name, partitions=partitions, events_before=events, caught_up_after_s=after
        )

    def everything_is_processed(self) -> None:
        """Note that the killed worker's partitions have been caught up with, where that was not seen before."""
        if self.victim is not None and self.caught_up_at is None:
            self.caught_up_at = self.monotonic()

    def _note_recovery(self, snapshot: Snapshot) -> None:
        """After a kill, find the moment when all partitions are owned again and hardly anything waits."""
        if self.victim is None or self.caught_up_at is not None or self.monotonic() < self.killed_at + 1.0:
            return
        living = {hand.name for hand in self.crew.hands if not hand.killed}
        owned = all(row.owner in living for row in snapshot.partitions)
        if owned and snapshot.lag <= snapshot.produced_per_s:
            self.caught_up_at = self.monotonic()
            self.view.say(
                f"all partitions are owned again and have caught up, {self.caught_up_at - self.killed_at:.1f} s later"
            )


def run_demo(
    scenario: Scenario,
    view: View,
    *,
    repository: str | None = None,
    monotonic: Callable[[], float] = time.monotonic,
) -> Report:
    """Play a scenario on a Kafka of its own and judge the results; nothing is left running, whatever happens.

    Raises:
        BrokerError, WorkerError, DemoError: it could not be played, and why.
    """
    started = monotonic()
    view.say("starting Kafka")
    with ExitStack() as stack:
        kafka = stack.enter_context(start_brokers(repository=repository))
        view.say(f"Kafka is at {kafka.bootstrap}; making topics and starting {WORKERS} workers")
        create(AdminClient({**kafka.connection}), all_topics())
        crew = stack.enter_context(Crew(_DECLARED, APP, environment_for(kafka.bootstrap)))
        for _ in range(WORKERS):
            crew.start()
        watcher = Watcher(kafka.connection, APP, PIPELINES, crew.targets)
        watcher.start()
        stack.callback(watcher.stop)
        view.console(stack.enter_context(console(watcher.snapshot, watcher.news)))
        sent = Sent()
        feeds = [city_feed(kafka.connection, scenario, sent), weather_feed(kafka.connection, scenario)]
        stage = _Stage(kafka, crew, watcher, scenario, view, monotonic)
        _await(
            stage, lambda: _all_owned(watcher), 0.0, _READY_SECONDS, "the workers to take over all partitions"
        )
        played = _play(stage, feeds)
        view.say("everything is sent; waiting until all of it is processed")
        total = sum(feed.ledger.delivered for feed in feeds)
        _await(
            stage,
            lambda: watcher.processed(total),
            scenario.seconds,
            _FINISH_SECONDS,
            "everything to be processed",
        )
        stage.everything_is_processed()
        view.say("recounting what was produced, and comparing")
        published = read_published(kafka.connection, PIPELINES)
        verdict = judge(
            kafka.connection, dict(zip(PIPELINES, (feed.ledger for feed in feeds), strict=True)), published
        )
        if published.codes.total() and len(published.dead[CITY.outputs["dead"]]) != sent.malformed:
            verdict.differences.append(
                f"{sent.malformed} records were spoilt on purpose, not as many are dead letters"
            )
    return Report(
        ok=verdict.right,
        differences=tuple(verdict.differences),
        wall_seconds=round(monotonic() - started, 1),
        played_seconds=round(played, 1),
        produced={feed.topic: feed.ledger.delivered for feed in feeds},
        events_per_s=round(total / played, 1),
        windows={pipeline.name: len(published.windows[pipeline.name]) for pipeline in PIPELINES},
        windows_compared=verdict.windows,
        late=sum(len(places) for places in published.late.values()),
        dead=dict(sorted(published.codes.items())),
        alerts=alerts_against_truth(scenario.truth, published.alerts),
        killed=stage.outcome(),
        kafka=kafka.bootstrap,
    )


def _play(stage: _Stage, feeds: Sequence[Feed]) -> float:
    """Let the feeds play to their end, killing a worker on the way if asked; return the seconds it took."""
    scenario, begun = stage.scenario, stage.monotonic()
    stage.view.say(
        f"playing {scenario.weather_days} days of real weather and an hour of a simulated city ({scenario.city.series} series,"
        f" {len(scenario.truth)} incidents) in {scenario.seconds:g} s"
    )
    with _running(feeds):
        while any(feed.is_alive() for feed in feeds):
            elapsed = stage.monotonic() - begun
            stage.tick(min(elapsed, scenario.seconds))
    for feed in feeds:
        if feed.error is not None:
            raise DemoError(f"{feed.topic} could not be fed: {feed.error}") from feed.error
    return stage.monotonic() - begun


@contextmanager
def _running(feeds: Sequence[Feed]) -> Iterator[None]:
    for feed in feeds:
        feed.start()
    try:
        yield
    finally:
        for feed in feeds:
            feed.stop()
        for feed in feeds:
            feed.join()


def _all_owned(watcher: Watcher) -> bool:
    rows = watcher.snapshot().partitions
    return bool(rows) and all(row.owner for row in rows)


def _await(stage: _Stage, condition: Callable[[], bool], elapsed: float, seconds: float, what: str) -> None:
    deadline = stage.monotonic() + seconds
    while not condition():
        if stage.monotonic() > deadline:
            problem = f" (last problem: {stage.watcher.problem})" if stage.watcher.problem else ""
            raise DemoError(f"waited {seconds:.0f} s in vain for {what}{problem}\n{stage.crew.last_words()}")
        stage.tick(elapsed)
