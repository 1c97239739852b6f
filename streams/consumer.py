"""The consumer that feeds the fetch thread: Kafka's fetch protocol on sockets of its own, whole record batches at a time.

A client that hands over one object a record spends more on that than a window does. Here a record set is copied once and read by
a compiled loop. What takes long (opening connections, looking up leaders) waits on threads of its own, so that one dead broker
holds up nobody's records but those that it leads.
"""

from __future__ import annotations

import itertools
import logging
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from streams import wire
from streams.intake import NEWEST, Arrival, Connection, End, Failure, Records, Source
from streams.link import Link, LinkError, named
from streams.positions import log_range
from streams.record_sets import RecordSet, RecordSetError, record_set, records_of
from streams.security import Security, SecurityError, security_of
from streams.wire import WireError

log = logging.getLogger(__name__)

_OFFSET_OUT_OF_RANGE, _UNKNOWN_TOPIC, _FORBIDDEN_TOPIC = 1, 3, 29
_LONG_POLL_MS = 50
_ANSWER_WITHIN = 30.0
_PACE, _SMALL = 0.02, 1 << 20
"""Seconds between fetches that bring less than so many bytes: each costs a decoder's and a task's call for every partition."""
_RETRY, _RETRY_AT_MOST = 0.1, 2.0
_TOPIC_WITHIN = 10.0  # seconds until a topic that no broker knows is believed not to exist
_Result = TypeVar("_Result")


@dataclass(slots=True, eq=False)
class _Place:
    """One assignment of a partition."""

    source: Source
    position: int
    node: int | None = None
    epoch: int = -1
    last_epoch: int = -1
    paused: bool = False
    told_end: bool = False
    failed: bool = False
    served: int = 0
    not_before: float = 0.0
    unknown_since: float | None = None
    newest: Future[int] | None = None
    waiting: deque[Arrival] = field(default_factory=deque)


@dataclass(slots=True, eq=False)
class _Peer:
    """A broker that is connected; ``asked`` are the places of the fetch under way, with their positions."""

    node: int
    link: Link
    asked: dict[Source, tuple[_Place, int]] | None = None
    asked_at: float = 0.0
    not_before: float = 0.0


