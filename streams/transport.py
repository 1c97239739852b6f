"""The Faust transport ``tidewatch://``: aiokafka keeps the group, librdkafka brings the data, a batch is one message."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from faust.serializers import codecs
from faust.transport.drivers import TRANSPORTS
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.assignor import TogetherAssignor

log = logging.getLogger(__name__)

BATCH_CODEC = "tidewatch-batch"


class _AsItIs(codecs.Codec):
    """Deliveries are objects already; there is nothing to decode."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


codecs.register(BATCH_CODEC, _AsItIs())
TRANSPORTS.aliases["tidewatch"] = "streams.transport:Transport"


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """The group member; its own fetching stays paused for good."""

    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        # Without tables Faust deals partitions out one by one, which tears the sources of a unit apart.
        consumer._partition_assignment_strategy = (TogetherAssignor(self.app.engine.member),)
        return consumer

    async def on_start(self) -> None:
        """Start the member, and let it never look idle: it would leave the group after ``max.poll.interval`` for good."""
        await super().on_start()
        self._never_idle = self._ensure_consumer()._subscription.fetch_context()
        self._never_idle.__enter__()

    def rejoin(self) -> None:
        """Ask the group anew who owns what; may be called from any thread."""
        coordinator = self._ensure_consumer()._coordinator
        self.thread_loop.call_soon_threadsafe(coordinator.request_rejoin)

    async def publish(self, positions: Mapping[TP, tuple[int, str]]) -> None:
        """Commit offsets with their notes; what fails is tried again with the next ones, since nothing hangs on it."""
        await self.call_thread(self._publish, positions)

    async def _publish(self, positions: Mapping[TP, tuple[int, str]]) -> None:
        owned = self.assignment()
        noted = {
            driver.ensure_aiokafka_TP(tp): OffsetAndMetadata(*position)
            for tp, position in positions.items()
            if tp in owned
        }
        if not noted:
            return
        try:
            await self._ensure_consumer().commit(noted)
        except KafkaError as error:
            log.info("positions are not published: %s", error)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Pause the member's own fetching, then go on as Faust does."""
        self._ensure_consumer().pause(*driver.ensure_aiokafka_TPset(assigned))
        await super().on_partitions_assigned(assigned, generation_id)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Skip Faust's stall warnings, which look at a fetcher that is paused here."""


class Consumer(driver.Consumer):
    """A Faust consumer whose messages are the engine's deliveries.

    Offsets that Faust sees are a running number: positions belong to the tasks, and acknowledging commits nothing. The group's
    offsets are set to committed positions by ``publish_positions``, for lag monitors only.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sequence = itertools.count(1)

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Let the units commit and close before anybody else owns their partitions."""
        await self.app.engine.revoked()
        await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Open units for the partitions owned now; restoring goes on in the background."""
        await super().on_partitions_assigned(assigned, generation_id)
        self.app.engine.rejoin = self._thread.rejoin
        self.app.engine.assigned((tp.topic, tp.partition) for tp in assigned)

    async def on_stop(self) -> None:
        """Commit and close the units before leaving the group."""
        await self.app.engine.close()
        await super().on_stop()

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield the next deliveries."""
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
        self.not_waiting_next_records.set()
        arrivals = self.app.engine.arrivals
        try:
            deliveries = [await asyncio.wait_for(arrivals.get(), timeout)]
        except TimeoutError:
            return
        while not arrivals.empty():
            deliveries.append(arrivals.get_nowait())
        assignment = self.assignment()
        for delivery in deliveries:
            batch = delivery.batch
            tp = TP(batch.topic, batch.partition)
            if tp in assignment:
                yield tp, self._message(tp, delivery)
            else:  # canaries, and partitions taken from a worker that trails, of which the group does not know yet
                self.app.engine.submit(delivery)

    def _message(self, tp: TP, delivery: Any) -> ConsumerMessage:
        generation = self.app.consumer_generation_id
        offset = next(self._sequence)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            offset,
            0.0,
            1,
            (),
            None,
            delivery,
            None,
            0,
            0,
            tp,
            generation_id=generation,
        )

    async def publish_positions(self, positions: Mapping[TP, tuple[int, str]]) -> None:
        """Set the group's offsets and notes, which lag monitors and heirs read; no task goes by them."""
        if positions:
            await self._thread.publish(positions)

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002
        """Commit nothing: positions are committed by the units, together with their outputs."""
        self._n_acked = 0
        for tp, acked in self._acked.items():
            acked.clear()
            self._acked_index[tp].clear()
        return True

    async def perform_seek(self) -> None:
        """Seek nowhere: tasks say where to go on."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek nowhere: tasks say where to go on."""
        return {}

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Offsets here are running numbers without gaps of any meaning."""

    async def verify_all_partitions_active(self) -> None:
        """Skip Faust's stall warnings, which look at a fetcher that is paused here."""


class Transport(driver.Transport):
    """Found by Faust under the scheme ``tidewatch``."""

    Consumer = Consumer
