import numpy as np
import pandas as pd
import pytest

from streams.signals.disproportionality import prr
from streams.signals.interaction import expected_together, omega
from streams.signals.masking import masking
from streams.signals.tables import count_reports


def reports(*groups):
    """Give rows of reports: each group is (how many reports, drugs, events)."""
    rows, number = [], 0
    for count, drugs, events in groups:
        for _ in range(count):
            rows += [(number, d, e) for d in drugs for e in events]
            number += 1
    return np.array(rows).T


# Drug 1 is known for event 0 and hides that drug 0 causes it too.
HIDDEN = reports(
    (6, [0], [0]), (94, [0], [1]), (500, [1], [0]), (400, [2], [1]), (4, [2], [0]), (3, [0, 1], [0])
)


def test_the_masking_drug_is_found():
    found = masking(*HIDDEN, (0, 0))
    strongest = int(found.drug[found.strongest()[0]])
    assert strongest == 1
    at = found.drug.tolist().index(1)
    assert found.ratio[at] > 5
    assert found.ic_gain[at] > 1
    assert found.ratio[found.drug.tolist().index(2)] < 1


def test_tables_are_those_counted_without_the_other_drug():
    found = masking(*HIDDEN, (0, 0))
    frame = pd.DataFrame(HIDDEN.T, columns=["report", "drug", "event"])
    for other in (1, 2):
        kept = frame[~frame["report"].isin(frame["report"][frame["drug"] == other])]
        counts = count_reports(kept["report"], kept["drug"], kept["event"])
        pair = int(np.flatnonzero((counts.drug == 0) & (counts.event == 0))[0])
        table, at = counts.tables(), found.drug.tolist().index(other)
        assert found.tables.a[at] == table.a[pair]
        assert prr(found.tables).value[at] == pytest.approx(prr(table).value[pair], nan_ok=True)


def test_a_pair_without_reports_has_no_mask():
    with pytest.raises(ValueError, match="no report"):
        masking(*HIDDEN, (2, 7))


def test_additive_drugs_do_not_interact():
    # Shares 10% with neither, 20% and 30% with one: odds add up beyond the baseline.
    expected = expected_together((100, 20, 30), (1000, 100, 100, 50))
    odds = 0.25 + 3 / 7 - 1 / 9
    assert expected == pytest.approx(50 * odds / (1 + odds))
    assert omega(expected, expected).value[0] == pytest.approx(0)


def test_a_protective_drug_does_not_lower_what_is_expected():
    shielded = expected_together((100, 1, 30), (1000, 100, 100, 50))
    assert shielded == pytest.approx(50 * (3 / 7) / (1 + 3 / 7))


def test_more_than_expected_with_both_signals():
    found = omega(25, expected_together((100, 10, 10), (1000, 100, 100, 60)))
    assert found.lower[0] > 0
