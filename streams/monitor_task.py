"""The task of sequential monitoring: looks at declared pairs as a function of the record sequence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from schemas.columns import Columns
from schemas.errors import ErrorCode
from schemas.followups import Clock, CohortUpdate, FollowUp
from schemas.safety import SignalChange, SignalState
from streams.blocks import Changes, cut, joined
from streams.burial import buried
from streams.monitoring import MONITOR_VERSION, Monitored, MonitorPipeline
from streams.signals.calibration import Null, calibrated_p, fit_null
from streams.signals.cohort import Cohort
from streams.signals.information import information_component
from streams.signals.surveillance import Look, Watch
from streams.task import Blocks, Output
from streams.watermark import BEGINNING

DAY = 86_400_000
STATE_FORMAT = 1


class MonitorTask:
    """Implements ``streams.task.Task`` for a monitoring pipeline.

    A look falls due when the slowest partition of patients has passed its day; it comes before the row that shows this is taken.
    """

    def __init__(self, pipeline: MonitorPipeline, partition: int = 0) -> None:
        del partition  # all of a population is on one
        self._pipeline = pipeline
        self._number = {(pair.drug, pair.event): i for i, pair in enumerate(pipeline.monitored)}
        self._cohorts = [Cohort({}, {}) for _ in pipeline.monitored]
        self._watches = [Watch(pipeline.plan) for _ in pipeline.monitored]
        self._opened: dict[int, int] = {}
        self._clocks: dict[int, Clock] = {}
        self._looked: int | None = None
        self._received = 0
        self._time = BEGINNING
        self._changes = Changes()
        self._read = msgspec.json.Decoder(CohortUpdate).decode
        self._encode = msgspec.json.Encoder().encode

    @property
    def watermark(self) -> int:
        """The time that all partitions of patients have passed, in milliseconds."""
        return self._time

    @property
    def max_event_time(self) -> int:
        """The same: nothing here is later."""
        return self._time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next updates and return what looks found."""
        outputs: list[Output] = []
        for i in range(len(columns)):
            _, value = columns.raw(i)
            try:
                update = self._read(value)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                outputs.append(buried(columns, i, ErrorCode.MALFORMED, str(error), "decode"))
                continue
            if update.population == self._pipeline.population:
                self._take(update, outputs)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Do nothing: clocks come with the records."""
        del position, watermark
        return []

    def _take(self, update: CohortUpdate, outputs: list[Output]) -> None:
        self._received += 1
        if update.clock is not None:
            self._clocks[update.clock.partition] = update.clock
            self._look(outputs)
        if update.followup is not None:
            self._follow(update.followup)

    def _follow(self, now: FollowUp) -> None:
        pair = self._number.get((now.drug, now.event))
        if pair is None:
            return  # watched by another pipeline
        self._cohorts[pair].add(now.not_at_risk, now.no_cases, -1)
        self._cohorts[pair].add(now.at_risk, now.cases)

    # --- looks

    def _look(self, outputs: list[Output]) -> None:
        """Look at every day that is due, in order."""
        clocks = self._clocks
        if len(clocks) < next(iter(clocks.values())).partitions:
            return
        waited = [clock.time for clock in clocks.values() if not clock.idle]
        if not waited:
            return
        self._time = max(self._time, min(waited))
        every = self._pipeline.every_days
        due = self._time // DAY // every * every
        if self._looked is None:
            # Earlier looks would see nothing.
            first = min((day for cohort in self._cohorts for day in cohort.entered), default=due)
            self._looked = first // every * every
        while self._looked < due:
            self._looked += every
            self._look_on(self._looked, outputs)

    def _look_on(self, today: int, outputs: list[Output]) -> None:
        pipeline = self._pipeline
        until = today - 1 - pipeline.settle_days
        observed = [cohort.observed(until) for cohort in self._cohorts]
        days = [cohort.person_days(until, today - 1, pipeline.delay) for cohort in self._cohorts]
        expected = [pair.daily_rate * at_risk for pair, at_risk in zip(pipeline.monitored, days, strict=True)]
        null = self._null(observed, expected)
        for i, pair in enumerate(pipeline.monitored):
            if not pair.control and expected[i] > 0:
                found = self._watches[i].look(observed[i], expected[i], null)
                self._tell(i, pair, today * DAY, found, (observed[i], expected[i], days[i], null), outputs)

    def _null(self, observed: list[int], expected: list[float]) -> Null | None:
        """Return the systematic error that controls show, None while there are too few with cases."""
        pairs = enumerate(self._pipeline.monitored)
        controls = [i for i, pair in pairs if pair.control and observed[i] and expected[i] > 0]
        if len(controls) < max(self._pipeline.plan.controls_from, 2):
            return None
        n, mu = np.array([observed[i] for i in controls]), np.array([expected[i] for i in controls])
        return fit_null(np.log(n / mu), 1 / np.sqrt(n))

    def _tell(
        self, i: int, pair: Monitored, time: int, found: Look,
        counts: tuple[int, float, float, Null | None], outputs: list[Output],
    ) -> None:  # fmt: skip
        rule, opening = self._pipeline.rule, found.signals and i not in self._opened
        if opening:
            self._opened[i] = time
        if not bool(rule.leaves(counts[0])):
            return
        state = self._state(i, pair, time, found, counts)
        outputs.append(Output("result", state.id.encode(), self._encode(state)))
        if opening:
            change = self._change(pair, state, time)
            outputs.append(Output("alert", change.signal_id.encode(), self._encode(change)))

    def _state(
        self, i: int, pair: Monitored, time: int, found: Look, counts: tuple[int, float, float, Null | None]
    ) -> SignalState:
        pipeline = self._pipeline
        observed, expected, days, null = counts
        n = int(pipeline.rule.released(observed))
        exact = n == observed
        ic = information_component(n, expected)
        p = None
        if null is not None and n:
            p = float(calibrated_p(np.log(n / expected), 1 / np.sqrt(n), null))
        return SignalState(
            id=f"{pipeline.name}|{pair.drug}|{pair.event}", pipeline=pipeline.name, drug=pair.drug, event=pair.event,
            unit="cases", n=n, drug_total=int(days), event_total=n, total=int(days), serious=0, expected=expected,
            time=time, received=self._received, ic=float(ic.value[0]), ic025=float(ic.lower[0]),
            # Of a rounded count nothing is told that would give the count away.
            llr=found.llr if exact else None, log_e=found.log_e if exact else None, critical=found.critical,
            alpha_spent=found.alpha_spent, p_calibrated=p,
            presets=[pipeline.plan.method] if i in self._opened else [],
        )  # fmt: skip

    def _change(self, pair: Monitored, state: SignalState, time: int) -> SignalChange:
        name, method = self._pipeline.name, self._pipeline.plan.method
        signal = f"{name}|{method}|{pair.drug}|{pair.event}|{time}"
        return SignalChange(
            id=f"{signal}|0", signal_id=signal, pipeline=name, preset=method, preset_version=1,
            code_version=MONITOR_VERSION, drug=pair.drug, event=pair.event, step="open", revision=0, opened_at=time,
            first_report=self._first_case(pair) * DAY, time=time, state=state,
        )  # fmt: skip

    def _first_case(self, pair: Monitored) -> int:
        return min(self._cohorts[self._number[pair.drug, pair.event]].cases)

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        parts = {
            "header": msgspec.msgpack.encode(
                [
                    STATE_FORMAT, self._received, self._time, self._looked, list(self._clocks.values()),
                    sorted(self._opened.items()),
                ]
            ),
            "cohorts": msgspec.msgpack.encode(self._cohorts),
            "watches": msgspec.msgpack.encode([watch.pack() for watch in self._watches]),
        }  # fmt: skip
        return self._changes.since(cut("monitor", parts), full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        parts = joined(blocks, "monitor")
        _, self._received, self._time, self._looked, clocks, opened = msgspec.msgpack.decode(
            parts["header"], type=tuple[int, int, int, int | None, list[Clock], list[tuple[int, int]]]
        )
        self._clocks = {clock.partition: clock for clock in clocks}
        self._opened = dict(opened)
        self._cohorts = msgspec.msgpack.decode(parts["cohorts"], type=list[Cohort])
        watches: list[Any] = msgspec.msgpack.decode(parts["watches"])
        self._watches = [Watch.unpacked(self._pipeline.plan, packed) for packed in watches]
        self._changes.begin(blocks)
