import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from streams.signals.disproportionality import chi_square, prr, ror
from streams.signals.information import information_component
from streams.signals.presets import PRESETS, Criterion, statistics_of
from streams.signals.tables import Tables, count_reports


def judged(name, *cells, **given):
    tables = Tables.of_cells(*cells)
    return PRESETS[name].signals(statistics_of(tables, PRESETS[name].needs, **given)).tolist()


def test_the_presets_by_name():
    assert list(PRESETS) == ["evans-2001", "mhra", "ema-2015", "ema-2016", "umc", "fda"]


def test_evans_needs_three_reports_twice_the_rate_and_chi_square():
    assert judged("evans-2001", [3, 2, 3], [50, 50, 50], [20, 20, 300], 10_000) == [True, False, False]


def test_ema_2016_needs_five_reports():
    assert judged("ema-2016", [4, 5], 50, 20, 10_000) == [False, True]


def test_umc_looks_at_the_lower_limit_of_the_information_component():
    assert judged("umc", [28, 1], [942, 802], [17, 249], [31_435, 172_864]) == [True, False]


def test_empirical_bayes_presets_take_scores_as_given():
    scores = {"ebgm": [2.6, 2.6, 2.4], "eb05": [1.9, 1.7, 2.1]}
    assert judged("mhra", [3, 3, 3], 50, 20, 10_000, **scores) == [True, False, False]
    assert judged("fda", [3, 3, 3], 50, 20, 10_000, **scores) == [False, False, True]


def test_a_missing_statistic_is_named():
    with pytest.raises(ValueError, match="needs the statistic eb05"):
        judged("fda", 3, 50, 20, 10_000)


def test_undefined_limits_never_signal():
    assert judged("ema-2016", 9, 0, 20, 10_000) == [False]


@pytest.mark.reference
def test_reference_checkpoints_of_a_stream_of_reports(refdata):
    rows = pd.read_csv(refdata / "pv/raw/faers22q3_case_drug_event.csv.gz")
    cases = pd.factorize(rows["CASEID"])[0]
    expected = pd.read_csv(refdata / "pv/expected/faers22q3_stream_checkpoints.csv")
    for summary in json.loads((refdata / "pv/expected/faers22q3_stream_summary.json").read_text()):
        part = cases < summary["cases"]
        counts = count_reports(cases[part], rows["did"][part], rows["eid"][part])
        tables = counts.tables()
        assert (counts.total, len(tables)) == (summary["cases"], summary["pairs"])
        statistics = statistics_of(tables, frozenset(["n", "prr", "prr025", "ror025", "chi2_yates", "ic025"]))
        ema = PRESETS["ema-2016"]
        of_three = replace(ema, criteria=(Criterion("n", 3), ema.criteria[1]))
        assert {
            name: int(preset.signals(statistics).sum())
            for name, preset in (
                ("EMA_ROR025_gt1_n3", of_three),
                ("EMA_ROR025_gt1_n5", ema),
                ("PRR025_ge1_n3", PRESETS["ema-2015"]),
                ("Evans_PRR2_chi4_n3", PRESETS["evans-2001"]),
                ("IC025_gt0", PRESETS["umc"]),
            )
        }.items() <= summary.items()
        pairs = dict(
            zip(
                zip(counts.drug.tolist(), counts.event.tolist(), strict=True), range(len(tables)), strict=True
            )
        )
        here = expected[expected["checkpoint"] == summary["fraction"]]
        at = [pairs[pair] for pair in zip(here["did"], here["eid"], strict=True)]
        ic = information_component(tables.a, tables.expected)
        for name, found in {
            "a": tables.a,
            "b": tables.b,
            "c": tables.c,
            "d": tables.d,
            "expected": tables.expected,
            "PRR": prr(tables).value,
            "PRR025": prr(tables).lower,
            "ROR": ror(tables).value,
            "ROR025": ror(tables).lower,
            "chi2_yates": chi_square(tables),
            "IC": ic.value,
            "IC025": ic.lower,
        }.items():
            assert found[at] == pytest.approx(here[name].to_numpy(), rel=1e-9, abs=1e-9, nan_ok=True), name


@pytest.mark.reference
def test_reference_scored_reference_set(refdata):
    expected = pd.read_csv(refdata / "pv/expected/omop_refset_scored_faers22q3.csv")
    found = information_component(expected["a"], expected["expected"])
    # the file prints expected counts with eight digits
    assert found.value == pytest.approx(expected["IC"].to_numpy(), abs=1e-6)
    assert found.lower == pytest.approx(expected["IC025"].to_numpy(), abs=1e-6)
    assert np.isfinite(found.lower).all()
