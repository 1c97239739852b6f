"""The task of a shape pipeline: window summaries in, barycenters, sites, forecasts and alerts out."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from schemas.columns import Columns
from schemas.errors import ErrorCode
from schemas.results import WindowSummary
from schemas.shapes import Barycenter, ShapeForecast, SiteShape
from streams.blocks import Changes, cut, joined
from streams.burial import buried
from streams.distributions.quantile_function import QuantileFunction
from streams.distributions.sources import of_row
from streams.groups import name_of
from streams.shape import ShapePipeline
from streams.shape_alerts import ShapeAlerts
from streams.shape_model import Family, Observed, View
from streams.sketches.codes import decode_many
from streams.sketches.mapping import LogMapping
from streams.task import Blocks, Output, OutputKind
from streams.watermark import BEGINNING

STATE_FORMAT = 1


class ShapeTask:
    """Implements ``streams.task.Task`` for a shape pipeline.

    A summary's event time is the end of its window. Windows close in order of their end when the watermark passes them; of a
    site's revisions the newest that came until then counts, later ones go to the late topic.
    """

    def __init__(self, pipeline: ShapePipeline, partition: int) -> None:
        self._pipeline, self._partition = pipeline, partition
        self._mapping = LogMapping(pipeline.alpha)
        self._families: dict[str, Family] = {}
        self._alerts: dict[str, ShapeAlerts] = {}
        self._waiting: dict[int, dict[tuple[str, str], WindowSummary]] = {}
        self._watermark = self._max_time = BEGINNING
        self._decoder = msgspec.json.Decoder(WindowSummary)
        self._encode = msgspec.json.Encoder().encode
        self._changes = Changes()

    @property
    def watermark(self) -> int:
        """The event time, in milliseconds, before which nothing more is expected."""
        return self._watermark

    @property
    def max_event_time(self) -> int:
        """The latest end of a window, in milliseconds."""
        return self._max_time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next summaries and return what they cause, in order."""
        outputs: list[Output] = []
        for row in range(len(columns)):
            key, value = columns.raw(row)
            offset = int(columns.offset[row])
            try:
                summary = self._decoder.decode(value)
                if summary.pipeline != self._pipeline.upstream:
                    continue
                self._check(summary)
            except (msgspec.MsgspecError, ValueError) as error:
                outputs.append(buried(columns, row, ErrorCode.MALFORMED, str(error), "decode"))
                continue
            if summary.end <= self._watermark:
                fields = {"partition": columns.partition, "offset": offset, "watermark": self._watermark}
                stated = tuple((f"tidewatch.late.{name}", b"%d" % number) for name, number in fields.items())
                outputs.append(Output("late", key, value, stated))
                continue
            self._hold(summary)
            self._max_time = max(self._max_time, summary.end)
            outputs += self._come_to(self._max_time - self._pipeline.out_of_orderness_ms - 1, offset)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Move the watermark because the partition was idle, as if just before the record at ``position``."""
        return self._come_to(watermark, position)

    def _check(self, summary: WindowSummary) -> None:
        """Refuse what cannot be compared.

        Raises:
            ValueError: a label is missing, the window is not of the declared size, or the sketch is of another accuracy.
        """
        pipeline = self._pipeline
        missing = [name for name in (pipeline.site, *pipeline.by) if name not in summary.labels]
        if missing:
            raise ValueError(
                f"the summary has no label {', '.join(missing)}; keep it in the pipeline upstream"
            )
        if summary.end - summary.start != pipeline.window_ms:
            raise ValueError(
                f"a window of {summary.end - summary.start} ms, this pipeline declares {pipeline.window_ms}"
            )
        if summary.count < 1:
            raise ValueError("an empty window has no distribution")
        self._function(summary)

    def _function(self, summary: WindowSummary) -> QuantileFunction:
        """Return the quantile function of a summary's sketch.

        Raises:
            ValueError: the sketch is damaged, of another accuracy, or empty.
        """
        _, codes, counts = decode_many(self._mapping, [summary.sketch])
        return of_row(self._mapping, codes, counts, summary.min, summary.max)

    def _hold(self, summary: WindowSummary) -> None:
        place = (self._family_of(summary), summary.labels[self._pipeline.site])
        held = self._waiting.setdefault(summary.end, {})
        if place not in held or summary.revision >= held[place].revision:
            held[place] = summary

    def _family_of(self, summary: WindowSummary) -> str:
        return name_of(tuple(summary.labels[name] for name in self._pipeline.by))

    def _come_to(self, watermark: int, offset: int) -> list[Output]:
        outputs: list[Output] = []
        if watermark > self._watermark:
            self._watermark = watermark
            for end in sorted(end for end in self._waiting if end <= watermark):
                outputs += self._close(self._waiting.pop(end), offset)
        return outputs

    def _close(self, held: Mapping[tuple[str, str], WindowSummary], offset: int) -> list[Output]:
        outputs: list[Output] = []
        for name in sorted({family for family, _ in held}):
            sites = {site: held[family, site] for family, site in sorted(held) if family == name}
            family = self._families.setdefault(name, Family(self._pipeline))
            observed = {site: self._observed(family, summary) for site, summary in sites.items()}
            start = next(iter(sites.values())).start
            view = family.take(start, observed)
            outputs.append(self._barycenter(name, family, view, sites, start))
            for site, summary in sites.items():
                if site in view.sites:
                    outputs += self._site(name, family, view, summary, observed[site], offset)
        return outputs

    def _observed(self, family: Family, summary: WindowSummary) -> Observed:
        function = self._function(summary)
        low, high = function.bounds(family.grid.levels)
        return Observed(function.on(family.grid), low, high, function.grid_error(family.grid), summary.count)

    def _barycenter(
        self, name: str, family: Family, view: View, sites: Mapping[str, WindowSummary], start: int
    ) -> Output:
        pipeline, end = self._pipeline, start + self._pipeline.window_ms
        any_labels = next(iter(sites.values())).labels
        result = Barycenter(
            id=f"{pipeline.name}|{name}|{start}|{end}",
            pipeline=pipeline.name,
            family=name,
            labels={label: any_labels[label] for label in pipeline.by},
            start=start,
            end=end,
            sites=len(sites),
            count=sum(summary.count for summary in sites.values()),
            levels=family.grid.levels.tolist(),
            quantiles=view.barycenter.tolist(),
            error=view.error,
            variance=view.variance,
            reference=view.reference.tolist(),
            modes=view.modes.tolist(),
            eigenvalues=view.eigenvalues.tolist(),
        )
        return self._output("barycenter", name, result)

    def _site(
        self, name: str, family: Family, view: View, summary: WindowSummary, seen: Observed, offset: int
    ) -> list[Output]:
        pipeline, start, end = self._pipeline, summary.start, summary.end
        site = summary.labels[pipeline.site]
        labels = {label: summary.labels[label] for label in (pipeline.site, *pipeline.by)}
        judged, group, levels = view.sites[site], name_of((name, site)), family.grid.levels
        shape = SiteShape(
            id=f"{pipeline.name}|{name}|{site}|{start}|{end}", pipeline=pipeline.name, family=name, site=site,
            labels=labels, start=start, end=end, count=summary.count, levels=levels.tolist(),
            quantiles=seen.quantiles.tolist(), distance=judged.distance, error=judged.error, unusual=judged.unusual,
            drift=judged.drift, scores=judged.scores.tolist(),
        )  # fmt: skip
        outputs = [self._output("result", group, shape)]
        if judged.next is not None:
            ahead = ShapeForecast(
                id=f"{pipeline.name}|{name}|{site}|{end}|{end + pipeline.window_ms}", pipeline=pipeline.name, family=name,
                site=site, labels=labels, start=end, end=end + pipeline.window_ms, levels=levels.tolist(),
                quantiles=judged.next.mean[0].tolist(), lower=judged.next.lower[0].tolist(),
                upper=judged.next.upper[0].tolist(), coverage=pipeline.coverage, coefficients=judged.coefficients.tolist(),
            )  # fmt: skip
            outputs.append(self._output("forecast", group, ahead))
        alerts = self._alerts.setdefault(name, ShapeAlerts(pipeline, levels))
        place = (self._partition, offset)
        return outputs + [
            self._output("alert", group, a) for a in alerts.of(group, labels, start, judged, seen, place)
        ]

    def _output(self, kind: OutputKind, key: str, value: msgspec.Struct) -> Output:
        return Output(kind, key.encode(), self._encode(value))

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        encode = msgspec.msgpack.encode
        blocks = {"header": encode([STATE_FORMAT, self._watermark, self._max_time])}
        waiting = {str(end): encode(list(held.values())) for end, held in sorted(self._waiting.items())}
        families = {
            np.base_repr(i, 36): encode([name, self._families[name].state()])
            for i, name in enumerate(sorted(self._families))
        }
        alerts = encode([[name, held.state()] for name, held in sorted(self._alerts.items())])
        blocks |= cut("waiting", waiting) | cut("family", families) | cut("alerts", {"open": alerts})
        return self._changes.since(blocks, full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        decode = msgspec.msgpack.decode
        _, self._watermark, self._max_time = decode(blocks["header"])
        for packed in joined(blocks, "waiting").values():
            for summary in decode(packed, type=list[WindowSummary]):
                self._hold(summary)
        for packed in joined(blocks, "family").values():
            name, state = decode(packed)
            self._families[name] = Family.of(self._pipeline, state)
        for name, state in decode(joined(blocks, "alerts")["open"]):
            levels = Family(self._pipeline).grid.levels
            self._alerts[name] = ShapeAlerts(self._pipeline, levels)
            self._alerts[name].restore(state)
        self._changes.begin(blocks)
