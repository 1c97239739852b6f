"""Derived events: an outcome within the risk window of an exposure, with no such outcome in the clean window before."""

from __future__ import annotations

import hashlib
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import msgspec

from schemas.clinical import ClinicalFact
from schemas.columns import Columns, RawBatch
from schemas.errors import ErrorCode
from schemas.followups import Clock, CohortUpdate, FollowUp
from schemas.safety import SafetyReport
from schemas.wire_fhir import decode_fhir
from streams.blocks import Changes, Runs, Saved, joined
from streams.burial import buried, letter
from streams.config import Stage
from streams.monitoring import Monitored
from streams.signals.cohort import Stretch, union
from streams.task import Blocks, Output, OutputKind
from streams.watermark import BEGINNING, SILENT

DAY = 86_400_000
_YEAR = 365.25 * DAY
_NOTHING: tuple[list[str], list[str]] = ([], [])
NEVER_SEEN = "entered in error, but nothing of that id is known"
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

    Facts are remembered for ``memory_days`` before the latest of the partition. For the pairs ``monitored``, whose events are whole
    codes that a rule applies to, the time at risk and the cases of patients go to ``followups``; so does how far a partition is,
    also one that brings nothing for ``idle_timeout_ms``.
    """

    name: str
    source: str = "hospital.fhir.resource.v1"
    hospital: str = "hospital"
    population: str = "all"
    rules: tuple[RiskRule, ...] = (RiskRule("*"),)
    memory_days: int = 800
    reports: str = "pharma.report.received.v1"
    monitored: tuple[Monitored, ...] = ()
    followups: str = "pharma.followup.changed.v1"
    idle_timeout_ms: int = 10_000

    def __post_init__(self) -> None:
        for pair in self.monitored:
            if not any(rule.applies(pair.event) for rule in self.rules):
                raise ValueError(
                    f"no rule applies to {pair.event}, which is monitored: it has no risk window"
                )

    @property
    def outputs(self) -> dict[OutputKind, str]:
        """The topic of each kind of output."""
        topics: dict[OutputKind, str] = {"result": self.reports, "dead": f"{self.source}.dlq"}
        return topics | {"partial": self.followups} if self.monitored else topics

    @property
    def hash(self) -> str:
        """A digest of everything that decides results."""
        return hashlib.sha256(repr(self).encode()).hexdigest()

    def stage(self, partitions: int = 1) -> Stage:
        """Return the engine's stage for a source with so many partitions."""
        return Stage(
            topic=self.source,
            decode=self.decode,
            task=partial(DeriveTask, self, partitions=partitions),
            outputs=self.outputs,
            signature=self.hash,
            idle_timeout_ms=self.idle_timeout_ms if self.monitored else None,
            marks_idle=bool(self.monitored),
            private=True,
        )

    def decode(self, batch: RawBatch) -> Columns:
        """Decode FHIR records of this hospital."""
        return decode_fhir(batch, self.hospital)


class Known(msgspec.Struct, array_like=True):
    """What is known of one patient: facts by id, of each report made its version and content, and each follow-up as last told."""

    facts: dict[str, ClinicalFact]
    made: dict[str, tuple[int, list[str], list[str]]]
    latest: int = 0
    birth: int | None = None
    sex: str = "unknown"
    followed: dict[tuple[str, str], tuple[list[Stretch], list[int]]] = {}


_PATIENTS = "all"
_FORGET_EVERY = 10_000  # facts
_AT_ONCE = 200  # patients that are packed together
_decode_part = msgspec.msgpack.Decoder(tuple[list[str], dict[str, Known]]).decode


