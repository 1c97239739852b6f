"""What can go wrong on the way to a topic, as typed exceptions."""

from __future__ import annotations


class ProducerError(Exception):
    """The base of everything that producers raise."""


class EventRejectedError(ProducerError):
    """This event can never be sent (too large, for example); it was not accepted, others go on."""


class BackPressureError(ProducerError):
    """The buffer stayed full for as long as the caller was ready to wait; the event was not accepted."""


class ProducerFailedError(ProducerError):
    """The producer is beyond repair (fatal in Kafka's terms) or closed; nothing more is accepted."""


class UndeliveredError(ProducerError):
    """Accepted events are not, or not known to be, on the topic.

    ``pending`` are still on their way, ``failed`` were given up; ``reason`` is the first failure's.
    """

    def __init__(self, topic: str, pending: int, failed: int, reason: str | None) -> None:
        self.topic = topic
        self.pending = pending
        self.failed = failed
        self.reason = reason
        because = f": {reason}" if reason else ""
        super().__init__(f"{pending} events pending and {failed} failed on {topic}{because}")


class MappingError(ProducerError):
    """The mapping from columns to event fields does not fit the file."""


class SourceError(ProducerError):
    """A file cannot be read as what its name says."""


class SpoolError(ProducerError):
    """The spool's directory cannot be used for this gateway."""


class SpoolFullError(ProducerError):
    """There is no room on disk for what was handed over; nothing of it was accepted."""
