"""A Tidewatch worker on the declaration of another scenario: BOOTSTRAP SOURCE RESULTS NAME SCENARIO."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

from benchmarks.alone import run_alone
from benchmarks.families import DECLARED, families
from streams.stages import AnyPipeline, stages_of
from tidewatch.warm import warm_up
from tidewatch.worker import config_of, run_worker

WARM_EVENTS = 20_000


def declaration(scenario: str, source: str, results: str) -> AnyPipeline:
    """Return what a scenario, such as ``nexmark-q5``, declares for these topics."""
    return DECLARED[scenario](source, results)


def warm(scenario: str) -> None:
    """Compile what a worker on this scenario runs: with any events, and with some of its own."""
    declare = DECLARED[scenario]
    warm_up(stages_of(declare("source", "results"), 4))
    some: Any = families()[scenario].make(WARM_EVENTS)
    run_alone(declare, replace(some, partitions=1))


def main() -> None:
    """Run until told to stop, or only compile the loops if told ``warm SCENARIO``."""
    if sys.argv[1] == "warm":
        warm(sys.argv[2])
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
