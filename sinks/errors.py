"""What can go wrong between a topic and where its results go, as typed exceptions."""

from __future__ import annotations


class SinkError(Exception):
    """The base of everything that sinks raise; what is not back-pressure ends the sink, with nothing lost."""


class BackPressureError(SinkError):
    """The target cannot take the batch now; offer the same batch again after ``retry_after`` seconds.

    ``code`` is a short bounded word for the metrics, the message says what is wrong and how to mend it.
    """

    def __init__(self, reason: str, *, code: str, retry_after: float) -> None:
        super().__init__(reason)
        self.code = code
        self.retry_after = retry_after


class TopicError(SinkError):
    """A topic to read is not there, or nobody knows what it holds."""
