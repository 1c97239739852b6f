"""The simulated network: the same bytes for the same seed, and the truth it claims."""

from collections import Counter

from producers.hospitals import Network, day_of, records
from producers.pseudonyms import Pseudonyms
from schemas.clinical import facts_of

KEY = Pseudonyms(b"a secret of at least sixteen bytes")
SMALL = Network(courses=3_000, seed=5)


def test_the_same_network_gives_the_same_bytes():
    assert records(SMALL, KEY) == records(SMALL, KEY)
    assert records(SMALL, KEY) != records(Network(courses=3_000, seed=6), KEY)


def test_every_record_is_a_fact_by_pseudonym_in_order_of_sending():
    sent = records(SMALL, KEY)
    assert [s.day for s in sent] == sorted(s.day for s in sent)
    for one in sent[:500]:
        (fact,) = facts_of(one.value, "net")
        assert fact.patient.encode() == one.key
        assert "patient-" not in one.value.decode()
        assert fact.retracted or day_of(fact.time) <= one.day + 1


def test_the_hidden_drug_raises_its_event_and_no_other():
    network = Network(courses=20_000, relative_risk=5.0, begins=0, withdrawn=0.0, repeated=0.0, seed=3)
    given: Counter[str] = Counter()
    drug_of, happened = {}, Counter()
    facts = [fact for one in records(network, KEY) for fact in facts_of(one.value, "net")]
    for fact in facts:
        if fact.kind == "exposure":
            drug_of[fact.patient] = fact.codes[0]
            given[fact.codes[0]] += 1
    for fact in facts:
        if fact.kind == "outcome":
            happened[drug_of[fact.patient], fact.codes[0]] += 1
    drug, event = network.hidden
    rest = sum(n for (d, e), n in happened.items() if d != drug and e == event) / (
        sum(given.values()) - given[drug]
    )
    assert 4.0 < happened[drug, event] / given[drug] / rest < 6.0


def test_resources_are_repeated_and_withdrawn():
    facts = [fact for one in records(SMALL, KEY) for fact in facts_of(one.value, "net")]
    ids = Counter((fact.id, fact.version) for fact in facts)
    assert sum(n > 1 for n in ids.values()) > 20
    assert any(fact.retracted for fact in facts)
