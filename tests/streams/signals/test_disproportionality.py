import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.signals.disproportionality import chi_square, fisher_greater, prr, ror
from streams.signals.information import approximate_limits, bcpnn, bcpnn_moments, information_component
from streams.signals.tables import Tables, count_pairs, count_reports

STRATUM = Tables.of_cells(203, 29865, 305, 124836)


def test_prr_of_a_published_table():
    found = prr(STRATUM)
    assert [found.value[0], found.lower[0], found.upper[0]] == pytest.approx(
        [2.77007340738, 2.320508772121, 3.30673461547], rel=1e-11
    )


def test_ror_of_a_published_table():
    found = ror(STRATUM)
    assert [found.value[0], found.lower[0], found.upper[0]] == pytest.approx(
        [2.78210504648, 2.328502366718, 3.324071557873], rel=1e-11
    )


def test_chi_square_with_and_without_yates():
    assert chi_square(STRATUM)[0] == pytest.approx(136.988718579696, rel=1e-12)
    assert chi_square(STRATUM, yates=False)[0] == pytest.approx(138.307974665011, rel=1e-12)


def test_information_component_of_a_published_table():
    found = information_component(STRATUM.a, STRATUM.expected)
    assert [found.value[0], found.lower[0], found.upper[0]] == pytest.approx(
        [1.040800439253, 0.8354341276151, 1.232346532401], rel=1e-11
    )


def test_undefined_cells_follow_the_stated_rule():
    tables = Tables.of_cells([4, 0, 0], [200, 100, 0], [0, 200, 0], [9796, 99700, 10])
    for found in (prr(tables), ror(tables)):
        assert found.value[0] == np.inf
        assert found.value[1] == 0
        assert np.isnan(found.value[2])
        assert np.isnan(found.lower).all()
        assert np.isnan(found.upper).all()


def test_chi_square_is_undefined_where_a_margin_is_empty():
    assert np.isnan(chi_square(Tables.of_cells([0, 5], [10, 0], [0, 3], [100, 0]))).all()


def test_information_component_is_always_defined():
    found = information_component([0], [0.0])
    assert found.value[0] == 0
    assert np.isfinite([found.lower[0], found.upper[0]]).all()


CELL = st.integers(1, 10**6)


@given(CELL, CELL, CELL, CELL)
def test_exchanging_drug_and_comparator_inverts_the_odds_ratio(a, b, c, d):
    one, other = ror(Tables.of_cells(a, b, c, d)), ror(Tables.of_cells(c, d, a, b))
    assert one.value[0] * other.value[0] == pytest.approx(1, rel=1e-12)
    assert one.lower[0] * other.upper[0] == pytest.approx(1, rel=1e-12)


@given(CELL, CELL, CELL, CELL)
def test_limits_enclose_the_estimate(a, b, c, d):
    tables = Tables.of_cells(a, b, c, d)
    for found in (prr(tables), ror(tables), information_component(tables.a, tables.expected), bcpnn(tables)):
        assert found.lower[0] < found.value[0] < found.upper[0]


@pytest.fixture(scope="module")
def twobytwo(refdata):
    return json.loads((refdata / "pv/expected/twobytwo.json").read_text())


def cells(rows):
    return Tables.of_cells(*([row[cell] for row in rows] for cell in "abcd"))


def agrees(found, rows, *path, rel=1e-9, abs_=0.0):
    compared = 0
    for i, row in enumerate(rows):
        expected = row
        for step in path:
            expected = expected[step] if expected is not None else None
        if expected is not None:
            assert found[i] == pytest.approx(expected, rel=rel, abs=abs_), (row["id"], path)
            compared += 1
    assert compared > 20


