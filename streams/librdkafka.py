"""A consumer on the librdkafka that confluent-kafka ships, whose records go into arrays without a Python object each.

The Python client makes several objects a record, which costs more than fetching it. Here a batch is copied by a compiled loop.
Only what a fetcher needs is bound; settings are librdkafka's, as text.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Mapping, Sequence
from ctypes import c_char_p, c_int, c_int32, c_int64, c_size_t, c_ssize_t, c_void_p
from functools import cache
from pathlib import Path
from typing import Any

import confluent_kafka
import numpy as np
from confluent_kafka import KafkaError

from schemas.codec import ARROW, JSON
from schemas.packed import Packed, address_of
from streams.intake import Arrival, Event, Records, Source

_CONSUMER = 1
_NO_ERROR = 0
_TYPES = (None, JSON, ARROW)
_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "rd_kafka_conf_new": (c_void_p, []),
    "rd_kafka_conf_set": (c_int, [c_void_p, c_char_p, c_char_p, c_char_p, c_size_t]),
    "rd_kafka_conf_destroy": (None, [c_void_p]),
    "rd_kafka_new": (c_void_p, [c_int, c_void_p, c_char_p, c_size_t]),
    "rd_kafka_poll_set_consumer": (c_int, [c_void_p]),
    "rd_kafka_queue_get_consumer": (c_void_p, [c_void_p]),
    "rd_kafka_queue_destroy": (None, [c_void_p]),
    "rd_kafka_consumer_close": (c_int, [c_void_p]),
    "rd_kafka_destroy": (None, [c_void_p]),
    "rd_kafka_topic_partition_list_new": (c_void_p, [c_int]),
    "rd_kafka_topic_partition_list_add": (c_void_p, [c_void_p, c_char_p, c_int32]),
    "rd_kafka_topic_partition_list_set_offset": (c_int, [c_void_p, c_char_p, c_int32, c_int64]),
    "rd_kafka_topic_partition_list_destroy": (None, [c_void_p]),
    "rd_kafka_incremental_assign": (c_void_p, [c_void_p, c_void_p]),
    "rd_kafka_incremental_unassign": (c_void_p, [c_void_p, c_void_p]),
    "rd_kafka_pause_partitions": (c_int, [c_void_p, c_void_p]),
    "rd_kafka_resume_partitions": (c_int, [c_void_p, c_void_p]),
    "rd_kafka_error_string": (c_char_p, [c_void_p]),
    "rd_kafka_error_destroy": (None, [c_void_p]),
    "rd_kafka_consume_batch_queue": (c_ssize_t, [c_void_p, c_int, c_void_p, c_size_t]),
    "rd_kafka_topic_name": (c_char_p, [c_void_p]),
    "rd_kafka_err2str": (c_char_p, [c_int]),
    "rd_kafka_message_headers": (c_int, [c_void_p, c_void_p]),
    "rd_kafka_header_get_last": (c_int, [c_void_p, c_char_p, c_void_p, c_void_p]),
}


@cache
def library_path() -> Path | None:
    """Return the shared library that confluent-kafka has loaded, None where it cannot be found."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.with_name("confluent_kafka.libs"), package / ".dylibs", package]
    found = [path for place in places for path in sorted(place.glob("librdkafka*")) if path.is_file()]
    plain = [path for path in found if "++" not in path.name]
    return plain[0] if plain and sys.byteorder == "little" and sys.maxsize > 2**32 else None


class ConsumerError(Exception):
    """librdkafka refused a setting or a call."""


