"""The command line, the settings, the local Kafka and the demo; `read` is for notebooks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read"]


def read(
    source: str | Path,
    *,
    newest: bool = False,
    since: datetime | None = None,
    like: str | None = None,
    connection: Mapping[str, str | int] | None = None,
    keys: Path | None = None,
) -> pd.DataFrame:
    """Read a topic, up to the end it has now, or an archive into a DataFrame.

    ``source`` is the name of a topic, or the path of a topic's directory (or of one file) in an archive made by
    ``tidewatch sink parquet``; a text with a ``/`` in it is a path. Rows are in order of partition and offset; times are UTC
    timestamps, numbers float64 in their canonical units, labels of results dicts.

    Events keep one row each, with a code in ``error`` where one could not be read. Results are given once by their id, even
    where a topic holds them twice after a reset; with ``newest`` only the last revision of each window and the last
    transition of each alert is kept, and records that are no results are left out. ``since`` keeps what was appended
    to the topic from then on (UTC where it has no zone). ``like`` names the catalogue's topic of the same kind for topics
    that are not in it. ``keys`` is the file of patients' keys that opens a sealed archive; what is of patients whose key was
    deleted stays null. ``connection`` holds librdkafka's settings, by default those of ``TIDEWATCH_*``.

    Reads committed records only, and leaves no trace in the cluster.

    Raises:
        sinks.errors.TopicError: there is no such topic or archive, it is empty, or nobody knows what it holds.
        tidewatch.settings.NoKafkaError, confluent_kafka.KafkaException: there is no Kafka, or it does not answer.
    """
    from tidewatch.reading import read_frame

    return read_frame(source, newest=newest, since=since, like=like, connection=connection, keys=keys)
