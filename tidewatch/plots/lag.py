"""Lag over a few looks at the cluster, one line for each partition of a group."""

from __future__ import annotations

from typing import Any

from tidewatch.monitor.history import History
from tidewatch.plots.canvas import NothingToPlotError, moment


def draw(plt: Any, history: History) -> Any:
    """Return a figure of records behind over time, one panel a group. Raises NothingToPlotError for no groups."""
    groups = sorted({group for group, _, _ in history.looks})
    if not groups:
        raise NothingToPlotError("no group has committed a position; is a worker running?")
    figure, axes = plt.subplots(len(groups), 1, figsize=(9, 2.6 * len(groups)), squeeze=False, sharex=True)
    for axis, group in zip(axes.flat, groups, strict=True):
        for (name, topic, partition), looks in sorted(history.looks.items()):
            if name == group:
                times = [moment(look.time * 1000) for look in looks]
                lag = [look.lag for look in looks]
                axis.plot(times, lag, marker=".", linewidth=1.2, label=f"{topic}[{partition}]")
        axis.set_title(f"{group}: records behind")
        axis.set_ylim(bottom=0)
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False, fontsize=7)
    figure.autofmt_xdate()
    return figure
