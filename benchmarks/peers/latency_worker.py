"""A Tidewatch worker with a rule on rows, for latency: BOOTSTRAP SOURCE RESULTS NAME."""

from __future__ import annotations

import sys

from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.rules.threshold import Threshold
from tidewatch.worker import config_of, run_worker

COMMAND = [sys.executable, "-m", "benchmarks.peers.latency_worker"]
OUT_OF_ORDERNESS = 500
WINDOW = 2_000


def pipeline(source: str, results: str) -> Pipeline:
    """Return windows of two seconds by sensor, and an alert for every reading above 90."""
    return Pipeline(
        name="latency",
        source=source,
        event=SENSOR_READING,
        group_by=("sensor_id",),
        window=Tumbling(WINDOW),
        out_of_orderness_ms=OUT_OF_ORDERNESS,
        results=results,
        alerts=f"{source}.alert",
        rules=(Threshold(name="hot", above=90.0),),
    )


def main() -> None:
    """Run until told to stop."""
    bootstrap, source, results, name = sys.argv[1:5]
    config = config_of(name, {"bootstrap.servers": bootstrap})
    sys.argv = sys.argv[:1]
    run_worker(
        config, [pipeline(source, results)], metrics_port=0, metrics_host="127.0.0.1", log_level="warning"
    )


if __name__ == "__main__":
    main()
