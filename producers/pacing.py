"""When to send: event time played back at real speed, faster, or as fast as possible."""

from __future__ import annotations

from collections.abc import Callable


class Pacer:
    """Wait until an event's turn has come.

    ``speed`` is event time per wall time (1 is real speed), ``None`` never waits. The first event starts the play; an event
    older than one before it is due at once. ``sleep`` may return early, so a producer's ``poll`` serves as one.
    """

    def __init__(
        self, speed: float | None, monotonic: Callable[[], float], sleep: Callable[[float], object]
    ) -> None:
        if speed is not None and not 0 < speed < float("inf"):
            raise ValueError(f"a speed is positive and finite, not {speed}")
        self._speed = speed
        self._monotonic = monotonic
        self._sleep = sleep
        self._origin: tuple[int, float] | None = None

    def wait_for(self, time: int) -> None:
        """Return when the event of the given time (ms) is due."""
        if self._speed is None:
            return
        if self._origin is None:
            self._origin = time, self._monotonic()
        first, started = self._origin
        due = started + (time - first) / 1000.0 / self._speed
        # Waits below a millisecond are not worth a system call: the next event makes up for them.
        while (left := due - self._monotonic()) > 0.001:
            self._sleep(min(left, 0.25))


def shift_to(now: int, first: int, last: int, speed: float | None) -> int:
    """Return the shift (ms) by which the last event's time becomes the moment it is sent.

    At real speed this makes the first event happen now; at any higher speed earlier events lie in the past and none
    in the future. All times are milliseconds since the epoch.
    """
    playing = 0 if speed is None else round((last - first) / speed)
    return now + playing - last
