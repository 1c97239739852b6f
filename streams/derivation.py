"""Derived events: an outcome within the risk window of an exposure, with no such outcome in the clean window before."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

import msgspec

from schemas.clinical import ClinicalFact
from schemas.columns import Columns, RawBatch
from schemas.deadletters import headers_for
from schemas.safety import SafetyReport
from schemas.wire_fhir import decode_fhir, read_fact
from streams.blocks import Changes, cut, joined
from streams.config import Stage
from streams.task import Blocks, Output, OutputKind
from streams.watermark import BEGINNING

DAY = 86_400_000
_YEAR = 365.25 * DAY
MAX_CODES = 50_000
"""How many codes the rule that applies is remembered for, lest made-up codes fill the memory."""


@dataclass(frozen=True, slots=True)
class RiskRule:
    """Days after an exposure in which an outcome counts, both included, and days before it that must be free of the outcome.

    ``outcome`` is a code, or the beginning of codes where it ends in ``*``. The FDA's BEST programme publishes such windows.
    """

    outcome: str
    first: int = 0
    last: int = 42
    clean: int = 365

    def __post_init__(self) -> None:
        if not (0 <= self.first <= self.last and self.clean >= 0):
            raise ValueError("a risk window needs 0 <= first <= last, and a clean window of at least 0 days")

    def applies(self, code: str) -> bool:
        """Return whether an outcome's code falls under the rule."""
        return code.startswith(self.outcome[:-1]) if self.outcome.endswith("*") else code == self.outcome


@dataclass(frozen=True, kw_only=True)
class DerivedPipeline:
    """Turn the facts of patients into safety reports of a population; the first rule that applies to an outcome decides.

    Facts are remembered for ``memory_days`` before the latest of the partition.
    """

    name: str
    source: str = "hospital.fhir.resource.v1"
    hospital: str = "hospital"
    population: str = "all"
    rules: tuple[RiskRule, ...] = (RiskRule("*"),)
    memory_days: int = 800
    reports: str = "pharma.report.received.v1"

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output."""
        return {"result": self.reports, "dead": f"{self.source}.dlq"}

    @property
    def hash(self) -> str:
        """A digest of everything that decides results."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def stage(self) -> Stage:
        """Return the engine's stage."""
        return Stage(
            topic=self.source,
            decode=self.decode,
            task=partial(DeriveTask, self),
            outputs=self.outputs,
            signature=self.hash,
        )

    def decode(self, batch: RawBatch) -> Columns:
        """Decode FHIR records of this hospital."""
        return decode_fhir(batch, self.hospital)


class Known(msgspec.Struct, array_like=True):
    """What is known of one patient: facts by id, and of each report made its version and content."""

    facts: dict[str, ClinicalFact]
    made: dict[str, tuple[int, list[str], list[str]]]
    latest: int = 0
    birth: int | None = None
    sex: str = "unknown"