class BatchConsumer:
    """Implements ``streams.intake.Intake``. For use by one thread.

    ``connection`` holds librdkafka's properties. One fetch brings at most ``most_each`` bytes of a partition and ``most`` in all,
    unless a single batch is larger. Only records of committed transactions are yielded, in order and without holes but the log's.

    Raises:
        SecurityError: the connection asks for what this client cannot do.
    """

    def __init__(
        self,
        connection: Connection,
        most_each: int = 1 << 20,
        most: int = 16 << 20,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._security: Security = security_of(connection)
        self._most_each, self._most = most_each, most
        self._bootstrap = _addresses(str(connection["bootstrap.servers"]))
        self._brokers: Mapping[int, tuple[str, int]] = {}
        self._places: dict[Source, _Place] = {}
        self._peers: dict[int, _Peer] = {}
        self._opening: dict[int, Future[Link]] = {}
        self._looking: Future[wire.Layout] | None = None
        self._look_not_before = 0.0
        self._failures = 0
        self._shut: dict[int, tuple[int, float]] = {}
        self._turns = itertools.count(1)
        self._selector = selectors.DefaultSelector()

    def assign(self, source: Source, position: int) -> None:
        """Fetch a partition from a position on, ``NEWEST`` for its end."""
        place = _Place(source, position)
        if position == NEWEST:
            place.newest = self._end_of(source)
        self._places[source] = place

    def unassign(self, source: Source) -> None:
        """Stop fetching a partition."""
        self._places.pop(source, None)

    def pause(self, source: Source) -> None:
        """Hold a partition back; what is under way waits until it is resumed."""
        self._places[source].paused = True

    def resume(self, source: Source) -> None:
        """Let a partition go on."""
        self._places[source].paused = False

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:
        """Wait for up to ``wait`` seconds, and yield what there is: up to ``limit`` records of each partition."""
        self._go_on(self._clock())
        ready = self._ready()
        self._receive(0.0 if ready else wait)
        for place in ready or self._ready():
            yield from _part_of(place.waiting, limit)

    def close(self) -> None:
        """Close all connections."""
        for peer in list(self._peers.values()):
            self._drop(peer)
        for opening in self._opening.values():
            opening.add_done_callback(_close_late)
        self._selector.close()

    # --- what is there

    def _ready(self) -> list[_Place]:
        return [place for place in self._places.values() if place.waiting and not place.paused]

    def _receive(self, wait: float) -> None:
        now = self._clock()
        due = [peer.not_before - now for peer in self._peers.values() if peer.asked is None]
        wait = max(min([wait, *(each for each in due if each > 0)]), 0.0)
        for key, _ in self._selector.select(wait):
            peer: _Peer = key.data
            try:
                answer = peer.link.receive()
                if answer is not None:
                    self._take(peer, answer)
            except WireError as error:
                self._broken(peer, error)

    def _take(self, peer: _Peer, answer: wire.Reader) -> None:
        asked, peer.asked = peer.asked or {}, None
        error, fetched = wire.read_fetched(answer)
        if error:
            raise LinkError(f"the broker refuses to be fetched from: {named(error)}")
        now, taken = self._clock(), list[tuple[_Place, wire.Fetched, RecordSet | None]]()
        for each in fetched:
            place, position = asked.get((each.topic, each.partition), (None, 0))
            if place is None or self._places.get(place.source) is not place or place.position != position:
                continue  # assigned anew since it was asked for
            if each.error or each.cut_at is not None:
                self._trouble(place, each, now)
                continue
            try:
                taken.append((place, each, self._partition(place, each, answer.data)))
            except RecordSetError as broken:
                self._fail(place, str(broken), final=True)
        if answer.at < _SMALL:
            peer.not_before = peer.asked_at + _PACE
        self._ask(peer, now)  # the broker works on the next fetch while this one is unpacked
        for place, each, found in taken:
            self._hand_over(place, each.end, found)

    def _partition(self, place: _Place, fetched: wire.Fetched, data: memoryview) -> RecordSet | None:
        if not fetched.size:
            return None
        sent = np.frombuffer(data[fetched.start : fetched.start + fetched.size], np.uint8)
        found = record_set(sent, place.position, fetched.aborted)
        if found.next > place.position:
            place.position, place.last_epoch, place.served = found.next, found.epoch, next(self._turns)
            place.told_end = False
        return found

    def _hand_over(self, place: _Place, end: int, found: RecordSet | None) -> None:
        reached = place.position if found is None else found.next
        try:
            records = None if found is None else records_of(place.source, found)
        except RecordSetError as broken:
            self._fail(place, str(broken), final=True)
            return
        if records is not None:
            place.waiting.append(records)
        if reached >= end and not place.told_end:
            place.told_end = True
            place.waiting.append(End(place.source, reached))

    # --- what goes wrong

    def _trouble(self, place: _Place, fetched: wire.Fetched, now: float) -> None:
        error = fetched.error
        if fetched.cut_at is not None:
            text = f"its log was cut back to offset {fetched.cut_at} behind this reader: an unclean leader election"
            self._fail(place, text, cut_at=fetched.cut_at)
        elif error == _OFFSET_OUT_OF_RANGE:
            self._fail(place, f"offset {place.position} is outside the log")
        else:
            self._unsettle(place, error, now)

    def _unsettle(self, place: _Place, error: int, now: float) -> None:
        """Look for the leader anew, unless waiting cannot help."""
        place.node, place.not_before = None, now + _RETRY
        if error == _FORBIDDEN_TOPIC:
            self._fail(place, "this client may not read the topic")
        elif error == _UNKNOWN_TOPIC:
            place.unknown_since = place.unknown_since or now
            if now - place.unknown_since > _TOPIC_WITHIN:
                self._fail(place, "there is no such topic or partition")
        else:
            place.unknown_since = None
            log.info("%s[%d] is looked for anew: %s", *place.source, named(error))

    def _fail(self, place: _Place, text: str, *, cut_at: int | None = None, final: bool = False) -> None:
        place.failed = True
        place.waiting.append(Failure(place.source, text, cut_at, final))

    def _broken(self, peer: _Peer, error: Exception) -> None:
        log.info("broker %d: %s", peer.node, error)
        self._drop(peer)
        self._lose(peer.node)

    def _drop(self, peer: _Peer) -> None:
        del self._peers[peer.node]
        self._selector.unregister(peer.link)
        peer.link.close()

    def _lose(self, node: int) -> None:
        later = self._clock() + _RETRY
        for place in self._places.values():
            if place.node == node:
                place.node, place.not_before = None, later

    # --- what is asked

    def _go_on(self, now: float) -> None:
        """Take what other threads found, and ask every broker that is free."""
        self._take_newest(now)
        self._take_layout(now)
        self._take_links(now)
        waiting = [place for place in self._places.values() if not place.failed and place.not_before <= now]
        homeless = {place.source[0] for place in waiting if place.node is None}
        if homeless and self._looking is None and now >= self._look_not_before:
            addresses = [*dict.fromkeys([*self._brokers.values(), *self._bootstrap])]
            # In another order each time, so that one that does not answer is not asked first again.
            turn = next(self._turns) % len(addresses)
            addresses = addresses[turn:] + addresses[:turn]
            self._looking = _aside(lambda: _look_up(addresses, self._security, sorted(homeless)))
        for node in {place.node for place in waiting if place.node is not None}:
            if (
                node not in self._peers
                and node not in self._opening
                and now >= self._shut.get(node, (0, 0.0))[1]
            ):
                self._opening[node] = self._open(*self._brokers[node])
        for peer in list(self._peers.values()):
            if peer.asked is None:
                self._ask(peer, now)
            elif now - peer.asked_at > _ANSWER_WITHIN:
                self._broken(peer, LinkError(f"no answer within {_ANSWER_WITHIN:.0f} s"))

    def _ask(self, peer: _Peer, now: float) -> None:
        if now < peer.not_before:
            return
        places = [
            place
            for place in self._places.values()
            if place.node == peer.node
            and not (place.paused or place.failed or place.waiting)
            and place.position >= 0
            and place.not_before <= now
        ]
        if not places:
            return
        # Those served longest ago come first: an answer holds at most so many bytes.
        places.sort(key=lambda place: place.served)
        asked = [wire.Asked(*place.source, place.position, place.epoch, place.last_epoch) for place in places]
        body = wire.fetch_request(asked, _LONG_POLL_MS, self._most, self._most_each)
        try:
            peer.link.send(wire.FETCH, body)
        except LinkError as error:
            self._broken(peer, error)
            return
        peer.asked = {place.source: (place, place.position) for place in places}
        peer.asked_at = now

    def _open(self, host: str, port: int) -> Future[Link]:
        return _aside(lambda: Link(host, port, self._security))

    def _end_of(self, source: Source) -> Future[int]:
        return _aside(lambda: log_range(self._connection, *source).high)

    def _take_newest(self, now: float) -> None:
        for place in self._places.values():
            if place.newest is None or not place.newest.done():
                continue
            if place.newest.exception() is None:
                place.position, place.newest = place.newest.result(), None
            elif place.not_before <= now:
                place.not_before = now + _RETRY_AT_MOST
                place.newest = self._end_of(place.source)

    def _take_layout(self, now: float) -> None:
        if self._looking is None or not self._looking.done():
            return
        looked, self._looking = self._looking, None
        problem = looked.exception()
        if problem is not None:
            self._rest(now, problem)
            return
        layout, self._failures = looked.result(), 0
        self._look_not_before = now + _RETRY
        self._brokers = layout.brokers
        for node in {place.node for place in self._places.values() if place.node is not None}:
            if node not in layout.brokers and node not in self._peers:
                self._lose(node)  # it has left, so there is no address to connect to
        for place in self._places.values():
            error = layout.topics.get(place.source[0])
            if place.node is not None or place.failed or error is None:
                continue
            leader = layout.leaders.get(place.source, wire.Leader(error or _UNKNOWN_TOPIC, -1, -1))
            if leader.node not in layout.brokers:
                self._unsettle(place, leader.error, now)
            elif leader.epoch >= place.epoch:
                place.node, place.epoch, place.unknown_since = leader.node, leader.epoch, None

    def _rest(self, now: float, problem: BaseException) -> None:
        """Look again later and later; say so when it begins, not every time."""
        if not self._failures:
            log.warning("nobody says where partitions are: %s; trying again", problem)
        self._look_not_before = now + _pause_after(self._failures)
        self._failures += 1

    def _take_links(self, now: float) -> None:
        for node, opening in list(self._opening.items()):
            if not opening.done():
                continue
            del self._opening[node]
            problem = opening.exception()
            if problem is None:
                self._shut.pop(node, None)
                peer = self._peers[node] = _Peer(node, opening.result())
                self._selector.register(peer.link, selectors.EVENT_READ, peer)
                continue
            failures = self._shut.get(node, (0, 0.0))[0]
            if not failures:
                log.warning("broker %d cannot be fetched from: %s; trying again", node, problem)
            self._shut[node] = (failures + 1, now + _pause_after(failures))
            self._lose(node)


def _pause_after(failures: int) -> float:
    return float(min(_RETRY * 2 ** min(failures, 10), _RETRY_AT_MOST))


def _part_of(waiting: deque[Arrival], limit: int) -> Iterator[Arrival]:
    """Take up to ``limit`` records, and what comes between them."""
    while waiting and limit > 0:
        arrival = waiting.popleft()
        if isinstance(arrival, Records):
            if len(arrival) > limit:
                waiting.appendleft(arrival.part(limit, len(arrival)))
                arrival = arrival.part(0, limit)
            limit -= len(arrival)
        yield arrival


def _addresses(servers: str) -> list[tuple[str, int]]:
    parted = [each.strip().rpartition(":") for each in servers.split(",") if each.strip()]
    return [(host.strip("[]"), int(port)) for host, _, port in parted]


def _look_up(addresses: Sequence[tuple[str, int]], security: Security, topics: Sequence[str]) -> wire.Layout:
    problem: Exception = LinkError("there is no address of a broker")
    for address in addresses:
        try:
            with closing(Link(*address, security)) as link:
                return wire.read_layout(link.call(wire.METADATA, wire.metadata_request(topics)))
        except (WireError, SecurityError) as error:
            problem = error
    raise problem


def _aside(call: Callable[[], _Result]) -> Future[_Result]:
    """Run a call that waits on a thread of its own, which does not keep the process alive."""
    future: Future[_Result] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # the one who looks at the future decides
            future.set_exception(error)

    threading.Thread(target=run, name="tw-fetch-aside", daemon=True).start()
    return future


def _close_late(opening: Future[Link]) -> None:
    if opening.exception() is None:
        opening.result().close()
