"""The task of a report pipeline: counts, measures and signals as a function of the record sequence."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from math import isnan

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.columns import Columns
from schemas.draft import Vocabulary
from schemas.errors import ErrorCode
from schemas.safety import SignalState
from schemas.wire_reports import ReportRow
from streams.blocks import Changes, Runs, cut, joined
from streams.burial import buried, letter
from streams.reports import ReportPipeline
from streams.signal_book import SignalBook, strength_of
from streams.signals.contingency import Contingency
from streams.signals.ledger import Content, Ledger
from streams.signals.linkage import DAY, Candidates, Traits
from streams.signals.mgps import Prior
from streams.signals.mgps_fit import Cells, fit_prior
from streams.signals.scores import Scores
from streams.signals.tables import Counts, Floats, Tables
from streams.task import PRIOR_FITTED, Blocks, Output
from streams.watermark import BEGINNING

_UNITS = "units"
STATE_FORMAT = 2
NEVER_SEEN = "entered in error, but no such report is known"
# The tenth and the last of these bounds are open: a baby of days, and everyone from 85.
AGE_BANDS = (1, 2, 12, 18, 45, 65, 75, 85)
TALLIES = (
    *("new", "changed", "repeated", "retracted", "unknown"),
    *("other-population", "older-than-horizon", "possible-duplicate", PRIOR_FITTED),
)
_MEASURES = ("prr", "prr025", "ror", "ror025", "chi2_yates", "ic", "ic025", "ebgm", "eb05")


class ReportTask:
    """Implements ``streams.task.Task`` for a report pipeline.

    Rows are taken one by one in order; the measures of touched pairs are published every ``refresh`` rows taken, so neither
    batches nor restarts decide what is published.
    """

    def __init__(self, pipeline: ReportPipeline, partition: int = 0) -> None:
        del partition  # all of a population is on one
        self._pipeline = pipeline
        self._drugs: Vocabulary[str] = Vocabulary()
        self._events: Vocabulary[str] = Vocabulary()
        self._strata: Vocabulary[str] = Vocabulary()
        self._ledger = Ledger(pipeline.horizon_ms)
        self._all = Contingency(by_pair=pipeline.unit == "pairs")
        self._serious = Contingency()
        self._by_stratum: dict[int, Contingency] = {}
        self._first = array("q")
        self._candidates = Candidates()
        self._let_go = 0
        self._book = SignalBook(pipeline)
        self._prior: Prior | None = None
        self._fitted_at = self._received = self._since = 0
        self._stale = False
        self._tally: Counter[str] = Counter()
        self._told: set[int] = set()
        self._max_time = BEGINNING
        self._changes, self._runs = Changes(), Runs("ledger")
        self._encode = msgspec.json.Encoder().encode

    @property
    def watermark(self) -> int:
        """The largest time received, in milliseconds."""
        return self._max_time

    @property
    def max_event_time(self) -> int:
        """The largest time received, in milliseconds."""
        return self._max_time

    def counts(self) -> tuple[list[str], list[str], Contingency]:
        """Return the texts of drug and event codes, and the counts."""
        return self._drugs.values, self._events.values, self._all

    def drain(self) -> Mapping[str, int]:
        """Return how many reports were what, and how often the prior was fitted, since the last call."""
        counts, self._tally = self._tally, Counter()
        return counts

    # --- rows

    def process(self, columns: Columns) -> list[Output]:
        """Take the next rows and return what they cause, in order."""
        bad = iter(columns.rejected)
        waiting = next(bad, None)
        outputs: list[Output] = []
        column = columns.labels["report"]
        for i, (code, offset) in enumerate(zip(column.codes.tolist(), columns.offset.tolist(), strict=True)):
            while waiting is not None and waiting.offset < offset:
                outputs.append(letter(waiting, columns, "decode"))
                waiting = next(bad, None)
            self._take(column.values[code], i, columns, outputs)
        if waiting is not None:
            outputs += [letter(rejected, columns, "decode") for rejected in chain([waiting], bad)]
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Refresh all pairs because the partition is idle; nothing when nothing came since."""
        del position
        outputs: list[Output] = []
        if self._stale:
            self._refresh(outputs, everything=True)
        self._max_time = max(self._max_time, watermark)
        return outputs

    def _take(self, row: ReportRow, i: int, columns: Columns, outputs: list[Output]) -> None:
        report, time = row.report, row.time
        if time > self._max_time:
            self._max_time = time
            self._ledger.advance(time)
        self._received += 1
        key = f"{report.source}\x1f{report.id}"
        if report.population != self._pipeline.population:
            outputs.append(self._flagged(columns, i, "other-population"))
        elif report.status != "active":
            change = self._ledger.retract(key, report.version, time)
            self._tally[change.outcome] += 1
            if change.outcome == "unknown":
                outputs.append(buried(columns, i, ErrorCode.UNKNOWN_REFERENCE, NEVER_SEEN, "process"))
            self._apply(change.before, change.after, time)
        else:
            self._count(key, row, i, columns, outputs)
        self._since += 1
        self._stale = True
        if self._since >= self._pipeline.refresh:
            self._refresh(outputs, everything=False)

    def _count(self, key: str, row: ReportRow, i: int, columns: Columns, outputs: list[Output]) -> None:
        report, time = row.report, row.time
        drugs, events = _codes(self._drugs, report.drugs), _codes(self._events, report.events)
        content = Content(drugs, events, self._stratum(row), report.serious)
        unit = key
        if not self._ledger.knows(key):
            if time < self._ledger.edge:
                outputs.append(self._flagged(columns, i, "older-than-horizon"))
            if self._pipeline.unit == "patients" and report.patient:
                unit = f"\x1e{report.patient}"
            elif self._pipeline.duplicates != "ignore":
                unit = self._linked(key, row, content, columns, i, outputs)
        change = self._ledger.put(key, unit, report.version, time, content)
        self._tally[change.outcome] += 1
        self._apply(change.before, change.after, time)

    def _linked(
        self, key: str, row: ReportRow, content: Content, columns: Columns, i: int, outputs: list[Output]
    ) -> str:
        """Return the unit of the likeliest duplicate from another source, or the report's own."""
        report = row.report
        age = -1 if report.age is None else int(report.age)
        onset = -1 if isnan(row.onset) else int(row.onset // DAY)
        sex = "" if report.sex == "unknown" else report.sex
        traits = Traits(report.source, age, sex, onset, content.drugs, content.events)
        model, best, unit = self._pipeline.linkage, -np.inf, key
        for other, theirs in self._candidates.near(traits):
            if not self._ledger.knows(other):
                continue
            score = model.score(traits, theirs, self._share_of_drug, self._share_of_event)
            if score >= model.threshold and score > best:
                best, unit = score, self._ledger.unit_of(other)
        self._candidates.remember(key, traits)
        if unit != key:
            outputs.append(self._flagged(columns, i, "possible-duplicate"))
        return unit if self._pipeline.duplicates == "merge" else key

    def _flagged(self, columns: Columns, i: int, flag: str) -> Output:
        self._tally[flag] += 1
        return _flagged(columns, i, flag)

    def _share_of_drug(self, code: int) -> float:
        return self._all.drug_total(code) / max(self._all.total, 1)

    def _share_of_event(self, code: int) -> float:
        return self._all.event_total(code) / max(self._all.total, 1)

    def _stratum(self, row: ReportRow) -> int:
        if not self._pipeline.strata:
            return 0
        report = row.report
        parts = {
            "age": age_band(report.age),
            "sex": report.sex,
            "site": report.site,
            "period": str(row.time // self._pipeline.period_ms),
        }
        return self._strata.code("\x1f".join(parts[name] for name in self._pipeline.strata))

    def _apply(self, before: Content | None, after: Content | None, time: int) -> None:
        if before == after:
            return
        if before is not None:
            self._add(before, -1)
        if after is not None:
            self._add(after, 1)
        grown = len(self._all) - len(self._first)
        if grown:
            self._first.extend([time] * grown)

    def _add(self, content: Content, sign: int) -> None:
        self._all.add(content.drugs, content.events, sign)
        if content.serious:
            self._serious.add(content.drugs, content.events, sign)
        if self._pipeline.strata:
            stratum = self._by_stratum.setdefault(content.stratum, Contingency(by_pair=self._all.by_pair))
            stratum.add(content.drugs, content.events, sign)

    # --- measures

    def _refresh(self, outputs: list[Output], *, everything: bool) -> None:
        self._since = 0
        self._refit()
        if everything:
            pairs = np.arange(len(self._all))
            self._stale = False
        else:
            pairs = np.array(sorted(self._all.touched | set(self._book.watched())), dtype=np.int64)
        self._all.touched.clear()
        if self._ledger.forgotten > self._let_go:
            self._let_go = self._ledger.forgotten
            self._candidates.forget(self._ledger.knows)
        if not len(pairs):
            return
        counts = self._all.counts(pairs)
        kept = self._published(counts.a, pairs)
        self._withdraw(sorted(self._told.intersection(pairs[~kept].tolist())), outputs)
        if kept.any():
            self._told.update(pairs[kept].tolist())
            self._publish(pairs[kept], outputs)

    def _withdraw(self, pairs: Sequence[int], outputs: list[Output]) -> None:
        """Take back the published states of pairs that no longer have enough reports to be published."""
        if not pairs:
            return
        self._told.difference_update(pairs)
        counts = self._all.counts(np.array(pairs))
        for drug, event in zip(counts.drug.tolist(), counts.event.tolist(), strict=True):
            outputs.append(Output("result", self._id(drug, event).encode(), None))

    def _id(self, drug: int, event: int) -> str:
        return f"{self._pipeline.name}|{self._drugs.values[drug]}|{self._events.values[event]}"

    def _published(self, a: Counts, pairs: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which pairs are published: enough reports, or an open signal that may have to be closed."""
        open_ = np.isin(pairs, self._book.watched())
        return np.asarray(((a >= self._pipeline.publish_from) & self._pipeline.rule.leaves(a)) | open_)

    def _publish(self, pairs: NDArray[np.int64], outputs: list[Output]) -> None:
        pipeline, rule = self._pipeline, self._pipeline.rule
        counts = self._all.counts(pairs)
        a, drug_total, event_total = (
            rule.released(x) for x in (counts.a, counts.drug_total, counts.event_total)
        )
        serious = rule.released(self._serious.joint(counts.drug, counts.event))
        total = int(rule.released(counts.total))
        # What leaves is computed from what leaves, lest the measures tell the counts; rounding may not break a margin.
        drug_total, event_total = np.maximum(drug_total, a), np.maximum(event_total, a)
        total = max(total, int((drug_total + event_total - a).max()))
        tables = Tables.of_margins(a, drug_total, event_total, total)
        expected = tables.expected
        if self._by_stratum and rule.name == "none":
            expected = self._stratified(counts.drug, counts.event)
        values = Scores.of(tables, expected, self._prior).values
        met = [
            preset.signals(values) if preset.needs <= values.keys() else None for preset in pipeline.chosen
        ]
        flags = [np.zeros(len(pairs), np.bool_) if m is None else m & rule.leaves(counts.a) for m in met]
        names = [preset.name for preset in pipeline.chosen]
        states = self._states(
            counts.drug, counts.event, values, expected, a, drug_total, event_total, total, serious
        )
        strengths = [strength_of(preset, values).tolist() for preset in pipeline.chosen]
        chosen = [flag.tolist() for flag in flags]
        told = [
            state if not any(met) else msgspec.structs.replace(
                state, presets=[name for name, yes in zip(names, met, strict=True) if yes]
            )
            for state, met in zip(states, zip(*chosen, strict=True), strict=True)
        ]  # fmt: skip
        outputs += [Output("result", state.id.encode(), self._encode(state)) for state in told]
        for at, preset, step, held in self._book.update(pairs.tolist(), chosen, strengths, self._max_time):
            change = self._book.change(preset, step, held, told[at], self._first[int(pairs[at])])
            outputs.append(Output("alert", change.signal_id.encode(), self._encode(change)))

    def _states(
        self, drug: Counts, event: Counts, values: Mapping[str, Floats], expected: Floats, a: Counts,
        drug_total: Counts, event_total: Counts, total: int, serious: Counts,
    ) -> list[SignalState]:  # fmt: skip
        drugs, events, name = self._drugs.values, self._events.values, self._pipeline.name
        measures = [_optional(values[measure]) for measure in _MEASURES]
        rows = zip(
            drug.tolist(), event.tolist(), a.tolist(), drug_total.tolist(), event_total.tolist(),
            serious.tolist(), expected.tolist(), *measures, strict=True,
        )  # fmt: skip
        # Named one by one: hundreds of thousands are made, and unpacking a dict for each costs as much again.
        return [
            SignalState(
                id=f"{name}|{drugs[d]}|{events[e]}", pipeline=name, drug=drugs[d], event=events[e],
                unit=self._pipeline.unit, n=n, drug_total=by_drug, event_total=by_event, total=total,
                serious=grave, expected=mean, time=self._max_time, received=self._received,
                prr=prr, prr025=prr025, ror=ror, ror025=ror025, chi2_yates=chi2, ic=ic, ic025=ic025,
                ebgm=ebgm, eb05=eb05,
            )
            for d, e, n, by_drug, by_event, grave, mean, prr, prr025, ror, ror025, chi2, ic, ic025, ebgm, eb05
            in rows
        ]  # fmt: skip

    def _stratified(self, drug: Counts, event: Counts) -> Floats:
        found = np.zeros(len(drug))
        for _, stratum in sorted(self._by_stratum.items()):
            found += stratum.expected_of(drug, event)
        return found

    def _refit(self) -> None:
        """Fit the prior anew once the total has grown enough since; its last fit is one of the starts."""
        needed = max(self._pipeline.refit_from, self._fitted_at * self._pipeline.refit_growth)
        wanted = any({"ebgm", "eb05"} & preset.needs for preset in self._pipeline.chosen)
        if not wanted or self._all.total < needed:
            return
        counts = self._all.counts()
        expected = self._stratified(counts.drug, counts.event) if self._by_stratum else counts.expected
        usable = (counts.a > 0) & (expected > 0)
        if usable.sum() >= 2:
            self._prior = fit_prior(Cells.of(counts.a[usable], expected[usable]), self._prior).prior
            self._fitted_at = self._all.total
            self._tally[PRIOR_FITTED] += 1

    # --- state

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        header = [
            STATE_FORMAT, self._received, self._since, self._fitted_at, self._stale, self._max_time, _of(self._prior),
            self._ledger.forgotten > self._let_go,
        ]  # fmt: skip
        texts = [self._drugs.values, self._events.values, self._strata.values]
        parts = {
            "header": msgspec.msgpack.encode(header),
            "texts": msgspec.msgpack.encode(texts),
            "newest": msgspec.msgpack.encode(self._ledger.newest),
            "all": self._all.pack(),
            "serious": self._serious.pack(),
            "first": self._first.tobytes(),
            "candidates": self._candidates.pack(),
            "book": self._book.pack(),
            "told": array("q", sorted(self._told)).tobytes(),
        } | {f"stratum-{code}": stratum.pack() for code, stratum in self._by_stratum.items()}
        units = {_UNITS: self._ledger.save(full=full)}
        return self._changes.since(cut("reports", parts), full=full) | self._runs.since(
            units, units, full=full
        )

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        parts = joined(blocks, "reports")
        header = msgspec.msgpack.decode(parts["header"])
        _, self._received, self._since, self._fitted_at, self._stale, self._max_time, prior, to_let_go = (
            header
        )
        self._let_go = -1 if to_let_go else 0
        self._prior = None if prior is None else Prior(*prior)
        for vocabulary, texts in zip(
            (self._drugs, self._events, self._strata), msgspec.msgpack.decode(parts["texts"]), strict=True
        ):
            vocabulary.codes(texts, len(texts))
        if "ledger" in parts:  # as an earlier version packed it
            self._ledger.load_packed(parts["ledger"])
        else:
            self._ledger.load(
                msgspec.msgpack.decode(parts["newest"]), self._runs.read(blocks).get(_UNITS, ())
            )
        self._all.load(parts["all"])
        self._serious.load(parts["serious"])
        self._first.frombytes(parts["first"])
        self._candidates.load(parts["candidates"])
        self._book.load(parts["book"])
        told = array("q")
        told.frombytes(parts["told"])
        self._told = set(told)
        for name, packed in parts.items():
            if name.startswith("stratum-"):
                code = int(name.removeprefix("stratum-"))
                self._by_stratum[code] = Contingency(by_pair=self._all.by_pair)
                self._by_stratum[code].load(packed)
        self._changes.begin({name: data for name, data in blocks.items() if name.startswith("reports/")})


def _codes(vocabulary: Vocabulary[str], texts: Sequence[str]) -> tuple[int, ...]:
    if len(texts) == 1:
        return (vocabulary.code(texts[0]),)
    return tuple(sorted({vocabulary.code(text) for text in texts}))


def age_band(age: float | None) -> str:
    """Return the band of an age in years, such as ``18-44``; ``unknown`` for None."""
    if age is None:
        return "unknown"
    place = bisect_right(AGE_BANDS, age)
    low = 0 if place == 0 else AGE_BANDS[place - 1]
    return f"{low}+" if place == len(AGE_BANDS) else f"{low}-{AGE_BANDS[place] - 1}"


def _optional(values: Floats) -> list[float | None]:
    """Return numbers as JSON can hold them: None where not defined or infinite."""
    found = values.astype(object)
    found[~np.isfinite(values)] = None
    return list(found)


def _of(prior: Prior | None) -> list[float] | None:
    return None if prior is None else [prior.alpha1, prior.beta1, prior.alpha2, prior.beta2, prior.p]


def _flagged(columns: Columns, i: int, flag: str) -> Output:
    """Return a copy of a row that was counted, or not, for the reason that ``flag`` names."""
    key, raw = columns.raw(i)
    fields = {
        "tidewatch.flag": flag,
        "tidewatch.late.partition": str(columns.partition),
        "tidewatch.late.offset": str(int(columns.offset[i])),
    }
    return Output("late", key, raw, tuple((name, text.encode()) for name, text in fields.items()))
