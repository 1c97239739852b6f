"""A Tidewatch worker as it is, but for its topics and a state checkpoint every second: BOOTSTRAP SOURCE RESULTS NAME WORKERS."""

from __future__ import annotations

import sys

from schemas.event_types import SENSOR_READING
from streams.pipeline import Pipeline, Tumbling
from streams.stages import stages_of
from tidewatch.cli.shared import say, stop_event
from tidewatch.supervisor import Supervisor
from tidewatch.warm import warm_up
from tidewatch.worker import config_of, run_worker


def pipeline(source: str, results: str) -> Pipeline:
    """Return the measured pipeline: all aggregates and the sketch of each sensor's ten seconds."""
    return Pipeline(
        name="bench",
        source=source,
        event=SENSOR_READING,
        group_by=("sensor_id",),
        window=Tumbling(10_000),
        results=results,
        alerts=f"{source}.alert",
        idle_timeout_ms=None,
    )


def main() -> None:
    """Run until told to stop, or only compile the loops if told ``warm``."""
    if sys.argv[1:] == ["warm"]:
        warm_up(stages_of(pipeline("source", "results"), 4))
        return
    bootstrap, source, results, name, workers = sys.argv[1:6]
    if int(workers) > 1:
        one = [sys.executable, "-m", "benchmarks.peers.tidewatch_worker", *sys.argv[1:5], "1"]
        raise SystemExit(Supervisor([one] * int(workers), say).run(stop_event()))
    config = config_of(name, {"bootstrap.servers": bootstrap}, state_interval=1.0)
    sys.argv = sys.argv[:1]
    run_worker(
        config, [pipeline(source, results)], metrics_port=0, metrics_host="127.0.0.1", log_level="warning"
    )


if __name__ == "__main__":
    main()
