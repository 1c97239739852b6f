"""The Faust app of one worker: membership, assignment and agents around the engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import faust
from faust.types import TP

from streams.engine import Engine
from streams.fetcher import Delivery
from streams.loop_lag import watch_lag
from streams.security import security_of
from streams.transport import BATCH_CODEC

POSITIONS_EVERY = 1.0
PARTITIONS_EVERY = 5.0


def create_app(engine: Engine, *, datadir: str) -> faust.App:
    """Return a Faust app whose agents feed the engine with partition batches."""
    config = engine.config
    servers = str(config.connection["bootstrap.servers"]).replace(",", ";")
    app = faust.App(
        config.app_id,
        broker=[f"kafka://{server}" for server in servers.split(";")],
        broker_consumer=[f"tidewatch://{server}" for server in servers.split(";")],
        broker_credentials=credentials(config.connection),
        broker_session_timeout=config.session_timeout,
        broker_heartbeat_interval=max(config.session_timeout / 10, 0.2),
        broker_rebalance_timeout=1.5 * config.session_timeout
        + 2,  # the others stand still until the slowest has joined
        broker_max_poll_interval=2 * config.session_timeout,  # the member never looks idle, see the transport
        topic_allow_declare=False,
        topic_disable_leader=True,
        store="memory://",
        stream_wait_empty=False,
        web_enabled=False,
        datadir=datadir,
    )
    app.conf.web_enabled = False
    app.engine = engine
    for stage in engine.stages:
        _agent(app, engine, stage.topic)

    @app.timer(POSITIONS_EVERY)
    async def publish_positions() -> None:
        positions = {TP(*source): position for source, position in engine.committed().items()}
        await app.consumer.publish_positions(
            {
                tp: (position, engine.note(tp.partition))
                for tp, position in positions.items()
                if tp in app.consumer.assignment()
            }
        )

    @app.timer(PARTITIONS_EVERY)
    async def watch_partitions() -> None:
        await engine.check_partitions()

    @app.task
    async def watch_loop() -> None:
        await watch_lag(engine.loop_lagged, config.monotonic)

    return app


def _agent(app: Any, engine: Engine, topic: str) -> None:
    channel = app.topic(topic, key_serializer=BATCH_CODEC, value_serializer=BATCH_CODEC)

    @app.agent(channel, name=f"take-{topic}")
    async def take(deliveries: Any) -> None:
        delivery: Delivery
        async for delivery in deliveries:
            engine.submit(delivery)


def credentials(connection: Mapping[str, str | int]) -> Any:
    """Translate librdkafka's security properties for Faust; ``None`` for a plain connection."""
    security = security_of(connection)
    if security.mechanism is not None:
        return faust.SASLCredentials(
            mechanism=security.mechanism,
            username=security.username,
            password=security.password,
            ssl_context=security.context,
        )
    return None if security.context is None else faust.SSLCredentials(security.context)
