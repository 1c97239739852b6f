"""FHIR in: facts, pseudonyms, and the reports that follow from exposures and outcomes."""

from dataclasses import replace
from unittest.mock import patch

import msgspec
import numpy as np
import pytest
from hypothesis import given as cases
from hypothesis import settings
from hypothesis import strategies as st

from producers.errors import ProducerError
from producers.pseudonyms import KeyMissingError, Pseudonyms, pseudonymised
from schemas.clinical import facts_of, moment
from schemas.columns import RawBatch
from schemas.draft import Failure
from schemas.safety import SafetyReport
from schemas.wire_fhir import decode_fhir
from streams.derivation import DerivedPipeline, DeriveTask, RiskRule
from tests.streams.signals.fhir_samples import (
    ADVERSE,
    ATC,
    ICD,
    PATIENT,
    bundle,
    condition,
    given,
    raw,
    wrong,
)
from tests.streams.signals.reporting import maybe_saved

RULES = (RiskRule(f"{ICD}|I21*", 1, 42, 365), RiskRule("*", 0, 30, 90))
PIPELINE = DerivedPipeline(name="d", hospital="north", population="net", rules=RULES)


def columns(resources, first=0):
    values = [r if isinstance(r, bytes) else raw(r) for r in resources]
    n = len(values)
    offsets = np.arange(first, first + n, dtype=np.int64)
    return decode_fhir(
        RawBatch("fhir", 0, first, first + n, offsets, np.full(n, 1_780_000_000_000), [None] * n, values),
        "north",
    )


def reports(outputs):
    return [msgspec.json.decode(o.value, type=SafetyReport) for o in outputs if o.kind == "result"]


def run(*resources):
    task = DeriveTask(PIPELINE)
    return reports(task.process(columns(resources)))


def test_a_resource_becomes_a_fact_with_its_coding_system():
    (fact,) = facts_of(raw(given(1, "C09AA02", "2026-02-01T08:00:00Z")), "north")
    assert (fact.kind, fact.patient, fact.codes) == ("exposure", "p1", [f"{ATC}|C09AA02"])
    assert fact.time == 1_769_932_800_000


def test_an_adverse_event_names_event_and_suspects():
    (fact,) = facts_of(raw(ADVERSE), "north")
    assert (fact.kind, fact.codes, fact.serious, fact.patient) == (
        "report",
        [f"{ICD}|K25", "ibuprofen"],
        True,
        "p1",
    )


@pytest.mark.parametrize(
    ("resource", "code"),
    [
        (b"{", "malformed"),
        (b"[1]", "wrong_type"),
        (raw({"resourceType": "Spaceship", "id": "1"}), "unknown_resource"),
        (raw(condition(1, "I21", "2026-02-01") | {"subject": {}}), "missing_field"),
        (raw(condition(1, "I21", "soon")), "missing_field"),
        (raw(condition(1, "", "2026-02-01") | {"code": {}}), "missing_field"),
        (raw(condition(1, "I21", "2026-02-01") | {"id": ""}), "missing_field"),
        (raw(condition(1, "I21", "2026-02-01") | {"subject": 5}), "wrong_type"),
        (raw(ADVERSE | {"suspectEntity": []}), "missing_field"),
        (raw(bundle(given(1, "A", "2026-02-01"), condition(2, "B", "never"))), "missing_field"),
        (b'{"resourceType":"Bundle","entry":[' + b'{"resource":{}},' * 6000 + b"{}]}", "oversized"),
        (b" " * 10_000_000 + raw(PATIENT), "oversized"),
        (b"", "empty"),
        (raw(condition(1, "I21", "1066-10-14")), "time_out_of_range"),
    ],
)
def test_bad_input_is_a_dead_letter_with_its_code_and_counts_nothing(resource, code):
    found = columns([resource])
    assert [r.code for r in found.rejected] == [code]
    assert len(found) == 0


def test_silent_and_unfinished_resources_say_nothing():
    quiet = [
        {"resourceType": "Encounter", "id": "e"},
        given(1, "A", "2026-02-01", status="not-done"),
        ADVERSE | {"actuality": "potential"},
        {"resourceType": "Observation", "id": "o", "status": "final", "subject": {"reference": "Patient/p1"}},
    ]
    assert facts_of(raw(bundle(*quiet)), "north") == []


