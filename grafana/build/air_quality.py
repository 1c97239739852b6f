"""What the sensors say: distributions by site over time, and the alerts."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard as build

from grafana.build.panels import SOURCE, dashboard, fan, heat, lines, tile, variable
from tidewatch.monitor.site_values import LEVELS

CHOSEN = 'site=~"$site", quantity="$quantity"'


def air_quality() -> build.Dashboard:
    """Return the dashboard."""
    board = dashboard(
        "Air quality / sensors",
        "tidewatch-sensors",
        "Quantile fans and distributions of what sensors measure, by site, from mergeable sketches.",
    )
    board = board.with_variable(
        variable("quantity", "Quantity", "tidewatch_site_mean", "quantity", many=False)
    )
    board = board.with_variable(variable("site", "Site", "tidewatch_site_mean", "site"))
    board = board.annotation(_alerts())
    return _distributions(_tiles(board))


def _alerts() -> build.AnnotationQuery:
    opened = "sum by (rule, severity) (tidewatch_alerts_open) > sum by (rule, severity) (tidewatch_alerts_open offset 30s) or "
    opened += "sum by (rule, severity) (tidewatch_alerts_open) unless sum by (rule, severity) (tidewatch_alerts_open offset 30s)"
    query = build.AnnotationQuery().name("Alerts").datasource(SOURCE).enable(True).icon_color("red")
    return query.expr(opened).step("30s").title_format("{{rule}}").text_format("{{severity}}")


def _distributions(board: build.Dashboard) -> build.Dashboard:
    quantiles = [
        (f'avg by (site) (tidewatch_site_quantile{{{CHOSEN}, quantile="{level:g}"}})', f"p{level * 100:g}")
        for level in LEVELS
    ]
    each = fan(
        "$site",
        "Quantiles over the site's sensors in each window. Shaded: 5 to 95% and 25 to 75%; line: median.",
        quantiles,
        "none",
        width=12,
    )
    return (
        board.with_row(build.Row("By site"))
        .with_panel(each.repeat("site").max_per_row(2))
        .with_row(build.Row("All sites"))
        .with_panel(
            heat(
                "Distribution",
                "Readings of all sites by value, in each window.",
                'sum by (le) (tidewatch_quantity_readings{quantity="$quantity"})',
                "none",
            )
        )
        .with_panel(
            lines(
                "Median by site",
                "Median of the site's readings in the latest complete window.",
                [(f'tidewatch_site_quantile{{{CHOSEN}, quantile="0.5"}}', "{{site}} {{quantity}}")],
                "none",
                low=None,
            )
        )
        .with_panel(
            lines(
                "Readings by site",
                "Readings in the latest complete window.",
                [(f"tidewatch_site_readings{{{CHOSEN}}}", "{{site}} {{quantity}}")],
                "short",
            )
        )
        .with_panel(
            lines(
                "Open alerts by rule",
                "Alerts open now, by rule and severity.",
                [("sum by (rule, severity) (tidewatch_alerts_open)", "{{rule}} ({{severity}})")],
                "short",
                stacked=True,
            )
        )
    )


def _tiles(board: build.Dashboard) -> build.Dashboard:
    age = "time() - max(tidewatch_site_window_end_timestamp_seconds)"
    return (
        board.with_panel(
            tile(
                "Sites",
                "Sites with values.",
                "count(count by (site) (tidewatch_site_mean))",
                "short",
                [(None, "blue")],
                width=6,
                mode="value",
            )
        )
        .with_panel(
            tile(
                "Open alerts",
                "All rules, all sites.",
                "sum(tidewatch_alerts_open) or vector(0)",
                "short",
                [(None, "green"), (1, "yellow")],
                width=6,
            )
        )
        .with_panel(
            tile(
                "Critical",
                "Open alerts of severity critical.",
                'sum(tidewatch_alerts_open{severity="critical"}) or vector(0)',
                "short",
                [(None, "green"), (1, "red")],
                width=6,
            )
        )
        .with_panel(
            tile(
                "Age of the latest window",
                "Wall clock less the end of the latest complete window; large where history is replayed.",
                age,
                "s",
                [(None, "blue")],
                width=6,
                mode="value",
            )
        )
    )
