"""The declaration of a pipeline: what it reads, how it groups and windows, which rules watch it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from math import gcd

import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from schemas.event_types import EventType
from schemas.panes import PaneSpec
from streams.attributes import Attribute
from streams.extras import Extra
from streams.rules.base import Declaration
from streams.sketches.fixed_point import Resolution
from streams.task import OutputKind

MOST_PANES = 4_096
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


@dataclass(frozen=True)
class Filter:
    """Keep the rows for which ``keep(columns)`` is true; ``name`` stands for the function in the pipeline's hash."""

    name: str
    keep: Callable[[Columns], NDArray[np.bool_]]


@dataclass(frozen=True)
class Derived:
    """A number column computed from others, whole columns at once."""

    name: str
    compute: Callable[[Columns], NDArray[np.float64]]


@dataclass(frozen=True)
class Tumbling:
    """Tumbling event-time windows of ``size_ms``, aligned to the epoch."""

    size_ms: int

    @property
    def every_ms(self) -> int:
        """How far apart windows begin."""
        return self.size_ms

    def __post_init__(self) -> None:
        if self.size_ms < 1:
            raise ValueError(f"a window needs a size of at least 1 ms, not {self.size_ms}")


@dataclass(frozen=True)
class Hopping:
    """Event-time windows of ``size_ms`` that begin at every multiple of ``hop_ms`` since the epoch.

    Windows share panes of the greatest common divisor of both.

    Raises:
        ValueError: the hop is not between 1 and the size, or a window would have more than 4,096 panes.
    """

    size_ms: int
    hop_ms: int

    @property
    def every_ms(self) -> int:
        """How far apart windows begin."""
        return self.hop_ms

    def __post_init__(self) -> None:
        if not 1 <= self.hop_ms <= self.size_ms:
            raise ValueError(f"a hop must be between 1 ms and the window's size, not {self.hop_ms}")
        panes = self.size_ms // gcd(self.size_ms, self.hop_ms)
        if panes > MOST_PANES:
            raise ValueError(
                f"windows of {self.size_ms} ms every {self.hop_ms} ms need {panes} panes each, more than {MOST_PANES}; "
                "choose sizes with a larger common divisor"
            )


@dataclass(frozen=True)
class Session:
    """The rows of a group with less than ``gap_ms`` between one and the next: ``[first, last + gap)``."""

    gap_ms: int

    def __post_init__(self) -> None:
        if self.gap_ms < 1:
            raise ValueError(f"a session needs a gap of at least 1 ms, not {self.gap_ms}")


Windowing = Tumbling | Hopping | Session


@dataclass(frozen=True, kw_only=True)
class SourceWatermark:
    """Let every value of a label, such as a gateway, have a watermark of its own, by which the windows of its groups close.

    A source that was offline and sends its backlog is not late then, unless it trails the furthest source on its partition by more
    than ``max_lag_ms``: that far it is drawn along, in steps of ``step_ms``. The price is that its last windows stay open so long.
    """

    label: str
    max_lag_ms: int
    step_ms: int = 1_000

    def __post_init__(self) -> None:
        if self.max_lag_ms < 0 or self.step_ms < 1:
            raise ValueError("max_lag_ms must not be negative, step_ms at least 1")


