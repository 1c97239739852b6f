"""How the engine runs: cadences, limits and the way to reach Kafka."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from schemas.columns import Columns, RawBatch
from streams.seals import Seals
from streams.task import OutputKind, Task


@dataclass(frozen=True, slots=True)
class Stage:
    """What an app does with one source topic: how to decode it, which task takes a partition, and where outputs go.

    ``pipeline`` names the pipeline whose live rules it follows. With ``marks_idle`` even a partition that never had an event
    is told that it is idle. ``tallies`` are the names of all that its task counts for people to watch. Dead letters of a
    ``private`` stage say where their event is, and hold nothing of it; its state is sealed where the worker has keys.
    """

    topic: str
    decode: Callable[[RawBatch], Columns]
    task: Callable[[int], Task]
    outputs: Mapping[OutputKind, str]
    signature: str
    idle_timeout_ms: int | None = None
    out_of_orderness_ms: int = 0
    marks_idle: bool = False
    pipeline: str = ""
    tallies: tuple[str, ...] = ()
    private: bool = False


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Settings of one worker. ``connection`` holds librdkafka properties; times are seconds, sizes bytes.

    The first ``canary_partitions`` partitions carry canaries. ``seals`` encrypt the state of private stages. ``takeover_after`` is
    how long records wait for an owner that trails until another worker takes its partitions (0: for ever). ``standbys`` is how
    many other workers keep a copy of each partition's state, in at most ``standby_bytes`` each.
    """

    app_id: str
    connection: Mapping[str, str | int]
    emission_interval: float = 0.1
    position_interval: float = 1.0
    state_interval: float = 10.0
    state_input_bytes: int = 256 << 20
    state_bytes_factor: float = 2.0
    commit_cpu_share: float = 0.1
    transaction_timeout: float = 15.0
    partition_buffer_bytes: int = 32 << 20
    worker_buffer_bytes: int = 256 << 20
    fetch_records: int = 20_000
    fetch_wait: float = 0.02
    session_timeout: float = 10.0
    start: str = "earliest"
    accept_loss: bool = False
    breaker_records: int = 1_000
    breaker_share: float = 0.95
    canary_partitions: int = 0
    seals: Seals | None = field(default=None, repr=False)
    takeover_after: float = 10.0
    standbys: int = 0
    standby_bytes: int = 1 << 30
    monotonic: Callable[[], float] = field(default=time.monotonic)
    wall_clock: Callable[[], float] = field(default=time.time)

    @property
    def checkpoint_topic(self) -> str:
        """The topic that holds this app's checkpoints, one partition for each source partition."""
        return f"tw.{self.app_id}.checkpoint"

    def transactional_id(self, partition: int) -> str:
        """Return the id whose ownership fences every earlier owner of the partition."""
        return f"tw.{self.app_id}.{partition}"
