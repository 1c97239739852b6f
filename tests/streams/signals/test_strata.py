import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.signals.disproportionality import chi_square, ror
from streams.signals.information import information_component
from streams.signals.strata import cochran_mantel_haenszel, mantel_haenszel, pooled
from streams.signals.tables import Tables

CELL = st.integers(1, 500)


@given(CELL, CELL, CELL, CELL)
def test_one_stratum_is_the_plain_odds_ratio(a, b, c, d):
    tables = Tables.of_cells(a, b, c, d)
    found, plain = mantel_haenszel(np.zeros(1, np.intp), tables, 1), ror(tables)
    assert found.value[0] == pytest.approx(plain.value[0], rel=1e-12)
    assert found.lower[0] == pytest.approx(plain.lower[0], rel=1e-9)


def test_confounding_by_stratum_is_undone():
    # No association within either stratum, a strong one in their sum.
    strata = Tables.of_cells([90, 1], [10, 9], [9, 10], [1, 90])
    found = mantel_haenszel(np.zeros(2, np.intp), strata, 1)
    assert found.value[0] == pytest.approx(1.0)
    whole = Tables.of_cells(91, 19, 19, 91)
    assert ror(whole).value[0] > 20
    assert cochran_mantel_haenszel(np.zeros(2, np.intp), strata, 1)[0][0] == pytest.approx(0, abs=1e-20)


def test_one_large_stratum_is_about_the_plain_chi_square():
    tables = Tables.of_cells(30, 70, 200, 9700)
    chi2, p = cochran_mantel_haenszel(np.zeros(1, np.intp), tables, 1)
    assert chi2[0] == pytest.approx(chi_square(tables)[0], rel=1e-3)
    assert p[0] < 1e-30


def test_strata_without_information_give_no_estimate():
    tables = Tables.of_cells([0, 0], [0, 5], [3, 0], [9, 8])
    found = mantel_haenszel(np.zeros(2, np.intp), tables, 1)
    assert np.isnan([found.value[0], found.lower[0], found.upper[0]]).all()
    assert np.isnan(cochran_mantel_haenszel(np.zeros(2, np.intp), tables, 1)[0][0])


@pytest.mark.reference
def test_reference_strata_of_pvda(refdata):
    rows = json.loads((refdata / "pv/expected/mantel_haenszel_pvda.json").read_text())
    assert len(rows) == 130
    pair = np.array([i for i, row in enumerate(rows) for _ in row["strata"]])
    cells = ([s[name] for row in rows for s in row["strata"]] for name in ("obs", "b", "c", "d"))
    tables, pairs = Tables.of_cells(*cells), len(rows)
    odds = mantel_haenszel(pair, tables, pairs)
    chi2, p = cochran_mantel_haenszel(pair, tables, pairs)
    expected = pooled(pair, tables.expected, pairs)
    ic = information_component(pooled(pair, tables.a, pairs), expected)
    for name, found in (
        ("mh_or", odds.value),
        ("mh_lo", odds.lower),
        ("mh_hi", odds.upper),
        ("cmh_chi2", chi2),
        ("p", p),
        ("expected_stratified", expected),
        ("ic_stratified", ic.value),
        ("ic025_stratified", ic.lower),
    ):
        assert found == pytest.approx([row[name] for row in rows], rel=1e-9, abs=1e-9), name
