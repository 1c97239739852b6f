"""The few kinds of panel that all dashboards are made of, each with unit, description and one data source variable."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as models
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Query = tuple[str, str]
"""A PromQL expression and its legend."""

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
INSTANCE = 'instance=~"$instance"'
DOCS = "http://localhost:8000/"  # where `mkdocs serve` shows them; the variable takes another address

Step = tuple[float | None, str]


def dashboard(title: str, uid: str, description: str, tags: Sequence[str] = ()) -> build.Dashboard:
    """Return an empty dashboard with the variables that every one has."""
    source = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    docs = build.TextBoxVariable("docs").label("Docs").default_value(DOCS)
    board = build.Dashboard(title).uid(uid).description(description).tags(["tidewatch", *tags])
    board = board.refresh("10s").time("now-30m", "now").timezone("browser").readonly()
    board = board.tooltip(model.DashboardCursorSync.CROSSHAIR).with_variable(source).with_variable(docs)
    others = build.DashboardLink("Tidewatch").as_dropdown(True).type(model.DashboardLinkType.DASHBOARDS)
    runbooks = build.DashboardLink("Runbooks").type(model.DashboardLinkType.LINK).url("${docs}runbooks/")
    return board.links([others.tags(["tidewatch"]).keep_time(True), runbooks.target_blank(True)])


def variable(name: str, label: str, metric: str, of: str, *, many: bool = True) -> build.QueryVariable:
    """Return a variable that offers the values of a label: all of them chosen at first, or one."""
    found = build.QueryVariable(name).label(label).datasource(SOURCE).query(f"label_values({metric}, {of})")
    found = found.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        model.VariableSort.ALPHABETICAL_ASC
    )
    if not many:
        return found
    return found.multi(True).include_all(True).current(model.VariableOption(text="All", value="$__all"))


def tile(
    title: str,
    description: str,
    query: str,
    unit: str,
    steps: Sequence[Step],
    *,
    width: int = 4,
    mode: Literal["background", "value"] = "background",
) -> stat.Panel:
    """Return one number with its short history; ``steps`` are (from, colour), the first from ``None``."""
    colour = models.BigValueColorMode.BACKGROUND if mode == "background" else models.BigValueColorMode.VALUE
    panel = stat.Panel().title(title).description(description).datasource(SOURCE).unit(unit)
    panel = panel.with_target(_target(query, "", "A").instant()).thresholds(_thresholds(steps))
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).color_mode(colour)
    return panel.graph_mode(models.BigValueGraphMode.NONE).no_value("no data").height(4).span(width)


def lines(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    width: int = 12,
    stacked: bool = False,
    low: float | None = 0.0,
    steps: Sequence[Step] = (),
) -> timeseries.Panel:
    """Return a chart over time."""
    panel = timeseries.Panel().title(title).description(description).datasource(SOURCE).unit(unit)
    for number, (query, legend) in enumerate(queries):
        panel = panel.with_target(_target(query, legend, chr(ord("A") + number)))
    panel = panel.legend(_legend()).tooltip(_tooltip()).line_width(1).height(8).span(width)
    panel = panel.show_points(models.VisibilityMode.NEVER).fill_opacity(25 if stacked else 5)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(models.StackingMode.NORMAL))
    if low is not None:
        panel = panel.min(low)
    if steps:
        line = common.GraphThresholdsStyleConfig().mode(models.GraphThresholdsStyleMode.DASHED)
        panel = panel.thresholds(_thresholds(steps)).thresholds_style(line)
    return panel


def fan(
    title: str, description: str, quantiles: Sequence[Query], unit: str, *, width: int = 12
) -> timeseries.Panel:
    """Return a quantile fan: an odd number of queries from low to high, the outer ones filled to their counterparts."""
    panel = lines(title, description, quantiles, unit, width=width, low=None).fill_opacity(0)
    legends = [legend for _, legend in quantiles]
    for low, high in zip(legends[: len(legends) // 2], reversed(legends), strict=False):
        properties = [
            model.DynamicConfigValue("custom.fillBelowTo", low),
            model.DynamicConfigValue("custom.fillOpacity", 15),
            model.DynamicConfigValue("custom.lineWidth", 0),
            model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "blue"}),
        ]
        panel = panel.override_by_name(high, properties)
        panel = panel.override_by_name(low, properties[2:])
    middle = [
        model.DynamicConfigValue("custom.lineWidth", 2),
        model.DynamicConfigValue("color", {"mode": "fixed", "fixedColor": "dark-blue"}),
    ]
    return panel.override_by_name(legends[len(legends) // 2], middle)


def heat(title: str, description: str, query: str, unit: str, *, width: int = 12) -> heatmap.Panel:
    """Return a heatmap of buckets (``le``) over time."""
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32)
    panel = heatmap.Panel().title(title).description(description).datasource(SOURCE)
    target = _target(query, "{{le}}", "A").format(PromQueryFormat.HEATMAP)
    panel = panel.with_target(target).calculate(False).color(colours).height(8).span(width)
    return panel.y_axis(heatmap.YAxisConfig().unit(unit)).tooltip(
        heatmap.HeatmapTooltip().mode(models.TooltipDisplayMode.SINGLE).y_histogram(True)
    )


def _target(query: str, legend: str, name: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query).ref_id(name).datasource(SOURCE)
    return target.legend_format(legend) if legend else target


def _thresholds(steps: Sequence[Step]) -> build.ThresholdsConfig:
    found = [model.Threshold(value, colour) for value, colour in steps]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(found)


def _legend() -> common.VizLegendOptions:
    shown = common.VizLegendOptions().display_mode(models.LegendDisplayMode.LIST)
    return shown.placement(models.LegendPlacement.BOTTOM).show_legend(True)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(models.TooltipDisplayMode.MULTI).sort(models.SortOrder.DESCENDING)