@dataclass(frozen=True, kw_only=True)
class RollUp:
    """Add a pipeline's windows up over all partitions, by some of its labels, or by none of them for a total.

    Results are named ``<pipeline>:<name>``. A window closes when the watermarks of all upstream partitions have passed its end.
    It is kept for ``retain_ms`` of event time more: what comes in until then is published as a further revision at once, later
    contributions are late. Groups that agree in the labels ``together`` (all of ``by`` where empty) are on one partition, for
    tasks that compare them.
    """

    by: tuple[str, ...] = ()
    name: str = ""
    together: tuple[str, ...] = ()
    rules: tuple[Declaration, ...] = ()
    retain_ms: int = 60_000

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", "-".join(("by", *self.by)) if self.by else "all")
        if not set(self.by).issuperset(self.together):
            raise ValueError(
                f"roll-up {self.name!r}: what is kept together must be among {', '.join(self.by)}"
            )
        if any(rule.source == "row" for rule in self.rules):
            raise ValueError(f"roll-up {self.name!r}: its rules watch windows, since it sees no rows")


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """Aggregate a value by groups over windows, and watch it with rules.

    Times are milliseconds. ``group_by`` names labels, the first of which is the record key; ``keep`` names labels carried along
    (the first value seen of a group counts). ``attributes`` are labels that follow from the event, such as its hour of day. With
    a ``resolution`` sums are of values rounded to whole steps of it, added as integers, so that windows do not
    depend on the order of rows; gateways may then send panes instead of rows.

    Where one topic takes over from another at a window boundary, the pipeline on the old one ``ends_ms`` there, and leaves
    later rows to the other; that on the new one ``begins_ms`` there, and rows from before are late.
    """

    name: str
    source: str
    event: EventType
    group_by: tuple[str, ...]
    keep: tuple[str, ...] = ()
    value: str = "value"
    window: Windowing = Tumbling(10_000)
    out_of_orderness_ms: int = 2_000
    allowed_lateness_ms: int = 0
    idle_timeout_ms: int | None = 10_000
    alpha: float = 0.01
    levels: tuple[float, ...] = LEVELS
    filters: tuple[Filter, ...] = ()
    derived: tuple[Derived, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    rules: tuple[Declaration, ...] = ()
    rollups: tuple[RollUp, ...] = ()
    extras: tuple[Extra, ...] = ()
    watermark: SourceWatermark | None = None
    resolution: float | None = None
    results: str = "iot.sensor.window.v1"
    alerts: str = "iot.sensor.alert.v1"
    partials: str = "iot.sensor.partial.v1"
    totals: str = "iot.sensor.rollup.v1"
    begins_ms: int | None = None
    ends_ms: int | None = None
    version: int = field(default=1)

    def __post_init__(self) -> None:
        if isinstance(self.window, Session) and self.allowed_lateness_ms:
            raise ValueError(
                "session windows take no allowed lateness, since a late row could join sessions already published; "
                "raise out_of_orderness_ms instead, which lets them close later"
            )
        if isinstance(self.window, Session) and self.rollups:
            raise ValueError("session windows differ from key to key, so they cannot be rolled up")
        if isinstance(self.window, Session) and self.extras:
            raise ValueError(
                "session windows have no panes, which extras are kept by; use tumbling or hopping windows"
            )
        if self.resolution is not None:
            Resolution(self.resolution)  # refuses what is none
            if isinstance(self.window, Session):
                raise ValueError(
                    "session windows have no declared resolution; use tumbling or hopping windows"
                )
        self._check_span()
        if self.watermark is not None and self.watermark.label not in self.group_by:
            raise ValueError(
                f"add {self.watermark.label} to group_by: a group's windows close by one source's watermark"
            )
        if self.watermark is not None and self.rollups:
            raise ValueError(
                "roll-ups wait for whole partitions, so they cannot follow the watermark of each source"
            )
        known = {*self.group_by, *self.keep}
        for rollup in self.rollups:
            if not known.issuperset(rollup.by):
                missing = ", ".join(sorted(set(rollup.by) - known))
                raise ValueError(f"roll-up {rollup.name!r}: add {missing} to group_by or keep")
        if len({rollup.name for rollup in self.rollups}) < len(self.rollups):
            raise ValueError("roll-ups need names that differ")

    def _check_span(self) -> None:
        moments = [moment for moment in (self.begins_ms, self.ends_ms) if moment is not None]
        if not moments:
            return
        window = self.window
        if not isinstance(window, Tumbling) or any(moment % window.size_ms for moment in moments):
            raise ValueError("one topic takes over from another where a tumbling window begins")
        if self.watermark is not None or self.rollups:
            raise ValueError(
                "a pipeline that begins or ends somewhere has one watermark a partition, and no roll-ups"
            )

    @property
    def panes(self) -> PaneSpec | None:
        """The panes that may stand for rows, ``None`` where something of the pipeline must see each row."""
        window = self.window
        needs_rows = (
            self.filters
            or self.derived
            or self.attributes
            or self.extras
            or any(r.source == "row" for r in self.rules)
        )
        if self.resolution is None or needs_rows or isinstance(window, Session):
            return None
        return PaneSpec(gcd(window.size_ms, window.every_ms), self.alpha, self.resolution)

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output."""
        topics: dict[OutputKind, str] = {
            "result": self.results,
            "alert": self.alerts,
            "late": f"{self.source}.late",
            "dead": f"{self.source}.dlq",
        }
        return topics | {"partial": self.partials} if self.rollups else topics

    @property
    def rollup_outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output of the roll-ups."""
        return {
            "result": self.totals,
            "alert": self.alerts,
            "late": f"{self.partials}.late",
            "dead": f"{self.partials}.dlq",
        }

    @property
    def hash(self) -> str:
        """A digest of everything that decides results; raise ``version`` when a function behind a name changes."""
        parts = [
            self.name, self.source, self.event.name, self.group_by, self.keep, self.value, repr(self.window),
            self.out_of_orderness_ms, self.allowed_lateness_ms, self.alpha, self.levels,
            [f.name for f in self.filters], [d.name for d in self.derived],
            [rule.signature() for rule in self.rules], self.version,
            [extra.signature() for extra in self.extras], repr(self.watermark),
            [(r.name, r.by, r.together, r.retain_ms, [rule.signature() for rule in r.rules]) for r in self.rollups],
        ]  # fmt: skip
        if self.resolution is not None:
            parts.append(self.resolution)
        if self.attributes:
            parts.append(("attributes", [attribute.signature() for attribute in self.attributes]))
        if self.begins_ms is not None:
            parts.append(("begins", self.begins_ms))  # where it ends is told to one that runs already
        return hashlib.sha256(repr(parts).encode()).hexdigest()
