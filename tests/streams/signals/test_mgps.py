import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, special

from streams.signals.mgps import Prior, false_discovery_rates, posterior
from streams.signals.mgps_fit import STARTS, Cells, Likelihood, fit_prior, neg_log_likelihood
from streams.signals.tables import count_pairs, count_reports

VIGNETTE = Prior(3.25379356, 0.39988854, 2.02612692, 1.9080797, 0.06534557)


def test_scores_at_a_fixed_prior():
    found = posterior(VIGNETTE, [1], [121 / 3356])
    assert found.weight[0] == pytest.approx(0.2819737360234, rel=1e-9)
    assert found.ebgm()[0] == pytest.approx(2.2266869304, rel=1e-9)
    assert found.quantile(0.05)[0] == pytest.approx(0.4910737607, rel=1e-9)
    assert found.quantile(0.95)[0] == pytest.approx(13.8560632361, rel=1e-9)


@given(st.integers(0, 5000), st.floats(1e-4, 1e3), st.sampled_from([0.01, 0.05, 0.5, 0.95]))
def test_quantile_inverts_the_distribution(n, e, level):
    found = posterior(VIGNETTE, [n], [e])
    assert found.cdf(found.quantile(level))[0] == pytest.approx(level, rel=1e-9)


def test_ebgm_is_the_geometric_mean_of_the_posterior():
    found = posterior(VIGNETTE, [4], [1.5])
    log_mean, _ = integrate.quad(lambda x: np.log(x) * found.density(np.array([x]))[0], 0, 60, limit=200)
    assert found.ebgm()[0] == pytest.approx(np.exp(log_mean), rel=1e-6)


@pytest.mark.parametrize("bad", [(0, 1, 1, 1, 0.5), (1, 1, 1, 1, 1.5)])
def test_priors_outside_their_range_are_refused(bad):
    with pytest.raises(ValueError, match="positive"):
        Prior(*bad)


def test_nothing_expected_is_refused():
    with pytest.raises(ValueError, match="positive"):
        posterior(VIGNETTE, [1], [0.0])


def drawn(prior, k=4000, seed=5):
    rng = np.random.default_rng(seed)
    first = rng.random(k) < prior.p
    rate = np.where(
        first, rng.gamma(prior.alpha1, 1 / prior.beta1, k), rng.gamma(prior.alpha2, 1 / prior.beta2, k)
    )
    e = rng.gamma(0.7, 2.0, k) + 1e-3
    n = rng.poisson(rate * e)
    return n, e


@pytest.mark.parametrize("truncated", [True, False])
def test_gradient_is_that_of_the_value(truncated):
    n, e = drawn(VIGNETTE, 300)
    kept = n >= 1 if truncated else n >= 0
    likelihood, theta, h = (
        Likelihood(Cells.of(n[kept], e[kept], truncated=truncated)),
        np.array([0.3, -0.5, 0.7, 0.2, -1.0]),
        1e-6,
    )
    numeric = [
        (likelihood(theta + step)[0] - likelihood(theta - step)[0]) / (2 * h) for step in h * np.eye(5)
    ]
    assert likelihood(theta)[1] == pytest.approx(numeric, rel=1e-5)


@pytest.mark.parametrize("truncated", [True, False])
def test_fit_is_at_least_as_likely_as_the_truth(truncated):
    n, e = drawn(VIGNETTE)
    kept = n >= 1 if truncated else n >= 0
    cells = Cells.of(n[kept], e[kept], truncated=truncated)
    assert fit_prior(cells).neg_log_likelihood <= neg_log_likelihood(VIGNETTE, cells)


def test_squashing_keeps_weight_and_expected_counts():
    n, e = drawn(VIGNETTE)
    cells = Cells.of(n, e, truncated=False)
    small = cells.squashed(50)
    assert len(small.n) < len(cells.n) / 4
    assert small.weight.sum() == len(n)
    assert small.weight @ small.e == pytest.approx(e.sum(), rel=1e-12)
    assert small.weight @ small.n == n.sum()


def test_truncated_cells_cannot_be_empty():
    with pytest.raises(ValueError, match="at least 1"):
        Cells.of([0, 1], [1.0, 1.0])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 30), st.floats(1e-3, 50)), min_size=1, max_size=8))
