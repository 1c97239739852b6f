"""The circuit breaker: nearly all input bad means that something upstream is wrong, not the input one by one."""

from __future__ import annotations

from collections import deque

from streams.errors import BreakerOpenError


class Breaker:
    """Watch the share of bad rows over the last ``rows`` rows of one partition; trip above ``share``."""

    def __init__(self, rows: int, share: float, partition: int) -> None:
        self._rows, self._share, self._partition = rows, share, partition
        self._seen: deque[tuple[int, int]] = deque()
        self._total = self._bad = 0

    def add(self, rows: int, bad: int) -> None:
        """Take the next batch into account.

        Raises:
            BreakerOpenError: more than ``share`` of the last ``rows`` rows, or of a larger last batch, are bad.
        """
        self._seen.append((rows, bad))
        self._total += rows
        self._bad += bad
        while self._total - self._seen[0][0] >= self._rows:
            old_rows, old_bad = self._seen.popleft()
            self._total -= old_rows
            self._bad -= old_bad
        if self._total >= self._rows and self._bad > self._share * self._total:
            raise BreakerOpenError(
                f"{self._bad / self._total:.0%} of the last {self._total} events on partition {self._partition} are bad; stopped "
                "before draining the topic into its dead letters. Mend the producer or the event definition, then restart the "
                "worker, or pass over the bad events with 'tidewatch reset --to TIME'."
            )
