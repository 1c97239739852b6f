"""Signals as read back: filters, ranks, and the FHIR form of a step."""

import msgspec

from schemas.safety import SignalChange, SignalState
from sinks.signals import Evidence, SignalFilter, alert_of, changes, detected_issue, latest_states, ranked


def state(drug: str = "x", n: int = 9, ic025: float | None = 1.0, **more: object) -> SignalState:
    given = {
        "id": f"p|{drug}|e", "pipeline": "p", "drug": drug, "event": "e", "unit": "reports", "n": n, "drug_total": 20,
        "event_total": 30, "total": 900, "serious": 3, "expected": 0.7, "time": 1_700_000_000_000, "received": 1,
        "ic025": ic025, "presets": ["umc"],
    } | more  # fmt: skip
    return msgspec.convert(given, SignalState)


def change(number: int = 0, step: str = "open") -> SignalChange:
    return SignalChange(
        id=f"s|{number}", signal_id="s", pipeline="p", preset="umc", preset_version=1, code_version="1", drug="x",
        event="e", step=step, revision=number, opened_at=5, first_report=1, time=1_700_000_000_000, state=state(),
    )  # fmt: skip


def test_the_last_state_of_a_pair_counts():
    records = [(None, msgspec.json.encode(s)) for s in (state(n=3), state("y"), state("z"), state(n=4))]
    found = latest_states([*records, (b"p|z|e", None), (b"unheard", None)])
    assert {s.id: s.n for s in found.values()} == {"p|x|e": 4, "p|y|e": 9}


def test_a_step_that_is_written_again_is_one_step():
    values = [msgspec.json.encode(change(i)) for i in (0, 1, 1, 0)]
    assert [c.id for c in changes(values)] == ["s|0", "s|1"]


def test_filters_by_pattern_preset_and_seriousness():
    assert SignalFilter(drug="X*").takes(state("xylo"))
    assert not SignalFilter(drug="y*").takes(state("xylo"))
    assert SignalFilter(preset="umc").takes(state())
    assert not SignalFilter(preset="fda").takes(state())
    assert SignalFilter(preset="fda").takes(state(), "fda")
    assert not SignalFilter(serious=True).takes(state(serious=0))


def test_rank_is_the_sum_of_what_is_shown():
    weak, strong = state("a", ic025=None, presets=[]), state("b", n=60, ic025=9.0, serious=60)
    assert [s.drug for s in ranked([weak, state("c"), strong])] == ["b", "c", "a"]
    evidence = Evidence.of(strong)
    assert (evidence.disproportionality, evidence.reports, evidence.seriousness) == (4.0, 1.0, 1.0)
    assert evidence.total == 6.5


def test_a_step_as_fhir_names_no_patient():
    issue = detected_issue(change())
    assert (issue["resourceType"], issue["status"]) == ("DetectedIssue", "preliminary")
    assert "patient" not in issue
    assert {"code": [{"text": "ic025 = 1"}]} in issue["evidence"]
    assert detected_issue(change(step="closed"))["status"] == "cancelled"


def test_a_step_as_an_alert_has_its_evidence_and_is_closed_with_the_signal():
    alert = alert_of(change(), 2, 40)
    assert (alert.rule, alert.group, alert.state, alert.severity) == ("signal-umc", "x/e", "open", "warning")
    assert (alert.value, alert.threshold) == (1.0, 0)
    assert (alert.evidence["n"], alert.evidence["total"], alert.partition, alert.offset) == (9, 900, 2, 40)
    closed = alert_of(change(3, "closed"), 0, 0)
    assert (closed.alert_id, closed.state, closed.revision) == (alert.alert_id, "close", 3)
