"""A Tidewatch worker on the declaration of another scenario: BOOTSTRAP SOURCE RESULTS NAME SCENARIO."""

from __future__ import annotations

import sys

from benchmarks.families import DECLARED
from streams.stages import AnyPipeline, stages_of
from tidewatch.warm import warm_up
from tidewatch.worker import config_of, run_worker


def declaration(scenario: str, source: str, results: str) -> AnyPipeline:
    """Return what a scenario, such as ``nexmark-q5``, declares for these topics."""
    return DECLARED[scenario](source, results)


def main() -> None:
    """Run until told to stop, or only compile the loops if told ``warm SCENARIO``."""
    if sys.argv[1] == "warm":
        warm_up(stages_of(declaration(sys.argv[2], "source", "results"), 4))
        return
    bootstrap, source, results, name, scenario = sys.argv[1:6]
    config = config_of(name, {"bootstrap.servers": bootstrap}, state_interval=1.0)
    sys.argv = sys.argv[:1]
    run_worker(
        config,
        [declaration(scenario, source, results)],
        metrics_port=0,
        metrics_host="127.0.0.1",
        log_level="warning",
    )


if __name__ == "__main__":
    main()