class DeriveTask:
    """Implements ``streams.task.Task``: each fact changes what follows from its patient's facts, and only that is sent.

    Facts may come in any order and be corrected: a report changes with a new version, and is taken back once nothing makes it.
    """

    def __init__(self, pipeline: DerivedPipeline, partition: int = 0, partitions: int = 1) -> None:
        self._pipeline = pipeline
        self._partition, self._partitions = partition, partitions
        self._told = BEGINNING
        self._watched: dict[str, list[str]] = {}
        for pair in pipeline.monitored:
            self._watched.setdefault(pair.drug, []).append(pair.event)
        self._patients: dict[str, Known] = {}
        self._rules: dict[str, RiskRule | None] = {}
        self._max_time = BEGINNING
        self._since = 0
        self._touched: dict[str, None] = {}  # patients since the last save, in order
        self._gone: dict[str, None] = {}
        self._saved = False
        self._changes, self._runs = Changes(), Runs("patients")
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
        outputs: list[Output] = []
        bad = deque(columns.rejected)
        fact = columns.labels["fact"]
        for i, (code, offset) in enumerate(zip(fact.codes.tolist(), columns.offset.tolist(), strict=True)):
            while bad and bad[0].offset < offset:
                outputs.append(letter(bad.popleft(), columns, "decode"))
            if not self._take(fact.values[code], outputs):
                outputs.append(buried(columns, i, ErrorCode.UNKNOWN_REFERENCE, NEVER_SEEN, "process"))
        return outputs + [letter(rejected, columns, "decode") for rejected in bad]

    def advance(self, position: int, watermark: int) -> list[Output]:
        """Tell how far the idle partition is; time alone makes no report."""
        del position
        outputs: list[Output] = []
        if watermark == SILENT and self._watched:
            outputs.append(self._clock(0, idle=True))
        else:
            self._max_time = max(self._max_time, watermark)
            self._tell_time(outputs)
        return outputs

    def _tell_time(self, outputs: list[Output]) -> None:
        """Tell once for each day that this partition has come to it."""
        day = self._max_time // DAY * DAY
        if self._watched and day > self._told:
            self._told = day
            outputs.append(self._clock(day))

    def _clock(self, time: int, *, idle: bool = False) -> Output:
        return self._update(
            clock=Clock(partition=self._partition, partitions=self._partitions, time=time, idle=idle)
        )

    def _update(self, *, followup: FollowUp | None = None, clock: Clock | None = None) -> Output:
        population = self._pipeline.population
        update = CohortUpdate(population=population, followup=followup, clock=clock)
        return Output("partial", population.encode(), self._encode(update), to="key")

    def _take(self, fact: ClinicalFact, outputs: list[Output]) -> bool:
        """Take a fact; return False for one that was entered in error of which nothing is known.

        Such a one is remembered, lest what it takes back comes after it.
        """
        self._touched[fact.patient] = None
        known = self._patients.get(fact.patient)
        if known is None:
            known = self._patients[fact.patient] = Known({}, {}, followed={})
        if fact.kind == "person":
            known.birth, known.sex = fact.time, fact.sex or "unknown"
            return True
        held = known.facts.get(fact.id)
        if held is not None and (fact.version < held.version or held.retracted):
            return True
        known.facts[fact.id] = fact
        if held is None and fact.retracted:
            return fact.refuted  # nothing was made of it
        if fact.time > self._max_time:
            self._max_time = fact.time
            self._tell_time(outputs)
        known.latest = max(known.latest, fact.time)
        self._send(fact, known, outputs)
        if self._watched:
            self._follow(known, outputs)
        self._since += 1
        if self._since >= _FORGET_EVERY:
            self._forget()
        return True

    def _send(self, cause: ClinicalFact, known: Known, outputs: list[Output]) -> None:
        now = self._derived(known)
        if not now and not known.made:
            return
        for report in sorted(now.keys() | known.made.keys()):
            drugs, events = now.get(report, _NOTHING)
            version, *before = known.made.get(report, (0, [], []))
            if [drugs, events] == before:
                continue
            known.made[report] = (version + 1, drugs, events)
            outputs.append(self._report(report, version + 1, drugs, events, cause, known))

    def _follow(self, known: Known, outputs: list[Output]) -> None:
        """Tell the time at risk and the cases of each monitored pair where they have changed."""
        now = dict(self._followed(known))
        for pair in sorted(now.keys() | known.followed.keys()):
            at_risk, cases = now.get(pair, ([], []))
            before = known.followed.get(pair, ([], []))
            if (at_risk, cases) == before:
                continue
            known.followed[pair] = at_risk, cases
            drug, event = pair
            followup = FollowUp(
                drug=drug,
                event=event,
                at_risk=at_risk,
                cases=cases,
                not_at_risk=before[0],
                no_cases=before[1],
            )
            outputs.append(self._update(followup=followup))

    def _followed(self, known: Known) -> Iterator[tuple[tuple[str, str], tuple[list[Stretch], list[int]]]]:
        given: dict[str, list[int]] = {}
        for fact in known.facts.values():
            if fact.kind == "exposure" and not fact.retracted and fact.codes[0] in self._watched:
                given.setdefault(fact.codes[0], []).append(fact.time // DAY)
        for drug, days in given.items():
            for event in self._watched[drug]:
                rule = self._rule_of(event)
                if rule is None:
                    continue
                at_risk = union((day + rule.first, day + rule.last) for day in days)
                began = [
                    known.facts[report].time // DAY
                    for report, (_, drugs, events) in known.made.items()
                    if drug in drugs and event in events and known.facts[report].kind == "outcome"
                ]
                yield (drug, event), (at_risk, sorted(began))

    def _derived(self, known: Known) -> dict[str, tuple[list[str], list[str]]]:
        """Return drugs and events of each report that follows from what is known of a patient."""
        found: dict[str, tuple[list[str], list[str]]] = {}
        exposures: list[tuple[int, str]] = []
        outcomes: dict[str, list[int]] = {}
        live: list[ClinicalFact] = []
        for fact in known.facts.values():
            if fact.retracted:
                continue
            if fact.kind == "exposure":
                exposures.append((fact.time, fact.codes[0]))
            elif fact.kind == "outcome":
                outcomes.setdefault(fact.codes[0], []).append(fact.time)
                live.append(fact)
            elif fact.kind == "report":
                found[fact.id] = sorted(set(fact.codes[1:])), fact.codes[:1]
        if not live:
            return found  # most patients, most of the time
        exposures.sort()
        starts = [time for time, _ in exposures]
        for times in outcomes.values():
            times.sort()
        for fact in live:
            drugs = self._causes(fact, exposures, starts, outcomes)
            if drugs:
                found[fact.id] = drugs, fact.codes
        return found

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
        return sorted({code for _, code in exposures[low:high]}) if high > low else []

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
        gone = [name for name, known in self._patients.items() if known.latest < edge]
        for name in gone:
            del self._patients[name]
            self._gone[name] = None
            self._touched.pop(name, None)

    def snapshot(self, *, full: bool) -> Blocks:
        """Return the state as named blocks: all of them, or those changed since the last call."""
        header = {"header": msgspec.msgpack.encode([self._max_time, self._told, self._since])}
        whole = full or not self._saved
        patients, gone = (self._patients, []) if whole else (self._touched, list(self._gone))
        saved = {_PATIENTS: Saved(list(self._parts(list(patients), gone)), whole=whole)}
        self._touched, self._gone, self._saved = {}, {}, True
        return self._changes.since(header, full=full) | self._runs.since(saved, saved, full=full)

    def _parts(self, patients: Sequence[str], gone: Sequence[str]) -> Iterator[bytes]:
        """Yield who is gone, then patients as they are now, some at a time."""
        for at in range(0, max(len(patients), 1), _AT_ONCE):
            some = {name: self._patients[name] for name in patients[at : at + _AT_ONCE]}
            if some or gone:
                yield msgspec.msgpack.encode([gone, some])
            gone = []

    def restore(self, blocks: Mapping[str, bytes]) -> None:
        """Take over the state of a full set of blocks; none at all is the empty state."""
        if not blocks:
            return
        if "header" not in blocks:
            self._restore_packed(blocks)
            return
        self._max_time, self._told, self._since = msgspec.msgpack.decode(blocks["header"])
        for part in self._runs.read(blocks).get(_PATIENTS, []):
            gone, patients = _decode_part(part)
            for name in gone:
                self._patients.pop(name, None)
            self._patients |= patients
        self._changes.begin({"header": blocks["header"]})
        self._saved = True

    def _restore_packed(self, blocks: Mapping[str, bytes]) -> None:
        """Take over patients packed as a whole, as an earlier version did; the next save writes all of them anew."""
        packed = joined(blocks, "derived")["patients"]
        self._max_time, self._told, self._since, self._patients = msgspec.msgpack.decode(
            packed, type=tuple[int, int, int, dict[str, Known]]
        )
        self._changes.begin(blocks)
