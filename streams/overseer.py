"""Looks at the progress of all partitions of an app, for the member that is to take over those whose owners trail."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._listoffsets import OffsetSpec

from streams.balance import Balance, Note, decode_note
from streams.config import EngineConfig
from streams.costs import Costs, Spent
from streams.membership import Heirdom
from streams.offsets import reader_of
from streams.trailing import Source, Trails

log = logging.getLogger(__name__)


class Overseer(threading.Thread):
    """Ask Kafka every few seconds where logs end and how far the group has got.

    Reads only: the group's offsets, which owners set to what they have committed, and the ends of the logs. Calls ``take``, on
    this thread, with each partition that trails, and ``share_anew`` where this worker should give partitions up; keeps in
    ``costs`` what the partitions of this worker cost.
    """

    def __init__(
        self,
        config: EngineConfig,
        sources: Collection[Source],
        worker: str,
        take: Callable[[int, Heirdom], None],
        share_anew: Callable[[], None],
        spent: Callable[[], Mapping[int, Spent]],
    ) -> None:
        super().__init__(name="tw-overseer", daemon=True)
        self._config = config
        self._places = [TopicPartition(*source) for source in sorted(sources)]
        self._take = take
        self._share_anew = share_anew
        self._balance = Balance(worker)
        self._spent = spent
        self._every = max(config.takeover_after / 5, 0.2)
        self._trails = Trails(config.takeover_after, self._every)
        self._lock = threading.Lock()
        self._heirdoms: dict[int, Heirdom] = {}
        self._costs = Costs()
        self._stop_now = threading.Event()
        self.costs: dict[int, float] = {}

    def begin(self, heirdoms: Mapping[int, Heirdom], mine: Collection[int]) -> None:
        """Follow a new assignment; any thread may call this."""
        with self._lock:
            self._heirdoms = dict(heirdoms)
            self._trails.begin(self._config.monotonic(), heirdoms, mine)
            self._balance.begin()

    def pause(self) -> None:
        """Take nothing until the next assignment."""
        self.begin({}, ())

    def stop(self) -> None:
        """End the thread, without waiting for it."""
        self._stop_now.set()

    def run(self) -> None:
        """Look until stopped; what cannot be seen is looked at again."""
        settings = self._config.connection
        admin = AdminClient({"log_level": 3, **settings})
        group = reader_of(settings, self._config.app_id)
        told = False
        while not self._stop_now.wait(self._every):
            try:
                ends, positions, notes = self._look(admin, group)
                self._judge(ends, positions, notes)
                told = False
            except Exception as error:  # nothing may end the thread: nobody else would look
                if not told:
                    expected = isinstance(error, KafkaException)
                    log.warning(
                        "cannot see how far the partitions are: %s",
                        error,
                        exc_info=None if expected else error,
                    )
                told = True

    def _look(
        self, admin: AdminClient, group: Consumer
    ) -> tuple[dict[Source, int], dict[Source, int], dict[int, Note]]:
        newest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = admin.list_offsets(
            dict.fromkeys(self._places, newest),
            isolation_level=IsolationLevel.READ_COMMITTED,
            request_timeout=5.0,
        )
        ends = {(place.topic, place.partition): int(found.result().offset) for place, found in asked.items()}
        committed = group.committed(list(self._places), timeout=5.0)
        positions = {(place.topic, place.partition): int(place.offset) for place in committed}
        return ends, positions, {place.partition: _note_of(place) for place in committed}

    def _judge(
        self, ends: Mapping[Source, int], positions: Mapping[Source, int], notes: Mapping[int, Note]
    ) -> None:
        with self._lock:
            now = self._config.monotonic()
            self._trails.observe(now, ends, positions)
            self._measure(now, ends)
            due = [(p, self._heirdoms.pop(p)) for p in self._trails.due()]
            for partition, _ in due:
                self._trails.taken(partition)
            uneven = self._balance.observe(now, notes)
        for partition, heirdom in due:
            self._take(partition, heirdom)
        if uneven:
            self._share_anew()

    def _measure(self, now: float, ends: Mapping[Source, int]) -> None:
        spent = self._spent()
        totals = {p: sum(end for (_, partition), end in ends.items() if partition == p) for p in spent}
        behind = {p: self._trails.behind(p) for p in spent}
        self.costs = self._costs.measure(now, spent, totals, behind)


def _note_of(place: TopicPartition) -> Note:
    try:
        return decode_note(place.metadata)
    except UnicodeDecodeError:  # one of an older build, read beyond its end
        return Note()
