"""Quantile fans over time, one for each site: the windows' sketches of all of its groups merged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from schemas.results import WindowSummary
from tidewatch.monitor.site_values import LEVELS, SiteValue, merged
from tidewatch.plots.canvas import BLUE, NothingToPlotError, moment

Series = Mapping[str, list[SiteValue]]


def by_site(summaries: Iterable[WindowSummary], quantity: str) -> dict[str, list[SiteValue]]:
    """Return each site's values of a quantity in order of time; of two revisions of a window the higher counts.

    Raises NothingToPlotError when there is none.
    """
    newest: dict[tuple[str, int, int], dict[str, WindowSummary]] = defaultdict(dict)
    quantities = set()
    for summary in summaries:
        quantities.add(summary.labels.get("quantity", ""))
        site = summary.labels.get("site")
        if site and summary.labels.get("quantity") == quantity:
            held = newest[site, summary.end, summary.start]
            before = held.get(summary.group)
            if before is None or before.revision <= summary.revision:
                held[summary.group] = summary
    if not newest:
        there = ", ".join(sorted(quantities - {""})) or "none at all"
        raise NothingToPlotError(f"no windows of {quantity!r} with a site; there are: {there}")
    found: dict[str, list[SiteValue]] = defaultdict(list)
    for site, end, start in sorted(newest):
        found[site].append(merged(newest[site, end, start].values()))
    return dict(found)


def draw(plt: Any, series: Series, quantity: str) -> Any:
    """Return a figure of one fan a site: 5 to 95% and 25 to 75% shaded, the median as a line."""
    count = len(series)
    columns = min(count, 2)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(5.2 * columns, 2.4 * rows), sharex=True, sharey=True, squeeze=False
    )
    for axis, (site, values) in zip(axes.flat, sorted(series.items()), strict=False):
        _fan(axis, values)
        axis.set_title(site)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    figure.suptitle(f"{quantity} by site: median, 25–75%, 5–95%", x=0.01, ha="left")
    figure.autofmt_xdate()
    return figure


def _fan(axis: Any, values: list[SiteValue]) -> None:
    times = [moment(value.end) for value in values]
    levels = list(zip(*(value.quantiles for value in values), strict=True))
    for low, high, alpha in ((0, -1, 0.2), (1, -2, 0.35)):
        axis.fill_between(times, levels[low], levels[high], color=BLUE, alpha=alpha, linewidth=0)
    axis.plot(times, levels[len(LEVELS) // 2], color=BLUE, linewidth=1.4)
    if len(times) == 1:
        axis.plot(times, levels[len(LEVELS) // 2], "o", color=BLUE)
