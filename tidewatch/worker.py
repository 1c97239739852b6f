"""Runs one worker process: preflight, metrics port, engine and Faust app, until it is told to stop."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from pydantic import SecretStr

from schemas.topics import RULES_TOPIC
from streams.app import create_app
from streams.config import EngineConfig, Stage
from streams.engine import Engine
from streams.errors import EngineError
from streams.metrics import Metrics
from streams.pipeline import Pipeline
from streams.preflight import canary_partitions, prepare
from streams.rules_feed import RuleBook, RulesFeed
from streams.seals import REMEDY, VARIABLE, SealKeysError, Seals
from streams.stages import AnyPipeline, stages_of
from tidewatch.warm import warm_up

EXIT_REFUSED = 3


def say(text: str) -> None:
    """Tell the person at the terminal."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def run_worker(
    config: EngineConfig,
    pipelines: Sequence[AnyPipeline],
    *,
    metrics_port: int,
    metrics_host: str,
    log_level: str,
) -> None:
    """Run a worker on the calling thread; leaves the process with code 0 when stopped, 3 when it refuses to go on.

    Delivery: effectively once, see ``docs/semantics.md``.
    """
    try:
        partitions = prepare(config, [stage for p in pipelines for stage in stages_of(p, 1)], say)
    except EngineError as error:
        say(str(error))
        raise SystemExit(EXIT_REFUSED) from error
    config = replace(config, canary_partitions=canary_partitions(AdminClient(dict(config.connection))))
    stages = [stage for pipeline in pipelines for stage in stages_of(pipeline, partitions)]
    _say_unsealed(config, stages)
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    server, _ = start_http_server(metrics_port, addr=metrics_host, registry=registry)
    say(f"metrics on http://{metrics_host}:{server.server_port}/metrics")
    warm_up(stages)
    # What is loaded now lives as long as the process; collecting it again and again would stall every partition.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    # The threads of a busy partition and of the event loop let the others' commits go on after half a millisecond, not five.
    sys.setswitchinterval(0.0005)
    engine = Engine(config, stages, partitions, Metrics(registry), _refuse)
    _follow_rules(config, pipelines, engine)
    with tempfile.TemporaryDirectory(prefix="tidewatch-worker-") as directory:
        app = create_app(engine, datadir=directory)
        app.Worker(loglevel=log_level.upper(), redirect_stdouts=False).execute_from_commandline()


def _say_unsealed(config: EngineConfig, stages: Sequence[Stage]) -> None:
    private = sorted(stage.topic for stage in stages if stage.private)
    if private and config.seals is None:
        say(
            f"checkpoints keep facts of patients from {', '.join(private)} by pseudonym, unsealed: "
            f"set {VARIABLE} to seal them ({REMEDY})"
        )


def seals_of(keys: SecretStr | None) -> Seals | None:
    """Return the seals of the configured keys, None without any; leaves the process with code 3 where they are none."""
    try:
        return Seals.of(keys.get_secret_value()) if keys is not None and keys.get_secret_value() else None
    except SealKeysError as error:
        say(str(error))
        raise SystemExit(EXIT_REFUSED) from error


def _follow_rules(config: EngineConfig, pipelines: Sequence[AnyPipeline], engine: Engine) -> None:
    """Begin to follow live rules, those already there first."""
    if RULES_TOPIC not in AdminClient(dict(config.connection)).list_topics(timeout=30).topics:
        say(f"no live rules: {RULES_TOPIC} is not there; 'tidewatch topics create' makes it")
        return
    books = {
        pipeline.name: RuleBook(pipeline.name, pipeline.rules)
        for pipeline in pipelines
        if isinstance(pipeline, Pipeline)
    }
    feed = RulesFeed(config.connection, RULES_TOPIC, books, engine.change_rules)
    feed.start()
    feed.caught_up.wait(30)


def _refuse(error: BaseException) -> None:
    say(str(error))
    os._exit(EXIT_REFUSED)  # a Faust worker that is still starting cannot be stopped in order


def config_of(
    app_id: str, connection: Mapping[str, str | int], **options: float | str | bool | Seals | None
) -> EngineConfig:
    """Return the engine's settings for an app, defaults but for ``options``."""
    return EngineConfig(app_id, connection, **options)  # type: ignore[arg-type]