@pytest.mark.reference
def test_reference_two_by_two_tables(twobytwo):
    tables = cells(twobytwo)
    agrees(tables.expected, twobytwo, "expected")
    for name, found in (("prr", prr(tables)), ("ror", ror(tables))):
        agrees(found.value, twobytwo, name, "est")
        agrees(found.lower, twobytwo, name, "lo")
        agrees(found.upper, twobytwo, name, "hi")
        undefined = np.array([row[name] is None for row in twobytwo])
        assert np.isnan(found.lower[undefined]).all()
    agrees(chi_square(tables), twobytwo, "chi2_yates", abs_=1e-12)
    agrees(chi_square(tables, yates=False), twobytwo, "chi2")


@pytest.mark.reference
def test_reference_information_components(twobytwo):
    tables = cells(twobytwo)
    shrunk, wide = (information_component(tables.a, tables.expected, level) for level in (0.95, 0.99))
    agrees(shrunk.value, twobytwo, "ic_shrink", "est")
    agrees(shrunk.lower, twobytwo, "ic_shrink", "ic025_gamma")
    agrees(shrunk.upper, twobytwo, "ic_shrink", "ic975_gamma")
    agrees(wide.lower, twobytwo, "ic_shrink", "ic005_gamma")
    low, high = approximate_limits(tables.a, tables.expected)
    agrees(low, twobytwo, "ic_shrink", "ic025_noren2013_approx")
    agrees(high, twobytwo, "ic_shrink", "ic975_noren2013_approx")
    normal = bcpnn(tables)
    agrees(normal.value, twobytwo, "ic_bcpnn_normal", "est")
    agrees(bcpnn_moments(tables)[1], twobytwo, "ic_bcpnn_normal", "var")
    agrees(normal.lower, twobytwo, "ic_bcpnn_normal", "lo")
    agrees(normal.upper, twobytwo, "ic_bcpnn_normal", "hi")


@pytest.mark.reference
def test_reference_exact_tests(twobytwo):
    rows = [row for row in twobytwo if row["fisher_p_greater"] is not None]
    tables = cells(rows)
    agrees(fisher_greater(tables), rows, "fisher_p_greater")
    agrees(fisher_greater(tables, mid_p=True), rows, "fisher_midp_greater")


def counted(reports):
    (drug, drugs), (event, events) = (pd.factorize(reports[name], sort=True) for name in ("drug", "event"))
    counts = count_reports(pd.factorize(reports["report_id"])[0], drug, event)
    tables = counts.tables()
    found = pd.DataFrame({"drug": drugs[counts.drug], "event": events[counts.event], "obs": counts.a})
    ic = information_component(tables.a, tables.expected)
    for name, estimate in (("ic", ic), ("prr", prr(tables)), ("ror", ror(tables))):
        found[name], found[f"{name}2.5"], found[f"{name}97.5"] = (
            estimate.value,
            estimate.lower,
            estimate.upper,
        )
    found["exp_rrr"], found["n_tot"] = tables.expected, counts.total
    return found


def joined_agree(found, expected, keys):
    merged = expected.merge(found, on=keys, suffixes=("", "_found"), how="left", validate="one_to_one")
    for column in found.columns.difference(keys):
        # R leaves infinities and NaN in the limits where c = 0; the project's rule there is NaN.
        defined = np.isfinite(merged[column])
        assert defined.any()
        assert merged[f"{column}_found"][defined].to_numpy() == pytest.approx(
            merged[column][defined].to_numpy(), rel=1e-9, abs=1e-9 if column.startswith("ic") else 0
        ), column
    return len(merged)


@pytest.mark.reference
@pytest.mark.parametrize(
    ("raw", "expected", "rows"),
    [("pvda_drug_event_df", "pvda_drug_event_df", 636), ("pvda_tiny_dataset", "pvda_tiny", 50)],
)
def test_reference_reports_of_pvda(refdata, raw, expected, rows):
    found = counted(pd.read_csv(refdata / f"pv/raw/{raw}.csv"))
    assert (
        joined_agree(found, pd.read_csv(refdata / f"pv/expected/{expected}.csv"), ["drug", "event"]) == rows
    )