class DeriveTask:
    """Implements ``streams.task.Task``: each fact changes what follows from its patient's facts, and only that is sent.

    Facts may come in any order and be corrected: a report changes with a new version, and is taken back once nothing makes it.
    """

    def __init__(self, pipeline: DerivedPipeline, partition: int = 0) -> None:
        del partition
        self._pipeline = pipeline
        self._patients: dict[str, Known] = {}
        self._rules: dict[str, RiskRule | None] = {}
        self._max_time = BEGINNING
        self._since = 0
        self._changes = Changes()
        self._encode = msgspec.json.Encoder().encode

    @property
    def watermark(self) -> int:
        """The largest time of a fact, in milliseconds."""
        return self._max_time

    @property
    def max_event_time(self) -> int:
        """The largest time of a fact, in milliseconds."""
        return self._max_time

    def process(self, columns: Columns) -> list[Output]:
        """Take the next facts and return the reports that come of them."""
        outputs = [
            Output("dead", bad.key, bad.value, headers_for(bad, columns.topic, columns.partition, "decode"))
            for bad in columns.rejected
        ]
        fact = columns.labels["fact"]
        for code in fact.codes.tolist():
            self._take(read_fact(fact.values[code]), outputs)
        return outputs

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Do nothing: time alone makes no report."""
        del position
        self._max_time = max(self._max_time, watermark)
        return []

    def _take(self, fact: ClinicalFact, outputs: list[Output]) -> None:
        known = self._patients.setdefault(fact.patient, Known({}, {}))
        if fact.kind == "person":
            known.birth, known.sex = fact.time, fact.sex or "unknown"
            return
        held = known.facts.get(fact.id)
        if held is not None and (fact.version < held.version or held.retracted):
            return
        if held is None and fact.retracted:
            return  # nothing was made of it
        known.facts[fact.id] = fact
        self._max_time = max(self._max_time, fact.time)
        known.latest = max(known.latest, fact.time)
        self._send(fact, known, outputs)
        self._since += 1
        if self._since >= 10_000:
            self._forget()

    def _send(self, cause: ClinicalFact, known: Known, outputs: list[Output]) -> None:
        if all(fact.kind == "exposure" for fact in known.facts.values()):
            return  # most patients, most of the time
        now = {report: content for report, *content in self._derived(known)}
        for report in sorted(now.keys() | known.made.keys()):
            drugs, events = now.get(report, ([], []))
            version, *before = known.made.get(report, (0, [], []))
            if (drugs, events) == tuple(before):
                continue
            known.made[report] = (version + 1, drugs, events)
            outputs.append(self._report(report, version + 1, drugs, events, cause, known))

    def _derived(self, known: Known) -> Iterable[tuple[str, list[str], list[str]]]:
        live = [fact for fact in known.facts.values() if not fact.retracted]
        exposures = sorted((fact.time, fact.codes[0]) for fact in live if fact.kind == "exposure")
        starts = [time for time, _ in exposures]
        outcomes: dict[str, list[int]] = {}
        for fact in live:
            if fact.kind == "outcome":
                outcomes.setdefault(fact.codes[0], []).append(fact.time)
        for times in outcomes.values():
            times.sort()
        for fact in live:
            if fact.kind == "report":
                yield fact.id, sorted(set(fact.codes[1:])), fact.codes[:1]
            elif fact.kind == "outcome":
                drugs = self._causes(fact, exposures, starts, outcomes)
                if drugs:
                    yield fact.id, drugs, fact.codes

    def _causes(
        self,
        fact: ClinicalFact,
        exposures: list[tuple[int, str]],
        starts: list[int],
        outcomes: Mapping[str, list[int]],
    ) -> list[str]:
        rule = self._rule_of(fact.codes[0])
        if rule is None:
            return []
        times, day = outcomes[fact.codes[0]], fact.time // DAY
        before = bisect_left(times, fact.time)
        if before and day - times[before - 1] // DAY <= rule.clean:
            return []
        low = bisect_left(starts, (day - rule.last) * DAY)
        high = bisect_right(starts, (day - rule.first + 1) * DAY - 1)
        return sorted({code for _, code in exposures[low:high]})

    def _rule_of(self, code: str) -> RiskRule | None:
        if code not in self._rules:
            if len(self._rules) >= MAX_CODES:
                self._rules.clear()
            self._rules[code] = next((rule for rule in self._pipeline.rules if rule.applies(code)), None)
        return self._rules[code]

    def _report(
        self,
        report: str,
        version: int,
        drugs: list[str],
        events: list[str],
        cause: ClinicalFact,
        known: Known,
    ) -> Output:
        origin = known.facts.get(report, cause)
        age = None if known.birth is None else max((origin.time - known.birth) / _YEAR, 0.0)
        patient = cause.patient
        made = SafetyReport(
            id=f"{patient}/{report}",
            source=self._pipeline.hospital,
            time=max(known.latest, origin.time),
            drugs=drugs,
            events=events,
            population=self._pipeline.population,
            version=version,
            status="active" if drugs else "entered-in-error",
            patient=patient,
            onset=origin.time,
            age=None if age is None else min(round(age, 2), 130.0),
            sex="female" if known.sex == "female" else "male" if known.sex == "male" else "unknown",
            site=self._pipeline.hospital,
            serious=origin.serious,
        )
        return Output("result", made.population.encode(), self._encode(made), to="key")

    def _forget(self) -> None:
        """Drop patients whose latest fact is older than the memory."""
        self._since = 0
        edge = self._max_time - self._pipeline.memory_days * DAY
        self._patients = {name: known for name, known in self._patients.items() if known.latest >= edge}

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        parts = {"patients": msgspec.msgpack.encode([self._max_time, self._since, self._patients])}
        return self._changes.since(cut("derived", parts), full=full)

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        packed = joined(blocks, "derived")["patients"]
        self._max_time, self._since, self._patients = msgspec.msgpack.decode(
            packed, type=tuple[int, int, dict[str, Known]]
        )
        self._changes.begin(blocks)