@pytest.mark.parametrize(
    ("text", "ms"),
    [("2026", 1_767_225_600_000), ("2026-03", 1_772_323_200_000), ("2026-03-01T00:00:00+00:00", 1_772_323_200_000),
     ("", None), ("yesterday", None), ("2026-13-01", None)],
)  # fmt: skip
def test_dates_of_any_precision(text, ms):
    assert moment(text) == ms


def test_an_outcome_in_the_risk_window_is_a_report():
    (report,) = run(
        PATIENT,
        given(1, "M01", "2026-01-05"),
        given(2, "C09", "2025-06-01"),
        condition(1, "I219", "2026-02-01"),
    )
    assert (report.drugs, report.events) == ([f"{ATC}|M01"], [f"{ICD}|I219"])
    assert (report.sex, report.age, report.population, report.patient) == ("female", 45.71, "net", "p1")


@pytest.mark.parametrize(
    ("day", "counts"),
    [
        ("2026-01-04", False),
        ("2026-01-05", False),
        ("2026-01-06", True),
        ("2026-02-16", True),
        ("2026-02-17", False),
    ],
)
def test_windows_include_their_first_and_last_day(day, counts):
    found = run(given(1, "M01", "2026-01-05T22:00:00Z"), condition(1, "I219", f"{day}T03:00:00Z"))
    assert bool(found) == counts


def test_onset_before_exposure_counts_nothing():
    assert run(given(1, "M01", "2026-02-02"), condition(1, "K25", "2026-02-01")) == []


def test_an_outcome_seen_in_the_clean_window_is_not_new():
    found = run(
        condition(1, "I21", "2025-09-01"), given(1, "M01", "2026-01-05"), condition(2, "I21", "2026-01-20")
    )
    assert found == []
    assert (
        len(
            run(
                condition(1, "I21", "2024-09-01"),
                given(1, "M01", "2026-01-05"),
                condition(2, "I21", "2026-01-20"),
            )
        )
        == 1
    )


def test_an_exposure_that_comes_late_changes_the_report():
    first, second = run(
        given(1, "M01", "2026-01-05"), condition(1, "K25", "2026-01-20"), given(2, "B01", "2026-01-10")
    )
    assert (first.drugs, first.version) == ([f"{ATC}|M01"], 1)
    assert (second.drugs, second.version, second.id) == ([f"{ATC}|B01", f"{ATC}|M01"], 2, first.id)


@pytest.mark.parametrize("which", [0, 1])
def test_entered_in_error_takes_the_report_back(which):
    facts = [given(1, "M01", "2026-01-05"), condition(1, "K25", "2026-01-20")]
    found = run(*facts, wrong(facts[which]))
    assert [(r.version, r.status) for r in found] == [(1, "active"), (2, "entered-in-error")]


def test_an_error_needs_no_content_and_leaves_none_in_the_state():
    task = DeriveTask(PIPELINE)
    diagnosed = condition(1, "K25", "2026-01-20")
    error = {"resourceType": "Condition", "id": diagnosed["id"], "subject": diagnosed["subject"]}
    error["verificationStatus"] = {"coding": [{"code": "entered-in-error"}]}
    outputs = task.process(columns([given(1, "M01", "2026-01-05"), diagnosed]))
    assert b"K25" in b"".join(block or b"" for block in task.snapshot(full=True).values())
    outputs += task.process(columns([error], 2))
    assert [(r.status, r.version, r.events) for r in reports(outputs)] == [
        ("active", 1, [f"{ICD}|K25"]),
        ("entered-in-error", 2, []),
    ]
    assert b"K25" not in b"".join(block or b"" for block in task.snapshot(full=True).values())