@pytest.mark.reference
def test_reference_reports_of_pvda_by_group(refdata):
    reports = pd.read_csv(refdata / "pv/raw/pvda_drug_event_df.csv")
    found = pd.concat([counted(part).assign(group=group) for group, part in reports.groupby("group")])
    expected = pd.read_csv(refdata / "pv/expected/pvda_drug_event_df_by_group.csv")
    assert joined_agree(found, expected, ["group", "drug", "event"]) == 891


@pytest.mark.reference
def test_reference_pairs_of_phvid(refdata):
    raw = pd.read_csv(refdata / "pv/raw/phvid_counts.csv.gz")
    (drug, drugs), (event, events) = pd.factorize(raw["Drug lab"]), pd.factorize(raw["AE lab"])
    counts = count_pairs(drug, event, raw["n11"])
    tables = counts.tables()
    assert (len(tables), counts.total) == (102_483, 1_196_487)
    rates, odds, normal = prr(tables), ror(tables), bcpnn(tables)
    ic = information_component(tables.a, tables.expected)
    enough = tables.a >= 3
    # PhViD's IC025 is the lower limit of the normal approximation.
    assert [int((enough & (x >= 1)).sum()) for x in (rates.lower, odds.lower)] == [13_565, 13_546]
    assert int((normal.lower > 0).sum()) == 10_067
    assert np.isfinite(ic.lower).all()
    found = pd.DataFrame({"drug": drugs[counts.drug], "event": events[counts.event]})
    found["PRR"], found["ROR"], found["IC025_normal"] = rates.value, odds.value, normal.lower
    with np.errstate(divide="ignore"):
        found["ln_PRR_025"], found["ln_ROR_025"] = np.log(rates.lower), np.log(odds.lower)
    found["midRFET_p"] = fisher_greater(tables, mid_p=True)
    expected = pd.read_csv(refdata / "pv/expected/phvid_scores_sample.csv")
    merged = expected.merge(found, on=["drug", "event"], suffixes=("", "_found"))
    assert len(merged) == 1465
    for name, slack in (
        ("PRR", 0),
        ("ROR", 0),
        ("ln_PRR_025", 1e-9),
        ("ln_ROR_025", 1e-9),
        ("IC025_normal", 1e-9),
        ("midRFET_p", 1e-12),
    ):
        both = np.isfinite(merged[name]) & np.isfinite(merged[f"{name}_found"])
        assert both.mean() > 0.95
        assert merged[f"{name}_found"][both].to_numpy() == pytest.approx(
            merged[name][both].to_numpy(), rel=1e-9, abs=slack
        ), name


@pytest.mark.reference
def test_reference_omop_reference_set_in_faers(refdata):
    rows = pd.read_csv(refdata / "pv/expected/omop_refset_scored_faers22q3.csv")
    cases = pd.read_csv(refdata / "pv/raw/faers22q3_case_drug_event.csv.gz", usecols=["CASEID"])[
        "CASEID"
    ].nunique()
    assert len(rows) == 199
    # Expected counts are printed with eight digits; the totals of events that they imply are whole.
    seen = rows[rows["n_drug"] > 0]
    for _, outcome in seen.groupby("outcome"):
        totals = outcome["expected"] * cases / outcome["n_drug"]
        total = round(float(totals.median()))
        assert totals.to_numpy() == pytest.approx(total, rel=1e-6)
        tables = Tables.of_margins(outcome["a"], outcome["n_drug"], total, cases)
        found = information_component(tables.a, tables.expected)
        assert found.value == pytest.approx(outcome["IC"].to_numpy(), rel=1e-6, abs=1e-7)
        assert found.lower == pytest.approx(outcome["IC025"].to_numpy(), rel=1e-6)
        assert prr(tables).value == pytest.approx(outcome["PRR"].to_numpy(), rel=1e-6)
    truth = rows["truth"].to_numpy(dtype=bool)
    assert (rows["IC025"] > 0)[truth].mean() > 2 * (rows["IC025"] > 0)[~truth].mean()
