"""The same windows on Quix Streams, run in its own environment: BOOTSTRAP SOURCE RESULTS NAME STATE_DIRECTORY.

At least once, as it comes: windows in RocksDB with a changelog topic, committed every five seconds. Windows are closed by the time
of their partition. By default it is each key's own time that closes them, for which every event searches RocksDB, and a key's last
window never closes: that is no way to use it where many keys share a partition.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import Any

from quixstreams import Application
from quixstreams.dataframe.windows import Count, Max, Mean, Min


def main() -> None:
    """Run until told to stop."""
    bootstrap, source, results, name, state = sys.argv[1:6]
    app = Application(
        broker_address=bootstrap,
        consumer_group=name,
        auto_offset_reset="earliest",
        state_dir=state,
        loglevel="WARNING",
    )
    readings = app.topic(
        source,
        key_deserializer="str",
        value_deserializer="json",
        timestamp_extractor=lambda value, _headers, _time, _kind: value["time"],
    )
    frame = (
        app.dataframe(readings)
        .tumbling_window(timedelta(seconds=10), grace_ms=timedelta(seconds=2))
        .agg(count=Count(), mean=Mean("value"), min=Min("value"), max=Max("value"))
        .final(closing_strategy="partition")
        .apply(_named, metadata=True)
    )
    frame.to_topic(app.topic(results, key_serializer="str", value_serializer="json"))
    app.run()


def _named(window: dict[str, Any], key: str, _timestamp: int, _headers: Any) -> dict[str, Any]:
    return {"sensor": key, **window}


if __name__ == "__main__":
    main()
