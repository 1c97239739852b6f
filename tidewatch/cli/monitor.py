"""``tidewatch monitor``: lag, verdicts, replicas and values by site for Prometheus, from outside the workers."""

from __future__ import annotations

from typing import Annotated

import typer

from tidewatch.cli.shared import say, stop_event


def register(app: typer.Typer) -> None:
    """Add the verb to the command line."""
    app.command()(monitor)


def monitor(
    port: Annotated[int | None, typer.Option(help="Port of the metrics; 0 takes a free one.")] = None,
    interval: Annotated[float, typer.Option(min=0.1, help="Seconds between looks at the cluster.")] = 5.0,
    window: Annotated[
        float, typer.Option(help="Seconds of looks by which a group's progress is judged.")
    ] = 60.0,
    budget: Annotated[
        int, typer.Option(min=0, help="Most (pipeline, site, quantity) series of values to expose.")
    ] = 500,
    canary: Annotated[
        float, typer.Option(min=0, help="Seconds between canaries through every partition; 0 sends none.")
    ] = 5.0,
) -> None:
    """Watch the cluster from outside: lag and verdict of every group, replicas, values by site, open alerts, canaries.

    Example: tidewatch monitor --port 9101. Runs until stopped; a Kafka that goes away is asked again. See docs/metrics.md.
    """
    from tidewatch.monitor.run import run_monitor
    from tidewatch.settings import Settings

    settings = Settings()
    run_monitor(
        settings.connection(),
        host=settings.metrics_host,
        port=settings.metrics_port if port is None else port,
        interval=interval,
        window=window,
        budget=budget,
        canary=canary,
        stopping=stop_event(),
        say=say,
    )
