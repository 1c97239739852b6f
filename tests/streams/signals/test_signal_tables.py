import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.signals.tables import Tables, by_distinct, count_pairs, count_reports


def test_margins_and_cells_say_the_same():
    tables = Tables.of_margins([4], [19], [7], [110])
    assert (tables.a[0], tables.b[0], tables.c[0], tables.d[0]) == (4, 15, 3, 88)
    assert tables.n[0] == 110
    assert tables.expected[0] == pytest.approx(19 * 7 / 110, rel=1e-15)


@pytest.mark.parametrize("cells", [(-1, 0, 0, 0), (float("nan"), 0, 0, 0)])
def test_cells_must_be_counts(cells):
    with pytest.raises(ValueError, match="counts"):
        Tables.of_cells(*cells)


def test_margins_that_cannot_hold_the_joint_count_are_refused():
    with pytest.raises(ValueError, match="counts"):
        Tables.of_margins([4], [3], [7], [110])


def test_an_empty_table_expects_nothing():
    assert Tables.of_cells(0, 0, 0, 0).expected[0] == 0


def test_a_report_counts_once_however_often_it_repeats_itself():
    counts = count_reports([7, 7, 7, 8], [0, 0, 1, 0], [2, 2, 2, 3])
    assert counts.total == 2
    assert list(zip(counts.drug.tolist(), counts.event.tolist(), counts.a.tolist(), strict=True)) == [
        (0, 2, 1),
        (0, 3, 1),
        (1, 2, 1),
    ]
    assert counts.drug_total.tolist() == [2, 2, 1]
    assert counts.event_total.tolist() == [1, 1, 1]


def test_no_rows_are_no_pairs():
    counts = count_reports([], [], [])
    assert (len(counts.a), counts.total, len(counts.tables())) == (0, 0, 0)


def test_negative_codes_are_refused():
    with pytest.raises(ValueError, match="negative"):
        count_reports([1], [-1], [0])


def test_pairs_as_the_unit_have_margins_that_are_sums():
    counts = count_pairs([1, 0, 0], [0, 1, 0], [5, 3, 2])
    assert counts.total == 10
    assert counts.a.tolist() == [2, 3, 5]
    assert counts.drug_total.tolist() == [5, 5, 5]
    assert counts.event_total.tolist() == [7, 3, 7]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.integers(0, 3)), max_size=40))
def test_counts_are_those_of_sets(rows):
    counts = count_reports(*np.array(rows, dtype=np.int64).reshape(-1, 3).T)
    reports = {}
    for report, drug, event in rows:
        reports.setdefault(report, set()).add((drug, event))
    for i, (drug, event) in enumerate(zip(counts.drug, counts.event, strict=True)):
        assert counts.a[i] == sum((drug, event) in pairs for pairs in reports.values())
        assert counts.drug_total[i] == sum(any(d == drug for d, _ in pairs) for pairs in reports.values())
        assert counts.event_total[i] == sum(any(e == event for _, e in pairs) for pairs in reports.values())
    assert counts.total == len(reports)


@given(
    st.lists(st.one_of(st.integers(0, 50), st.floats(0.1, 9)), max_size=60), st.sampled_from([0.0, 0.5, 0.1])
)
def test_a_function_by_distinct_values_is_the_function(values, shift):
    x = np.array(values, dtype=np.float64) + shift
    calls = []

    def function(distinct):
        calls.append(len(distinct))
        return np.sqrt(distinct)

    assert by_distinct(function, x).tolist() == np.sqrt(x).tolist()
    assert calls == [len(np.unique(x))]
