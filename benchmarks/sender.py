"""A producer that is fast enough to load a worker: whole batches go to librdkafka at once.

The Python client sends some 100,000 records a second, a fifth of what a worker takes in.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from ctypes import c_char_p, c_int, c_int32, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
from numpy.typing import NDArray

from schemas.packed import Packed, address_of
from schemas.partitioning import partition_of

_PRODUCER, _COPY, _EACH_ITS_PARTITION = 0, 0x2, 0x8
_CAPACITY = 100_000  # librdkafka's default
# rd_kafka_message_t, whose layout is part of librdkafka's interface.
_MESSAGE = np.dtype(
    {
        "names": ["error", "partition", "value", "value_size", "key", "key_size"],
        "formats": [np.int32, np.int32, np.int64, np.int64, np.int64, np.int64],
        "offsets": [0, 16, 24, 32, 40, 48],
        "itemsize": 72,
    }
)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_topic_new": (c_void_p, [c_void_p, c_char_p, c_void_p]),
    "rd_kafka_produce_batch": (c_int, [c_void_p, c_int32, c_int, c_void_p, c_int]),
    "rd_kafka_poll": (c_int, [c_void_p, c_int]),
    "rd_kafka_outq_len": (c_int, [c_void_p]),
    "rd_kafka_flush": (c_int, [c_void_p, c_int]),
    "rd_kafka_topic_destroy": (None, [c_void_p]),
    "rd_kafka_destroy": (None, [c_void_p]),
}


class SendError(Exception):
    """librdkafka refused a setting or did not take or deliver every record."""


def library_path() -> Path:
    """Return the shared library that confluent-kafka has loaded.

    Raises:
        SendError: it is not where wheels keep it.
    """
    package = Path(confluent_kafka.__file__).parent
    places = [package.with_name("confluent_kafka.libs"), package / ".dylibs", package]
    found = [path for place in places for path in sorted(place.glob("librdkafka*")) if "++" not in path.name]
    if not found:
        raise SendError("librdkafka's shared library is not where confluent-kafka keeps it")
    return found[0]


class Sender:
    """Send batches of records to one topic, each at most once. For use by one thread."""

    def __init__(self, settings: Mapping[str, str | int], topic: str) -> None:
        self._library: Any = ctypes.CDLL(str(library_path()))
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments
        self._capacity = int(settings.get("queue.buffering.max.messages", _CAPACITY))
        reason = ctypes.create_string_buffer(512)
        configuration = self._library.rd_kafka_conf_new()
        for name, value in settings.items():
            if self._library.rd_kafka_conf_set(
                configuration, name.encode(), str(value).encode(), reason, 512
            ):
                raise SendError(reason.value.decode())
        self._handle = self._library.rd_kafka_new(_PRODUCER, configuration, reason, 512)
        if not self._handle:
            raise SendError(reason.value.decode())
        self._topic = self._library.rd_kafka_topic_new(self._handle, topic.encode(), None)

    def send_records(self, keys: Sequence[bytes], values: Sequence[bytes], partitions: int) -> None:
        """Queue records, each on the partition of its key by murmur2, once there is room for all of them."""
        key, value = Packed.of(keys), Packed.of(values)
        messages = np.zeros(len(keys), _MESSAGE)
        messages["partition"] = self._homes(keys, partitions)
        messages["value"], messages["value_size"] = value.address + value.start, value.size
        messages["key"], messages["key_size"] = key.address + key.start, key.size
        while self._library.rd_kafka_outq_len(self._handle) + len(messages) > self._capacity:
            self._library.rd_kafka_poll(self._handle, 20)
        taken = self._take(messages)
        if taken != len(messages):
            raise SendError(f"the queue took {taken} of {len(messages)} records")

    @staticmethod
    def _homes(keys: Sequence[bytes], partitions: int) -> NDArray[np.int32]:
        """Return the partition of each key; keys come again and again, so each is hashed once."""
        distinct = list(set(keys))
        home = dict(zip(distinct, partition_of(distinct, partitions).tolist(), strict=True))
        return np.fromiter(map(home.__getitem__, keys), np.int32, len(keys))

    def _take(self, messages: NDArray[np.void]) -> int:
        flags = _COPY | _EACH_ITS_PARTITION
        taken = self._library.rd_kafka_produce_batch(
            self._topic, -1, flags, address_of(messages), len(messages)
        )
        self._library.rd_kafka_poll(self._handle, 0)
        return int(taken)

    def flush(self, seconds: float) -> None:
        """Wait until every record is delivered or has failed."""
        if self._library.rd_kafka_flush(self._handle, int(seconds * 1000)):
            raise SendError(f"not everything was sent within {seconds} s")

    def close(self) -> None:
        """Free what librdkafka holds."""
        self._library.rd_kafka_topic_destroy(self._topic)
        self._library.rd_kafka_destroy(self._handle)
