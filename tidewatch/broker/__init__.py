"""The local Kafka: Apache Kafka itself on a Java runtime from a wheel, no Java or Docker needed."""

from tidewatch.broker.cluster import LocalKafka, free_ports, start_brokers
from tidewatch.broker.errors import BrokerError, FetchError, StartError
from tidewatch.broker.node import Node
from tidewatch.broker.properties import Ports

__all__ = [
    "BrokerError",
    "FetchError",
    "LocalKafka",
    "Node",
    "Ports",
    "StartError",
    "free_ports",
    "start_brokers",
]
