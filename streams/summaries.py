"""From closed windows to the summaries that are published."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from schemas.results import WindowSummary
from streams.frames import Firing
from streams.groups import Groups
from streams.sketches.codes import encode_many, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.task import Output


class Summaries:
    """Makes the summaries of one pipeline or roll-up, named ``name`` in their ids."""

    def __init__(self, name: str, groups: Groups, mapping: LogMapping, levels: Sequence[float]) -> None:
        self._name, self._groups, self._mapping = name, groups, mapping
        self._levels = np.array(levels)
        self._level_names = [f"{level:g}" for level in levels]
        self._encode = msgspec.json.Encoder().encode

    def of(self, firing: Firing) -> list[Output]:
        """Return one result for each group of the windows, in their order."""
        groups, names, closed = self._groups, self._level_names, firing.closed
        low, high = closed.floats["min"], closed.floats["max"]
        levels = quantiles_many(
            self._mapping, closed.indptr, closed.codes, closed.counts, low, high, self._levels
        ).tolist()
        sketches = encode_many(self._mapping, closed.indptr, closed.codes, closed.counts)
        aggregates = zip(
            firing.start.tolist(), firing.end.tolist(), firing.revision.tolist(), closed.group.tolist(),
            closed.count.tolist(), closed.floats["sum"].tolist(), closed.mean.tolist(),
            closed.variance.tolist(), low.tolist(), high.tolist(), closed.floats["first"].tolist(),
            closed.floats["last"].tolist(), strict=True,
        )  # fmt: skip
        outputs = []
        for i, row in enumerate(aggregates):
            start, end, revision, group, count, total, mean, variance, lowest, highest, first, last = row
            name = groups.names[group]
            summary = WindowSummary(
                id=f"{self._name}|{name}|{start}|{end}|{revision}",
                pipeline=self._name,
                group=name,
                labels=groups.labels(group),
                start=start,
                end=end,
                revision=revision,
                count=count,
                sum=total,
                mean=mean,
                variance=variance,
                min=lowest,
                max=highest,
                first=first,
                last=last,
                quantiles=dict(zip(names, levels[i], strict=True)),
                alpha=self._mapping.alpha,
                sketch=sketches[i],
            )
            outputs.append(Output("result", groups.keys[group], self._encode(summary)))
        return outputs
