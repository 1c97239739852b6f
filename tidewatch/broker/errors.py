"""What can go wrong with the local Kafka, each with its remedy in the message."""


class BrokerError(Exception):
    """The local Kafka could not be fetched, started or found."""


class FetchError(BrokerError):
    """Apache Kafka's jars could not be fetched or do not have the pinned checksums."""


class StartError(BrokerError):
    """A broker ended, or did not answer, while it was being started."""