def test_an_error_never_seen_is_a_dead_letter_and_what_it_takes_back_does_not_count_later():
    exposed, diagnosed = given(1, "D1", "2026-02-01"), condition(1, "K25", "2026-02-07")
    outputs = DeriveTask(PIPELINE).process(columns([exposed, wrong(diagnosed), diagnosed]))
    assert [output.kind for output in outputs] == ["dead"]
    assert (b"unknown_reference") in dict(outputs[0].headers).values()
    refuted = {"verificationStatus": {"coding": [{"code": "refuted"}]}}
    assert (
        DeriveTask(PIPELINE).process(columns([exposed, condition(2, "K25", "2026-02-07", **refuted)])) == []
    )


def test_what_lies_in_the_future_is_a_dead_letter_and_moves_no_clock():
    task = DeriveTask(PIPELINE)
    (letter,) = task.process(columns([given(1, "D1", "2026-06-15")]))
    assert dict(letter.headers)["tidewatch.error.code"] == b"time_in_future"
    assert task.max_event_time < 0


def test_an_adverse_event_is_a_report_by_itself():
    (report,) = run(ADVERSE)
    assert (report.drugs, report.events, report.serious) == (["ibuprofen"], [f"{ICD}|K25"], True)


def test_dead_letters_come_in_the_order_of_their_events_however_batches_are_cut():
    never = [wrong(condition(i, "K25", "2026-02-07")) for i in (1, 2)]
    values = [never[0], b"{", never[1], b"{"]
    whole = DeriveTask(PIPELINE).process(columns(values))
    task = DeriveTask(PIPELINE)
    assert [o for i, value in enumerate(values) for o in task.process(columns([value], i))] == whole
    codes = [dict(output.headers)["tidewatch.error.code"].decode() for output in whole]
    assert codes == ["unknown_reference", "malformed", "unknown_reference", "malformed"]


DAYS = [f"2026-{month:02d}-{day:02d}" for month in (1, 2, 3) for day in (1, 9, 20)]
fact = st.one_of(
    st.builds(
        given, st.integers(0, 4), st.sampled_from("AB"), st.sampled_from(DAYS), st.sampled_from(["p1", "p2"])
    ),
    st.builds(
        condition,
        st.integers(0, 4),
        st.sampled_from(["I21", "K25"]),
        st.sampled_from(DAYS),
        st.sampled_from(["p1", "p2"]),
    ),
    st.builds(lambda n, d: wrong(condition(n, "K25", d)), st.integers(0, 4), st.sampled_from(DAYS)),
)


@settings(deadline=None, max_examples=80)
@cases(st.lists(fact, max_size=25), st.data())
def test_cuts_and_restores_change_no_byte(facts, data):
    whole = DeriveTask(PIPELINE)
    expected = whole.process(columns(facts))
    task, found, at = DeriveTask(PIPELINE), [], 0
    while at < len(facts):
        stop = data.draw(st.integers(at + 1, len(facts)))
        found += task.process(columns(facts[at:stop], at))
        at = stop
        blocks = task.snapshot(full=True)
        task = DeriveTask(PIPELINE)
        task.restore(blocks)
    assert found == expected
    assert task.snapshot(full=True) == whole.snapshot(full=True)


@settings(deadline=None, max_examples=80)
@cases(st.lists(fact, max_size=25), st.data())
def test_changes_add_up_to_the_state_with_patients_that_are_forgotten(facts, data):
    """Saved now and then, restored now and then, forgotten after 30 days without a fact: what is held is the state."""
    pipeline = replace(PIPELINE, memory_days=30)
    whole, task, held = DeriveTask(pipeline), DeriveTask(pipeline), {}
    expected, found = [], []
    with patch("streams.derivation._FORGET_EVERY", 3):
        for at, value in enumerate(facts):
            expected += whole.process(columns([value], at))
            found += task.process(columns([value], at))
            task = maybe_saved(data, task, held, lambda: DeriveTask(pipeline))
    assert found == expected
    assert task.snapshot(full=True) == whole.snapshot(full=True)


def test_a_fact_writes_its_patient_and_no_other():
    task = DeriveTask(PIPELINE)
    task.process(columns([given(1, "A", "2026-02-01", f"p{i}") for i in range(1_000)]))
    base = sum(map(len, task.snapshot(full=True).values()))
    task.process(columns([condition(2, "K25", "2026-02-07", "p7")], 1_000))
    changed = task.snapshot(full=False)
    assert sum(len(block) for block in changed.values() if block is not None) < base / 100