def test_fit_survives_tiny_tables(rows):
    fit = fit_prior(Cells.of(*zip(*rows, strict=True)))
    assert np.isfinite(fit.neg_log_likelihood)
    assert np.isfinite(posterior(fit.prior, [rows[0][0]], [rows[0][1]]).quantile(0.05)).all()


@pytest.fixture(scope="module")
def caers(refdata):
    raw = pd.read_csv(refdata / "pv/raw/caers_openEBGM.csv")
    (drug, drugs), (event, events) = (
        pd.factorize(raw["var1"], sort=True),
        pd.factorize(raw["var2"], sort=True),
    )
    counts = count_reports(pd.factorize(raw["id"])[0], drug, event)
    assert (len(counts.a), counts.total) == (17_189, 3_356)
    return counts, pd.DataFrame(
        {"var1": drugs[counts.drug], "var2": events[counts.event], "n": counts.a, "e": counts.expected}
    )


@pytest.mark.reference
def test_reference_likelihood_at_given_priors(refdata, caers):
    cells = Cells.of(caers[0].a, caers[0].expected)
    for row in json.loads((refdata / "pv/expected/ebgm_negloglik.json").read_text())["unstratified_Nstar1"]:
        prior = Prior(*(row[f"X{i}"] for i in range(1, 6)))
        assert neg_log_likelihood(prior, cells) == pytest.approx(row["negLL"], rel=1e-10)


@pytest.mark.reference
def test_reference_fit_reaches_the_optimum(refdata, caers):
    best = min(
        fit["neg_loglik"]
        for fit in json.loads((refdata / "pv/expected/ebgm_hyperparameters.json").read_text())
        if fit["id"] == "caers_unstratified_full_nlminb"
    )
    assert fit_prior(Cells.of(caers[0].a, caers[0].expected)).neg_log_likelihood <= best + 1e-3


@pytest.mark.reference
def test_reference_scores_of_caers(refdata, caers):
    expected = pd.read_csv(refdata / "pv/expected/ebgm_caers_unstratified_vignette_theta.csv")
    merged = expected.merge(caers[1], on=["var1", "var2"], validate="one_to_one")
    assert len(merged) == len(expected) == 8595
    assert merged["e"].to_numpy() == pytest.approx(merged["E"].to_numpy(), rel=1e-9)
    found = posterior(VIGNETTE, merged["n"], merged["e"])
    for name, score in (
        ("Qn", found.weight),
        ("EBGM", found.ebgm()),
        ("EB05", found.quantile(0.05)),
        ("EB95", found.quantile(0.95)),
    ):
        assert score == pytest.approx(merged[name].to_numpy(), rel=1e-6), name


@pytest.mark.reference
def test_reference_scores_of_phvid(refdata):
    raw = pd.read_csv(refdata / "pv/raw/phvid_counts.csv.gz")
    (drug, drugs), (event, events) = pd.factorize(raw["Drug lab"]), pd.factorize(raw["AE lab"])
    counts = count_pairs(drug, event, raw["n11"])
    # PhViD fits to the full cross table, zeros included, without truncation.
    full = np.zeros((len(drugs), len(events)))
    full[counts.drug, counts.event] = counts.a
    expected_full = np.outer(full.sum(1), full.sum(0)) / full.sum()
    fit = fit_prior(Cells.of(full.ravel(), expected_full.ravel(), truncated=False))
    scores = posterior(fit.prior, counts.a, counts.expected)
    found = pd.DataFrame({"drug": drugs[counts.drug], "event": events[counts.event]})
    found["eb05"], found["log2"], found["null"] = (
        scores.quantile(0.05),
        np.log2(scores.ebgm()),
        scores.cdf(1.0),
    )
    merged = pd.read_csv(refdata / "pv/expected/phvid_scores_sample.csv").merge(found, on=["drug", "event"])
    assert len(merged) == 1465
    assert merged["eb05"].to_numpy() == pytest.approx(merged["EB05"].to_numpy(), rel=1e-3)
    assert merged["log2"].to_numpy() == pytest.approx(merged["log2_EBGM"].to_numpy(), abs=1e-3)
    assert merged["null"].to_numpy() == pytest.approx(merged["GPS_postH0"].to_numpy(), abs=1e-4)
    summary = json.loads((refdata / "pv/expected/phvid_summary.json").read_text())
    assert (summary["n_cells"], summary["N"]) == (len(counts.a), counts.total)
    rates = false_discovery_rates(scores.cdf(1.0))
    assert int((rates <= 0.05).sum()) == summary["n_signals"]["GPS_FDR05"]


