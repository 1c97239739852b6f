"""OMOP tables to facts."""

import pytest

from producers.errors import SourceError
from producers.omop import SYSTEM, omop_records
from producers.pseudonyms import Pseudonyms
from schemas.clinical import facts_of

KEY = Pseudonyms(b"a secret of at least sixteen bytes")


def facts(folder):
    return [fact for _, value in omop_records(folder, "db", KEY) for fact in facts_of(value, "db")]


def tables(folder, **more):
    content = {
        "person": "person_id,gender_concept_id,year_of_birth\n7,8532,1980\n",
        "drug_exposure": "drug_exposure_id,person_id,drug_concept_id,drug_exposure_start_date\n"
        "1,7,111,2020-03-02\n2,7,0,2020-03-01\n",
        "condition_occurrence": "condition_occurrence_id,person_id,condition_concept_id,condition_start_date\n"
        "1,7,222,2020-02-01\n",
    } | more
    for name, text in content.items():
        (folder / f"{name}.csv").write_text(text)


def test_rows_become_facts_in_order_of_their_dates(tmp_path):
    tables(tmp_path)
    person, condition, exposure = facts(tmp_path)
    assert (person.kind, person.sex) == ("person", "female")
    assert (condition.kind, condition.codes) == ("outcome", [f"{SYSTEM}|222"])
    assert (exposure.kind, exposure.codes) == ("exposure", [f"{SYSTEM}|111"])
    assert {person.patient, condition.patient, exposure.patient} == {KEY.of("db", "7")}


def test_a_missing_table_or_column_is_told(tmp_path):
    with pytest.raises(SourceError, match="has no person"):
        facts(tmp_path)
    tables(tmp_path, condition_occurrence="condition_occurrence_id,person_id\n1,7\n")
    with pytest.raises(SourceError, match="condition_occurrence"):
        facts(tmp_path)


@pytest.mark.reference
def test_reference_synthetic_persons(refdata):
    found = facts(refdata / "pv/raw/omop_synthea27nj")
    assert len({fact.patient for fact in found}) == 28
    kinds = {kind: sum(fact.kind == kind for fact in found) for kind in ("person", "exposure", "outcome")}
    assert kinds["person"] == 28
    assert kinds["exposure"] > 100
    assert kinds["outcome"] > 100
    times = [fact.time for fact in found if fact.kind != "person"]
    assert times == sorted(times)
