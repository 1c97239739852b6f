"""Takes canaries along with the commits of a partition, beside its tasks: neither state nor positions know of them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from schemas.canary import Canary, CanarySeen
from schemas.columns import RawBatch
from schemas.topics import CANARIES_SEEN
from streams.metrics import Metrics
from streams.transactions import Record


class CanaryCarrier:
    """Carry the newest canary of one partition from its topic into the next commit, and show its age on the way.

    Delivery: at most once. A canary that is lost with a worker or overtaken by the next one is not missed.
    """

    def __init__(self, app: str, partition: int, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._app = app
        self._partition = partition
        self._metrics = metrics
        self._clock = clock
        self._waiting: int | None = None
        self._under_way: int | None = None
        self._refused = False

    @property
    def waiting(self) -> bool:
        """Whether a canary waits for a commit."""
        return self._waiting is not None

    def take(self, batch: RawBatch) -> None:
        """Take the newest canary of a batch; what is none is left out."""
        if self._refused:
            return
        for value in reversed(batch.values):
            try:
                self._waiting = msgspec.json.decode(value or b"", type=Canary).sent
            except msgspec.DecodeError:
                continue
            self._show("processed", self._waiting)
            return

    def records(self) -> list[Record]:
        """Return what the next commit is to publish."""
        self._under_way = self._waiting
        if self._waiting is None:
            return []
        seen = CanarySeen(self._app, self._partition, self._waiting)
        key = f"{self._app}/{self._partition}".encode()
        return [Record(CANARIES_SEEN, self._partition, key, msgspec.json.encode(seen))]

    def committed(self) -> None:
        """Take note that the commit went through."""
        if self._under_way is not None:
            self._show("committed", self._under_way)
        self._waiting = self._under_way = None

    def refused(self) -> None:
        """Carry no more: their topic takes none, or something else is refused that is not of canaries."""
        self._refused = True
        self._waiting = self._under_way = None

    def _show(self, stage: str, sent: int) -> None:
        self._metrics.canary(self._app, self._partition, stage, sent / 1000, self._clock())
