import json

import numpy as np
import pytest

from streams.signals.disclosure import DISCLOSURES


@pytest.mark.parametrize(
    ("count", "released"), [(0, 0), (6, 0), (7, 0), (8, 10), (12, 10), (13, 15), (1003, 1005)]
)
def test_opensafely_suppresses_and_rounds(count, released):
    assert DISCLOSURES["opensafely"].released(count) == released


@pytest.mark.parametrize("bad", [-1, 7.1, np.nan])
def test_what_is_no_count_is_refused(bad):
    with pytest.raises(ValueError, match="whole"):
        DISCLOSURES["opensafely"].released(bad)


def test_thresholds_of_the_other_presets():
    counts = np.arange(7)
    assert DISCLOSURES["vantage6"].leaves(counts).tolist() == [False] * 5 + [True] * 2
    assert DISCLOSURES["datashield"].leaves(counts).tolist() == [True, False, False, True, True, True, True]
    assert DISCLOSURES["none"].released(counts).tolist() == counts.tolist()


@pytest.mark.reference
def test_reference_rules(refdata):
    rules = json.loads((refdata / "pv/expected/disclosure_control_rules.json").read_text())
    rule = DISCLOSURES["opensafely"]
    for count, released in rules["opensafely_ehrql"]["examples"]:
        assert rule.released(count) == released
    for bad in rules["opensafely_ehrql"]["invalid"]:
        with pytest.raises(ValueError, match="whole"):
            rule.released(bad)
    assert DISCLOSURES["vantage6"].suppress == rules["vantage6_crosstab"]["threshold"] - 1
    assert DISCLOSURES["vantage6"].zero_leaves == rules["vantage6_crosstab"]["allow_zero"]
    assert DISCLOSURES["datashield"].suppress == rules["datashield_dsBase"]["nfilter.tab"] - 1
