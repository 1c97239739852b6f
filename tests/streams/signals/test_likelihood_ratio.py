import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from streams.signals.likelihood_ratio import (
    expected_table,
    monte_carlo_p,
    poisson_log_lr,
    structural_zeros,
    zero_inflation,
)

TABLE = np.array([[30, 5, 400], [0, 12, 350], [2, 0, 900], [8, 3, 120]])


def test_expected_counts_keep_the_margins():
    e = expected_table(TABLE)
    assert e.sum(0) == pytest.approx(TABLE.sum(0))
    assert e.sum(1) == pytest.approx(TABLE.sum(1))


def test_ratio_is_that_of_two_poisson_likelihoods():
    found = poisson_log_lr([7, 3, 0], [2.5, 3.5, 1.0])
    assert found[0] == pytest.approx(stats.poisson.logpmf(7, 7) - stats.poisson.logpmf(7, 2.5), rel=1e-12)
    assert found[1:].tolist() == [0, 0]


def test_zero_inflation_maximises_the_likelihood():
    rng = np.random.default_rng(2)
    n = rng.poisson(np.outer(rng.uniform(1, 8, 60), [1.0, 2.0])) * (rng.random((60, 2)) >= [0.3, 0.0])
    e, found = expected_table(n), zero_inflation(n)

    def loss(share, j):
        zero = n[:, j] == 0
        return -np.log(share + (1 - share) * np.exp(-e[zero, j])).sum() - (~zero).sum() * np.log1p(-share)

    best = optimize.minimize_scalar(loss, bounds=(0, 0.9), args=(0,), method="bounded").x
    assert found[0] == pytest.approx(best, abs=1e-4)
    assert found[0] > 0.1


def test_only_empty_cells_can_be_structural_zeros():
    belief = structural_zeros(TABLE)
    assert (belief[TABLE > 0] == 0).all()
    assert (belief[TABLE == 0] > 0.5).all()


def test_p_values_are_valid_under_the_null():
    rng = np.random.default_rng(5)
    e = np.outer([4.0, 9.0, 2.0, 6.0], [1.0, 0.5, 3.0])
    smallest = [monte_carlo_p(rng.poisson(e), rng, 99).min() for _ in range(250)]
    assert np.mean(np.array(smallest) <= 0.05) == pytest.approx(0.05, abs=0.045)


def test_a_planted_signal_is_found():
    table = np.outer([40, 30, 60, 25], [1, 2, 10])
    table[1, 0] += 60
    p = monte_carlo_p(table, np.random.default_rng(0), 199)
    assert p[1, 0] == 1 / 200
    assert (np.delete(p.ravel(), 3) > 0.05).all()


def listed(refdata, raw, expected):
    table = pd.read_csv(refdata / f"pv/raw/pvLRT_{raw}.csv", index_col=0)
    rows = pd.read_csv(refdata / f"pv/expected/{expected}.csv")
    # The last column, all other drugs together, is not tested.
    assert rows["lr" if "lr" in rows else "lr_zip"].isna().equals(rows["Drug"] == table.columns[-1])
    rows = rows[rows["Drug"] != table.columns[-1]]
    at = table.index.get_indexer(rows["AE"]), table.columns.get_indexer(rows["Drug"])
    return table.to_numpy(), rows, at, np.arange(table.shape[1]) < table.shape[1] - 1


def assert_agree(p, published, their_draws, draws):
    """Allow 0.02, or what the two Monte Carlo errors leave."""
    error = np.sqrt(published * (1 - published) * (1 / their_draws + 1 / draws))
    assert (np.abs(p - published) <= np.maximum(0.02, 2.5 * error)).all()


@pytest.mark.reference
@pytest.mark.parametrize(("raw", "draws"), [("lovastatin", 9999), ("statin46", 9999), ("gbca", 999)])
def test_reference_poisson_tests(refdata, raw, draws):
    table, rows, at, tested = listed(refdata, raw, f"lrt_poisson_{raw}")
    assert poisson_log_lr(table, expected_table(table))[at] == pytest.approx(rows["lr"].to_numpy(), abs=1e-8)
    p = monte_carlo_p(table, np.random.default_rng(1), draws, tested=tested)
    assert_agree(p[at], rows["p_mc2000"].to_numpy(), 2000, draws)


@pytest.mark.reference
def test_reference_zero_inflated_test(refdata):
    table, rows, at, tested = listed(refdata, "statin46", "lrt_zip_statin46")
    assert poisson_log_lr(table, expected_table(table))[at] == pytest.approx(
        rows["lr_zip"].to_numpy(), abs=1e-8
    )
    p = monte_carlo_p(table, np.random.default_rng(1), 9999, structural_zeros(table), tested)[at]
    published = rows["p_mc1000"].to_numpy()
    assert_agree(p, published, 1000, 9999)
    assert ((p < 0.05) == (published < 0.05)).all()
