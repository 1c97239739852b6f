"""From closed windows to the summaries that are published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import repeat

import msgspec
import numpy as np

from schemas.results import WindowSummary
from streams.extras import Value
from streams.frames import Firing
from streams.groups import Groups
from streams.sketches.codes import encode_many, quantiles_many
from streams.sketches.mapping import LogMapping
from streams.task import Output


def _levels_of(names: tuple[str, ...]) -> type[msgspec.Struct]:
    """Return a struct that takes one number for each level and is encoded like the dict of them, several times as fast."""
    fields = [(f"level_{i}", float) for i in range(len(names))]
    rename = {f"level_{i}": name for i, name in enumerate(names)}
    return msgspec.defstruct("Levels", fields, rename=rename, frozen=True, gc=False)


@cache
def _by_position() -> type[msgspec.Struct]:
    """Return a struct that is encoded like ``WindowSummary`` but takes its fields by position."""
    fields = [(field.name, object) for field in msgspec.structs.fields(WindowSummary)]
    return msgspec.defstruct("Summary", fields, frozen=True, gc=False)


class Summaries:
    """Makes the summaries of one pipeline or roll-up, named ``name`` in their ids."""

    def __init__(self, name: str, groups: Groups, mapping: LogMapping, levels: Sequence[float]) -> None:
        self._name, self._groups, self._mapping = name, groups, mapping
        self._levels = np.array(levels)
        self._levels_of = _levels_of(tuple(f"{level:g}" for level in levels))
        self._summary = _by_position()
        self._encode = msgspec.json.Encoder().encode

    def of(
        self,
        firing: Firing,
        late: Sequence[int] | None = None,
        extras: Sequence[Mapping[str, Value]] | None = None,
    ) -> list[Output]:
        """Return one result for each group of the windows, in their order; ``late`` rows of each were folded in."""
        groups, closed = self._groups, firing.closed
        # The smaller of 0 and -0 is either, by where it was looked for; adding 0 makes both 0.
        low, high = closed.floats["min"] + 0.0, closed.floats["max"] + 0.0
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
        n, times = len(sketches), closed.times
        more = zip(
            late or repeat(0, n), times["first_time"].tolist(), times["last_time"].tolist(), extras or repeat({}, n), strict=True
        )  # fmt: skip
        name, names, labels, keys = self._name, groups.names, groups.labels, groups.keys
        encode, alpha, outputs = self._encode, self._mapping.alpha, []
        for row, level, sketch, rest in zip(aggregates, levels, sketches, more, strict=True):
            start, end, revision, group, *numbers = row
            text = names[group]
            summary = self._summary(
                f"{name}|{text}|{start}|{end}|{revision}", name, text, labels(group), start, end, revision, *numbers,
                self._levels_of(*level), alpha, sketch, *rest,
            )  # fmt: skip
            outputs.append(Output("result", keys[group], encode(summary)))
        return outputs
