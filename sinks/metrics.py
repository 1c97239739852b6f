"""What every sink counts: received, sent, errors by stage and code, discarded."""

from __future__ import annotations

from typing import Final, Literal, get_args

from prometheus_client import CollectorRegistry

from schemas.errors import ErrorCode
from schemas.metrics import (
    CANARY_AGE,
    CANARY_SENT,
    SINK_DISCARDED,
    SINK_ERRORS,
    SINK_RECEIVED,
    SINK_SENT,
    SINK_WAITING,
    SINK_WRITE_SECONDS,
    counter,
    gauge,
    histogram,
)

Stage = Literal["decode", "write", "commit"]
Discarded = Literal["unreadable", "unwanted"]

WRITE_CODES: Final = ("unavailable", "no_space", "rejected", "other")
"""Why a target did not take a batch: away for now, full, refusing it, or something else."""
_CODES: Final = {"decode": tuple(ErrorCode), "write": WRITE_CODES, "commit": ("kafka",)}


class SinkMetrics:
    """The metrics of one sink in one registry; series of bounded labels start at 0."""

    def __init__(self, registry: CollectorRegistry, sink: str) -> None:
        self._sink = sink
        self._received = counter(SINK_RECEIVED, registry).labels(sink)
        self._sent = counter(SINK_SENT, registry).labels(sink)
        self._errors = counter(SINK_ERRORS, registry)
        self._discarded = counter(SINK_DISCARDED, registry)
        self._write_seconds = histogram(SINK_WRITE_SECONDS, registry).labels(sink)
        self._waiting = gauge(SINK_WAITING, registry).labels(sink)
        self._canary_age = gauge(CANARY_AGE, registry)
        self._canary_sent = gauge(CANARY_SENT, registry)
        for stage, codes in _CODES.items():
            for code in codes:
                self._errors.labels(sink, stage, code)
        for reason in get_args(Discarded):
            self._discarded.labels(sink, reason)

    def received(self, records: int) -> None:
        """Count records taken from the topics."""
        self._received.inc(records)

    def wrote(self, records: int, seconds: float) -> None:
        """Count records that the target now holds, and how long the batch took."""
        self._sent.inc(records)
        self._write_seconds.observe(seconds)
        self._waiting.set(0)

    def discarded(self, reason: Discarded, records: int) -> None:
        """Count records left out on purpose."""
        self._discarded.labels(self._sink, reason).inc(records)

    def canary(self, app: str, partition: int, sent: float, now: float) -> None:
        """Show the canary that came with the results the target holds now; times in seconds since the epoch."""
        self._canary_sent.labels(app, partition, self._sink).set(sent)
        self._canary_age.labels(app, partition, self._sink).set(max(now - sent, 0.0))

    def error(self, stage: Stage, code: str) -> None:
        """Count a failure; an undeclared code counts as the last of its stage."""
        known = code if code in _CODES[stage] else _CODES[stage][-1]
        self._errors.labels(self._sink, stage, str(known)).inc()
        if stage == "write":
            self._waiting.set(1)
