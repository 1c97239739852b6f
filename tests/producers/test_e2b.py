"""E2B(R3) messages: what is read of a case, and attacks that are refused."""

import pytest

from producers.e2b import E2BError, reports_of
from producers.pseudonyms import Pseudonyms


@pytest.mark.parametrize(
    "attack",
    [
        b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]><x>&e;</x>',
        b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><MCCI_IN200100UV01>&b;</MCCI_IN200100UV01>',
        b'<!DOCTYPE x SYSTEM "http://127.0.0.1:9/evil.dtd"><x/>',
    ],
)
def test_entity_attacks_are_refused(attack):
    with pytest.raises(E2BError, match="DTD"):
        reports_of(attack, "s", "all")


@pytest.mark.parametrize("bad", [b"", b"<x", b"<x/>", b"plain text"])
def test_what_is_no_batch_is_refused(bad):
    with pytest.raises(E2BError):
        reports_of(bad, "s", "all")


def test_a_message_that_is_too_large_is_refused():
    with pytest.raises(E2BError, match="more than"):
        reports_of(b" " * (21 << 20), "s", "all")


@pytest.mark.reference
def test_reference_vaers_example(refdata):
    message = (refdata / "pv/raw/fhir_icsr_ig/VAERS_EXAMPLE.xml").read_bytes()
    (report,) = reports_of(message, "vaers", "us", Pseudonyms(b"a secret of at least sixteen bytes"))
    # Hydrocortisone was given beside, and is no suspect.
    assert (report.drugs, report.events) == (["influenza virus vaccine, inactivated"], ["meddra|10004223"])
    assert (report.sex, report.serious, report.status) == ("male", True, "active")
    assert report.time == 1_609_804_800_000
    assert report.onset == 1_492_905_600_000
    assert "LNAME" not in str(report)
    assert len(report.patient) == 26