class NativeIntake:
    """Implements ``streams.intake.Intake`` on librdkafka itself. For use by one thread.

    Raises ConsumerError for settings that librdkafka refuses.
    """

    def __init__(self, settings: Mapping[str, str | int | bool]) -> None:
        from streams import librdkafka_kernel

        self._kernel = librdkafka_kernel
        self._library = _bound()
        self._handle = self._open(settings)
        self._queue = self._library.rd_kafka_queue_get_consumer(self._handle)
        self._pointers = np.empty(0, np.int64)

    def assign(self, source: Source, position: int) -> None:
        """Fetch a partition from a position on."""
        self._settle(self._library.rd_kafka_incremental_assign, source, position)

    def unassign(self, source: Source) -> None:
        """Stop fetching a partition."""
        self._settle(self._library.rd_kafka_incremental_unassign, source)

    def pause(self, source: Source) -> None:
        """Hold a partition back."""
        self._with_list(self._library.rd_kafka_pause_partitions, source)

    def resume(self, source: Source) -> None:
        """Let a partition go on."""
        self._with_list(self._library.rd_kafka_resume_partitions, source)

    def consume(self, limit: int, wait: float) -> Iterator[Arrival]:
        """Wait for up to ``limit`` records and yield them by partition, with events at their place and ends of partitions last."""
        if len(self._pointers) < limit:
            self._pointers = np.empty(limit, np.int64)
        count = self._library.rd_kafka_consume_batch_queue(
            self._queue, int(wait * 1000), address_of(self._pointers), limit
        )
        messages = self._pointers[: max(count, 0)]
        try:
            yield from self._arrivals(self._kernel.ends_last(messages.copy(), KafkaError._PARTITION_EOF))
        finally:
            self._kernel.destroy(messages)

    def close(self) -> None:
        """Leave and free what librdkafka holds."""
        self._library.rd_kafka_queue_destroy(self._queue)
        self._library.rd_kafka_consumer_close(self._handle)
        self._library.rd_kafka_destroy(self._handle)

    # --- records

    def _arrivals(self, messages: Any) -> Iterator[Arrival]:
        while len(messages):
            group, sources, totals, count, stop = self._kernel.sort(messages)
            if stop:
                yield from self._records(messages[:stop], group, sources[:count], totals[:count])
            messages = messages[stop:]
            while len(messages) and self._kernel.facts(messages[0])[0]:
                yield self._event(int(messages[0]))
                messages = messages[1:]

    def _records(self, messages: Any, group: Any, sources: Any, totals: Any) -> list[Records]:
        table = np.zeros((len(totals), self._kernel.COLUMNS), np.int64)
        packs = [_Pack(row.tolist(), out) for row, out in zip(totals, table, strict=True)]
        self._kernel.pack(messages, group, table)
        return [
            pack.records((self._topic(topic), partition), self._content_type)
            for pack, (topic, partition) in zip(packs, sources.tolist(), strict=True)
        ]

    def _topic(self, pointer: int) -> str:
        name: bytes = self._library.rd_kafka_topic_name(pointer)
        return name.decode()

    def _content_type(self, message: int) -> str:
        headers, value, size = c_void_p(), c_void_p(), c_size_t()
        self._library.rd_kafka_message_headers(message, ctypes.byref(headers))
        self._library.rd_kafka_header_get_last(
            headers, b"content-type", ctypes.byref(value), ctypes.byref(size)
        )
        text = ctypes.string_at(value, size.value) if value.value else b""
        return text.decode("ascii", "replace")

    def _event(self, message: int) -> Event:
        code, topic, partition, offset = self._kernel.facts(message)
        text: bytes = self._library.rd_kafka_err2str(int(code))
        name = self._topic(int(topic)) if topic else ""
        return Event((name, int(partition)), int(offset), int(code), text.decode())

    # --- calls

    def _open(self, settings: Mapping[str, str | int | bool]) -> int:
        library, reason = self._library, ctypes.create_string_buffer(512)
        configuration = library.rd_kafka_conf_new()
        for name, value in settings.items():
            text = str(value).lower() if isinstance(value, bool) else str(value)
            if library.rd_kafka_conf_set(configuration, name.encode(), text.encode(), reason, 512):
                library.rd_kafka_conf_destroy(configuration)
                raise ConsumerError(reason.value.decode())
        handle: int | None = library.rd_kafka_new(_CONSUMER, configuration, reason, 512)
        if not handle:
            library.rd_kafka_conf_destroy(configuration)
            raise ConsumerError(reason.value.decode())
        library.rd_kafka_poll_set_consumer(handle)
        return handle

    def _settle(self, call: Any, source: Source, position: int | None = None) -> None:
        error = self._with_list(call, source, position)
        if error:
            text: bytes = self._library.rd_kafka_error_string(error)
            self._library.rd_kafka_error_destroy(error)
            raise ConsumerError(f"{source[0]}[{source[1]}]: {text.decode()}")

    def _with_list(self, call: Any, source: Source, position: int | None = None) -> Any:
        library, (topic, partition) = self._library, source
        listed = library.rd_kafka_topic_partition_list_new(1)
        library.rd_kafka_topic_partition_list_add(listed, topic.encode(), partition)
        if position is not None:
            library.rd_kafka_topic_partition_list_set_offset(listed, topic.encode(), partition, position)
        try:
            return call(self._handle, listed)
        finally:
            library.rd_kafka_topic_partition_list_destroy(listed)


class _Pack:
    """The arrays that one partition's records are copied to; ``table`` gets their addresses."""

    def __init__(self, totals: Sequence[int], table: Any) -> None:
        count, value_bytes, key_bytes = totals
        self._values, self._keys = np.empty(value_bytes, np.uint8), np.empty(key_bytes, np.uint8)
        self._integers = np.empty((6, count), np.int64)
        self._kinds = np.empty(count, np.int64)
        self._messages = np.empty(count, np.int64)
        arrays: Sequence[Any] = (self._values, self._keys, *self._integers, self._kinds, self._messages)
        table[: len(arrays)] = [address_of(array) for array in arrays]

    def records(self, source: Source, content_type: Any) -> Records:
        offsets, times, value_start, value_size, key_start, key_size = self._integers
        keys = Packed(self._keys, key_start, key_size)
        values = Packed(self._values, value_start, value_size)
        return Records(source, offsets, times, keys, values, self._content_types(content_type))

    def _content_types(self, content_type: Any) -> list[str | None] | None:
        if int(self._kinds.max(initial=0)) <= 1:
            return None
        named = zip(self._kinds.tolist(), self._messages.tolist(), strict=True)
        return [_TYPES[kind] if kind < len(_TYPES) else content_type(message) for kind, message in named]


@cache
def _bound() -> Any:
    path = library_path()
    if path is None:
        raise ConsumerError("librdkafka's shared library is not where confluent-kafka keeps it")
    library = ctypes.CDLL(str(path))
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