@pytest.mark.reference
def test_reference_scores_of_caers_in_strata(refdata):
    raw = pd.read_csv(refdata / "pv/raw/caers_openEBGM.csv")
    (report, _), (drug, drugs), (event, events) = (
        pd.factorize(raw[name], sort=True) for name in ("id", "var1", "var2")
    )
    whole = count_reports(report, drug, event)
    width = len(events)
    pair = whole.drug * width + whole.event
    expected = np.zeros(len(pair))
    for rows in raw.groupby("strat1").indices.values():
        # Every pair of the whole table has an expected count in each stratum, whether it occurs there or not.
        reports = len(np.unique(report[rows]))
        by_drug = np.bincount(
            np.unique(drug[rows] * (report.max() + 1) + report[rows]) // (report.max() + 1),
            minlength=len(drugs),
        )
        by_event = np.bincount(
            np.unique(event[rows] * (report.max() + 1) + report[rows]) // (report.max() + 1), minlength=width
        )
        expected += by_drug[whole.drug] * by_event[whole.event] / reports
    found = pd.DataFrame({"var1": drugs[whole.drug], "var2": events[whole.event], "e": expected})
    merged = pd.read_csv(refdata / "pv/expected/ebgm_caers_stratified.csv").merge(found, on=["var1", "var2"])
    assert len(merged) == 8595
    assert merged["e"].to_numpy() == pytest.approx(merged["E"].to_numpy(), rel=1e-9)
    # The prior behind the published scores, as the scores themselves tell it.
    theirs = Prior(
        24.353070592757696, 2.341016412863811, 3.5117073424045766, 2.9124709434533553, 0.031827009095538546
    )
    scores = posterior(theirs, merged["N"], merged["e"])
    for name, score in (
        ("Qn", scores.weight),
        ("EBGM", scores.ebgm()),
        ("EB05", scores.quantile(0.05)),
        ("EB95", scores.quantile(0.95)),
    ):
        assert score == pytest.approx(merged[name].to_numpy(), rel=1e-6), name
    cells = Cells.of(whole.a, expected)
    assert fit_prior(cells).neg_log_likelihood <= neg_log_likelihood(theirs, cells) + 1e-3


def test_false_discovery_rates_are_running_means():
    assert false_discovery_rates([0.3, 0.1, 0.2]).tolist() == pytest.approx([0.2, 0.1, 0.15])


def tables_of(refdata):
    """Give observed and expected counts of occurring pairs of every table of the reference data."""
    raw = refdata / "pv/raw"
    codes = [
        ("faers22q3_case_drug_event.csv.gz", "CASEID", "did", "eid"),
        ("pvda_drug_event_df.csv", "report_id", "drug", "event"),
        ("pvda_tiny_dataset.csv", "report_id", "drug", "event"),
    ]
    for name, *columns in codes:
        rows = pd.read_csv(raw / name)
        counts = count_reports(*(pd.factorize(rows[column])[0] for column in columns))
        yield name, counts.a, counts.expected
    for name in ("gbca", "statin1491", "statin46", "rv", "lovastatin"):
        table = pd.read_csv(raw / f"pvLRT_{name}.csv", index_col=0).to_numpy(dtype=np.float64)
        expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
        yield name, table[table > 0], expected[table > 0]


@pytest.mark.reference
def test_reference_fit_is_within_a_hundredth_of_the_best_on_every_table(refdata):
    seen = 0
    for name, observed, expected in tables_of(refdata):
        cells = Cells.of(observed, expected)
        fit = fit_prior(cells)
        whole = Likelihood(cells)
        starts = [fit.prior, *(STARTS if len(observed) < 20_000 else STARTS[:1])]
        best = min(
            optimize.minimize(
                whole,
                np.append(np.log([s.alpha1, s.beta1, s.alpha2, s.beta2]), special.logit(s.p)),
                jac=True,
                method="L-BFGS-B",
                bounds=[(-9, 9)] * 4 + [(-14, 14)],
            ).fun
            for s in starts
        )
        assert fit.neg_log_likelihood <= best + 0.01, name
        seen += 1
    assert seen == 8
