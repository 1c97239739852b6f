"""When a unit's next commits are due, so that results come soon and commits stay a small part of the work."""

from __future__ import annotations

from streams.config import EngineConfig

# Slow brokers must not keep a unit from its input: at most half of the wall time goes by waiting for commits.
WALL_SHARE = 0.5
# A commit's cost is judged by an average, or the one that carries the windows would hold up the alerts behind it.
SMOOTHING = 0.1


class Cadence:
    """The clock of one unit's commits, in seconds of ``config.monotonic``.

    Emission transactions begin ``emission_interval`` apart while there is output, and progress is noted every
    ``position_interval`` where there is none. State transactions come every ``state_interval``, or sooner once
    ``state_input_bytes`` have been read since the last, which bounds what a restore has to read again. All of them come less
    often where their CPU time would exceed ``commit_cpu_share`` of a core, states taking at most half of that, or where waiting
    for them would exceed half of the wall time.
    """

    def __init__(self, config: EngineConfig, partition: int) -> None:
        self._config = config
        # Partitions that start together should not all write their state at the same time.
        self._stagger = 0.5 + 0.5 * (partition % 8) / 8
        self._emission = self._position = self._state = self._earliest_state = 0.0
        self._cpu = self._wall = 0.0
        self._state_began = self._state_share = 0.0
        self._input_bytes = 0

    def begin(self, now: float) -> None:
        """Start anew, after a restore."""
        self._emission = self._position = self._earliest_state = self._state_began = now
        self._state = now + self._config.state_interval * self._stagger
        self._input_bytes = 0

    def read(self, size: int) -> None:
        """Note that so many bytes of input were processed."""
        self._input_bytes += size

    def wait(self, now: float, *, pending: bool) -> float:
        """Return how long nothing will be due: outputs if some are ``pending``, else progress."""
        return max((self._emission if pending else self._position) - now, 0.0)

    def emission_due(self, now: float) -> bool:
        """Whether outputs may be committed."""
        return now >= self._emission

    def position_due(self, now: float) -> bool:
        """Whether progress is to be committed even without output."""
        return now >= self._position

    def state_due(self, now: float) -> bool:
        """Whether the state is to be written."""
        much = self._input_bytes >= self._config.state_input_bytes
        return now >= self._state or (much and now >= self._earliest_state)

    def nothing_moved(self, now: float) -> None:
        """Note that there was no progress to commit."""
        self._position = now + self._config.position_interval

    def want_state(self) -> None:
        """Let the next commit write the state."""
        self._state = 0.0

    def put_off_state(self, until: float) -> None:
        """Write no state before ``until``."""
        self._state, self._earliest_state = max(self._state, until), max(self._earliest_state, until)

    def committed(self, started: float, now: float, cpu: float, *, with_state: bool) -> None:
        """Note a commit that began at ``started`` and took ``cpu`` seconds of processor, and plan the next ones."""
        config, wall = self._config, now - started
        if with_state:
            dear = max(cpu / (config.commit_cpu_share / 2), wall / WALL_SHARE)
            self._state_share = cpu / max(started - self._state_began, dear)
            self._state_began = started
            self._earliest_state = started + dear
            self._state = started + max(config.state_interval, dear)
            self._input_bytes = 0
        else:
            self._cpu += SMOOTHING * (cpu - self._cpu)
            self._wall += SMOOTHING * (wall - self._wall)
        dear = max(self._cpu / (config.commit_cpu_share - self._state_share), self._wall / WALL_SHARE)
        self._emission = started + max(config.emission_interval, dear)
        self._position = started + config.position_interval
