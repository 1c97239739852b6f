import numpy as np
import pandas as pd
import pytest
from scipy import stats

from streams.signals.treescan import Hierarchy, bernoulli_llr, tree_scan

TREE = Hierarchy.of_paths([["root", "I", "I1"], ["root", "I", "I2"], ["root", "J", "J1"]])


def test_path_leads_from_the_code_to_the_root():
    assert TREE.path("I2") == ("I2", "I", "root")
    assert TREE.path("unknown") == ("unknown",)


def test_a_cycle_is_named():
    with pytest.raises(ValueError, match="cycle through 'a'"):
        Hierarchy({"a": "b", "b": "c", "c": "a"})


def test_a_code_with_two_parents_is_refused():
    with pytest.raises(ValueError, match="'x' has two parents"):
        Hierarchy.of_paths([["r", "a", "x"], ["r", "b", "x"]])


def test_ratio_is_that_of_two_binomial_likelihoods():
    found = bernoulli_llr([8, 1, 3], [10, 10, 3], 0.25)
    assert found[0] == pytest.approx(
        stats.binom.logpmf(8, 10, 0.8) - stats.binom.logpmf(8, 10, 0.25), rel=1e-10
    )
    assert found[1] == 0
    assert found[2] == pytest.approx(-3 * np.log(0.25))


def scanned(person, code, exposed, draws=199, **options):
    found = tree_scan(person, code, exposed, TREE, 0.5, np.random.default_rng(1), draws, **options)
    return {
        node: (int(e), int(u)) for node, e, u in zip(found.nodes, found.exposed, found.unexposed, strict=True)
    }, found


def test_a_person_counts_once_at_a_node():
    counts, _ = scanned([1, 1, 2, 3], ["I1", "I2", "I1", "J1"], [1, 1, 0, 1])
    assert counts == {"I1": (1, 1), "I2": (1, 0), "I": (1, 1), "J1": (1, 0), "J": (1, 0), "root": (2, 1)}


@pytest.mark.parametrize("null", ["persons", "nodes"])
def test_excess_below_an_inner_node_is_found_there(null):
    person = np.arange(120)
    code = ["I1"] * 30 + ["I2"] * 30 + ["J1"] * 60
    exposed = np.r_[np.ones(24), np.zeros(6), np.ones(24), np.zeros(6), np.ones(12), np.zeros(48)]
    _, found = scanned(person, code, exposed, null=null)
    best = int(np.argmax(found.llr))
    assert found.nodes[best] == "I"
    assert found.p[best] == 1 / 200
    assert found.p[found.nodes.index("J")] > 0.9


def test_p_values_are_valid_under_the_null():
    rng, hits = np.random.default_rng(9), 0
    for _ in range(200):
        person = np.arange(40)
        code = rng.choice(["I1", "I2", "J1"], 40).tolist()
        found = tree_scan(person, code, rng.random(40) < 0.3, TREE, 0.3, rng, 99)
        hits += found.p.min() <= 0.05
    assert hits / 200 <= 0.09


@pytest.mark.reference
def test_reference_scan_of_diagnoses(refdata):
    data = pd.read_csv(refdata / "pv/raw/treeminer_diagnoses.csv")
    paths = pd.read_csv(refdata / "pv/raw/treeminer_icd10se_paths.csv.gz")["pathString"]
    tree = Hierarchy.of_paths([path.split("/") for path in paths])
    # The sample gives exposed and unexposed persons the same numbers. TreeMineR keeps for each number and node the group
    # that comes first in the order of codes, so the rows are brought into that order.
    data = data.sort_values("leaf", kind="stable")
    group = pd.factorize(data["id"].astype(str) + "/" + data["exposed"].astype(str))[0]
    data = data.iloc[np.argsort(group, kind="stable")]
    found = tree_scan(
        data["id"],
        data["leaf"].tolist(),
        data["exposed"],
        tree,
        1 / 11,
        np.random.default_rng(7),
        2999,
        "nodes",
    )
    frame = pd.DataFrame(
        {"cut": found.nodes, "x1": found.exposed, "x0": found.unexposed, "x": found.llr, "q": found.p}
    )
    expected = pd.read_csv(refdata / "pv/expected/treescan_diagnoses.csv")
    merged = expected.merge(frame, on="cut", validate="one_to_one")
    assert len(merged) == len(expected) == 1718
    assert (merged["x1"] == merged["n1"]).all()
    assert (merged["x0"] == merged["n0"]).all()
    assert merged["x"].to_numpy() == pytest.approx(merged["llr"].to_numpy(), abs=1e-8)
    assert merged["q"].to_numpy() == pytest.approx(merged["p"].to_numpy(), abs=0.02)
