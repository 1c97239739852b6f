"""``tidewatch signals`` and ``tidewatch replay omop`` on a real Kafka: what analysts see, say and send."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import typer
from click.testing import Result
from typer.testing import CliRunner

from producers.loader import load
from schemas.safety import SignalChange, SignalState
from tests.conftest import Kafka
from tests.sinks.results import make_topic
from tests.sinks.test_signals import state
from tidewatch.cli import replay, signals
from tidewatch.exits import Exit

DAY = 86_400_000


@pytest.fixture
def topics(kafka: Kafka, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Give topics of states, signals and dispositions, with the courses of two pairs on the first two."""
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    names = {name: f"{topic_prefix}.{name}" for name in ("states", "signals", "dispositions")}
    for name in names.values():
        make_topic(kafka.connection, name, 1)
    course = [
        at(n=n, ic025=ic025, received=100 * n, presets=["umc"] if ic025 > 0 else [])
        for n, ic025 in ((2, -0.5), (4, 0.2), (8, 0.9), (9, 1.4))
    ]
    other = at(drug="y", received=50)
    load(
        kafka.connection, names["states"], [(s.id.encode(), msgspec.json.encode(s)) for s in [*course, other]]
    )
    steps = [step("open", course[1]), step("strengthened", course[3])]
    load(kafka.connection, names["signals"], [(s.signal_id.encode(), msgspec.json.encode(s)) for s in steps])
    return names


def at(received: int, **fields: object) -> SignalState:
    return state(received=received, time=1_700_000_000_000 + received * DAY, **fields)  # type: ignore[arg-type]


def step(kind: str, found: SignalState) -> SignalChange:
    return SignalChange(
        id=f"s|{kind}", signal_id="s", pipeline="p", preset="umc", preset_version=1, code_version="1", drug="x", event="e",
        step=kind, revision=0, opened_at=5, first_report=1, time=found.time, state=found,
    )  # fmt: skip


def run(*arguments: str) -> Result:
    app = typer.Typer()
    for verb in (signals, replay):
        verb.register(app)
    return CliRunner().invoke(app, list(arguments))


def look(topics: dict[str, str], verb: str, *arguments: str) -> Result:
    where = ["--dispositions", topics["dispositions"]]
    where += ["--topic", topics["states"]] if verb == "top" else []
    where += ["--states", topics["states"], "--topic", topics["signals"]] if verb == "explain" else []
    return run("signals", verb, *arguments, *where)


def dispose(topics: dict[str, str], *arguments: str) -> Result:
    where = ["--states", topics["states"], "--dispositions", topics["dispositions"], "--pipeline", "p"]
    return run("signals", "dispose", *arguments, "--by", "ada", *where)


@pytest.mark.kafka
def test_what_analysts_say_is_listed_and_shown(topics: dict[str, str]) -> None:
    assert dispose(topics, "x", "e", "reviewed", "--reason", "first look").exit_code == Exit.OK
    assert dispose(topics, "x", "e", "confirmed", "--reason", "labelled").exit_code == Exit.OK
    listed = json.loads(look(topics, "dispositions", "--json").stdout)["dispositions"]
    assert [
        (each["id"], each["judgement"], each["reason"], each["analyst"], each["n"]) for each in listed
    ] == [("p|x|e", "confirmed", "labelled", "ada", 9)]
    assert "labelled" in look(topics, "dispositions").stdout
    assert json.loads(look(topics, "dispositions", "--judgement", "refuted", "--json").stdout) == {
        "dispositions": []
    }
    top = json.loads(look(topics, "top", "--json").stdout)["signals"]
    assert {each["state"]["drug"]: (each["disposition"] or {}).get("judgement") for each in top} == {
        "x": "confirmed", "y": None,
    }  # fmt: skip
    assert "confirmed" in look(topics, "top").stdout
    unjudged = json.loads(look(topics, "top", "--disposition", "none", "--json").stdout)["signals"]
    assert [each["state"]["drug"] for each in unjudged] == ["y"]
    assert "confirmed by ada" in look(topics, "explain", "x", "e").stdout


@pytest.mark.kafka
def test_a_judgement_of_nothing_or_without_a_reason_is_refused(topics: dict[str, str]) -> None:
    unknown = dispose(topics, "q", "e", "confirmed", "--reason", "r")
    assert unknown.exit_code == Exit.FAILED
    assert "has no pair of q and e" in unknown.stderr
    assert dispose(topics, "x", "e", "confirmed", "--reason", " ").exit_code == Exit.USAGE
    assert dispose(topics, "x", "e", "perhaps", "--reason", "r").exit_code == Exit.USAGE
    assert json.loads(look(topics, "dispositions", "--json").stdout) == {"dispositions": []}


@pytest.mark.kafka
def test_a_pair_is_explained_with_its_course_and_boundary(topics: dict[str, str], tmp_path: Path) -> None:
    shown = look(topics, "explain", "x", "e", "--plot", str(tmp_path / "x.png"))
    assert shown.exit_code == Exit.OK, shown.output
    assert "ic025 over time (*), boundary of umc (-)" in shown.stdout
    assert "1.4 |" in shown.stdout
    assert "-0.5 |" in shown.stdout
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    assert "ic025 at 4 times" in shown.stderr
    facts = json.loads(look(topics, "explain", "x", "e", "--json").stdout)
    assert [each["step"] for each in facts["history"]] == ["open", "strengthened"]
    assert look(topics, "explain", "q", "e").exit_code == Exit.FAILED
    assert look(topics, "explain", "*", "e", "--plot", str(tmp_path / "all.png")).exit_code == Exit.FAILED
    assert look(topics, "explain", "x", "e", "--preset", "mine").exit_code == Exit.USAGE


@pytest.mark.kafka
def test_a_monitored_pair_is_explained_by_its_test(kafka: Kafka, topics: dict[str, str]) -> None:
    looks = [
        at(
            drug="m",
            unit="cases",
            received=i,
            n=3 * i,
            llr=i * 1.5,
            critical=2.9,
            log_e=0.1,
            alpha_spent=0.02,
        )
        for i in (1, 2)
    ]
    load(kafka.connection, topics["states"], [(s.id.encode(), msgspec.json.encode(s)) for s in looks])
    shown = look(topics, "explain", "m", "e").stdout
    assert "6 cases observed in 20 days at risk, 0.70 expected" in shown
    assert "signals above 2.900" in shown
    assert "llr over time (*)" in shown


@pytest.mark.kafka
def test_an_omop_database_is_replayed_by_pseudonym(
    kafka: Kafka, topic_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TIDEWATCH_BOOTSTRAP", kafka.bootstrap)
    monkeypatch.setenv("TIDEWATCH_PSEUDONYM_KEY", "a secret of at least sixteen bytes")
    make_topic(kafka.connection, topic_prefix, 1)
    for name, text in {
        "person": "person_id,gender_concept_id,year_of_birth\n7,8532,1980\n",
        "drug_exposure": "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date\n1,7,111,2020-03-02\n",
        "condition_occurrence": "condition_occurrence_id,person_id,condition_concept_id,condition_start_date\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(text)
    sent = run("replay", "omop", str(tmp_path), "--source", "db", "--topic", topic_prefix, "--json")
    assert sent.exit_code == Exit.OK, sent.output
    assert json.loads(sent.stdout) == {"topic": topic_prefix, "delivered": 2}
    assert run("replay", "omop", "--source", "db").exit_code == Exit.USAGE
    assert run("replay", "omop", str(tmp_path)).exit_code == Exit.USAGE
    assert run("replay", "file.csv", "--source", "db").exit_code == Exit.USAGE