def test_patients_that_an_earlier_version_packed_are_read_and_written_anew():
    task = DeriveTask(PIPELINE)
    task.process(columns([given(1, "A", "2026-02-01", "p1"), condition(2, "K25", "2026-02-07", "p2")]))
    packed = msgspec.msgpack.encode([task._max_time, task._told, task._since, task._patients])
    old = {"derived/patients/000000": packed}
    again = DeriveTask(PIPELINE)
    again.restore(old)
    changes = again.snapshot(full=False)
    assert changes.pop("derived/patients/000000") is None
    last = DeriveTask(PIPELINE)
    last.restore(changes)
    assert last.snapshot(full=True) == task.snapshot(full=True)


@settings(deadline=None, max_examples=80)
@cases(
    st.lists(fact, max_size=14, unique_by=lambda r: (r["resourceType"], r["id"], r["subject"]["reference"])),
    st.randoms(),
)
def test_the_order_of_facts_does_not_matter_in_the_end(facts, random):
    def last(resources):
        latest = {r.id: (r.drugs, r.events) for r in run(*resources)}
        return {name: content for name, content in latest.items() if content[0]}

    shuffled = list(facts)
    random.shuffle(shuffled)
    kept = [f for f in facts if "verificationStatus" not in f]
    assert last([f for f in shuffled if f in kept]) == last(kept)


SECRET = Pseudonyms(b"a secret of at least sixteen bytes")


def test_nothing_that_tells_who_it_is_leaves():
    sent = pseudonymised(
        raw(bundle(PATIENT, ADVERSE | {"note": [{"text": "Mrs Nightingale"}]}, given(1, "A", "2026-01-01"))),
        "north",
        SECRET,
    )
    text = b"".join(key + value for key, value in sent).decode()
    for told in ("Nightingale", "Florence", "555", "Embley", "SSN", "05-17", "p1", "hand", "name of"):
        assert told not in text
    assert {key for key, _ in sent} == {SECRET.of("north", "p1").encode()}
    assert [f.kind for _, value in sent for f in facts_of(value, "north")] == ["person", "report", "exposure"]


@pytest.mark.parametrize(
    "reference", ["Patient/p1", "Patient/p1/_history/7", "https://h.example/Patient/p1", "urn:uuid:p1"]
)
def test_a_patient_is_the_same_however_referred_to(reference):
    named = condition(1, "I21", "2026-02-01") | {"subject": {"reference": reference}}
    assert [fact.patient for fact in facts_of(raw(named), "north")] == ["p1"]
    assert [key for key, _ in pseudonymised(raw(named), "north", SECRET)] == [
        SECRET.of("north", "p1").encode()
    ]


def test_pseudonyms_follow_key_source_and_patient():
    assert SECRET.of("north", "p1") == SECRET.of("north", "p1")
    assert (
        len(
            {
                SECRET.of("north", "p1"),
                SECRET.of("south", "p1"),
                SECRET.of("north", "p2"),
                Pseudonyms(b"another key of some length").of("north", "p1"),
            }
        )
        == 4
    )


def test_a_missing_or_short_key_is_refused(monkeypatch):
    monkeypatch.delenv("TIDEWATCH_PSEUDONYM_KEY", raising=False)
    with pytest.raises(KeyMissingError, match="set TIDEWATCH_PSEUDONYM_KEY"):
        Pseudonyms.from_environment()
    with pytest.raises(KeyMissingError, match="16 bytes"):
        Pseudonyms(b"short")


@pytest.mark.parametrize(
    "bad", [raw(condition(1, "I21", "2026-02-01") | {"subject": {}}), b"nonsense", raw(PATIENT | {"id": ""})]
)
def test_what_cannot_be_given_a_pseudonym_is_refused(bad):
    with pytest.raises(ProducerError):
        pseudonymised(bad, "north", SECRET)


def test_facts_of_no_resource_are_a_failure():
    assert isinstance(facts_of(b"{}", "north"), Failure)


def test_a_rule_needs_a_window():
    with pytest.raises(ValueError, match="risk window"):
        RiskRule("*", 5, 2)
