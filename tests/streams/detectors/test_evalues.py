"""Closed forms of anytime-valid evidence."""

import json

import numpy as np
import pytest
from scipy.integrate import quad

from streams.detectors import evalues


def test_bayes_factors_by_hand():
    # One value in one of two bins: the uniform prior predicts 1/2, as the null does.
    assert evalues.log_e_dirichlet_multinomial([1, 0], [0.5, 0.5], [1, 1]) == pytest.approx(0)
    # Three equal values in a row: 1/2 * 2/3 * 3/4 = 1/4 against 1/8.
    assert evalues.log_e_dirichlet_multinomial([3, 0], [0.5, 0.5], [1, 1]) == pytest.approx(np.log(2))
    assert evalues.log_e_beta_binomial(3, 3) == pytest.approx(np.log(2))


def test_mixture_martingale_is_the_integral_over_its_powers():
    p = np.array([0.3, 0.01, 0.5])
    mixed = quad(lambda e: np.prod(e * p ** (e - 1)), 0, 1)[0]
    assert evalues.simple_mixture_martingale(p)[-1] == pytest.approx(mixed, rel=1e-10)
    np.testing.assert_allclose(evalues.power_martingale(p, 0.5), np.cumprod(0.5 * p**-0.5))


@pytest.mark.reference
def test_closed_forms_agree_with_the_reference(refdata):
    case = json.loads((refdata / "stats/cases/P15_anytime_valid_closed_forms.json").read_text())
    given, expected = case["input"], case["expected"]
    alpha, p = given["alpha"], given["p_values"]
    trials = np.array(given["beta_binomial_n_s"])
    one, ten = given["alpha_prior"]
    answers = {
        "log_e_dirichlet_multinomial_prior1": evalues.log_e_dirichlet_multinomial(given["counts"], given["p0"], one),
        "log_e_dirichlet_multinomial_prior10": evalues.log_e_dirichlet_multinomial(given["counts"], given["p0"], ten),
        "log_e_beta_binomial_vs_half": evalues.log_e_beta_binomial(trials[:, 0], trials[:, 1]),
        "normal_mixture_boundary": evalues.normal_mixture_boundary(given["normal_mixture_v"], given["rho"], alpha),
        "power_martingale": evalues.power_martingale(p, given["power_epsilon"]),
        "simple_mixture_martingale": evalues.simple_mixture_martingale(p),
        "dkw_time_uniform_halfwidth": evalues.dkw_time_uniform_halfwidth(given["t"], alpha),
        "dkw_fixed_n_halfwidth": evalues.dkw_halfwidth(given["t"], alpha),
    }  # fmt: skip
    assert answers.keys() == expected.keys()
    for name, value in answers.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-9, err_msg=name)
