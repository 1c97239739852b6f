"""NAB: reading, scoring by hand, cross-fitting, and published detectors rescored."""

import gzip
import json

import numpy as np
import pytest

from benchmarks.nab.corpus import CorpusError, Series, read_alarms, read_corpus, read_results
from benchmarks.nab.crossfit import run, standing
from benchmarks.nab.report import measured, rescored
from benchmarks.nab.scoring import PROFILES, at_thresholds, normalised, of_alarms
from streams.detectors.tail_exceedance import TailExceedance

STANDARD = PROFILES["standard"]


def series(name="a.csv", n=1000, windows=((500, 510),), values=None):
    return Series(name, np.arange(n) * 300_000, np.zeros(n) if values is None else values, windows)


def worth(x):
    return 2 / (1 + np.exp(5 * x)) - 1


def test_alarms_are_worth_what_nab_says():
    s = series()
    early, late = worth(-1) / worth(-1), worth(-1 / 11) / worth(-1)
    assert of_alarms(s, [500], STANDARD) == pytest.approx(early)
    assert of_alarms(s, [510, 505, 500], STANDARD) == pytest.approx(early)
    assert of_alarms(s, [510], STANDARD) == pytest.approx(late)
    assert of_alarms(s, [], STANDARD) == -1
    assert of_alarms(s, [], PROFILES["reward_low_FN_rate"]) == -2
    # Before any window a false alarm costs all, close behind one less, from three widths on all again.
    assert of_alarms(s, [200, 500], STANDARD) == pytest.approx(early - 0.11)
    assert of_alarms(s, [500, 515], STANDARD) == pytest.approx(early + 0.11 * worth(5 / 10))
    assert of_alarms(s, [500, 540], STANDARD) == pytest.approx(early - 0.11)
    assert of_alarms(s, [500, 540], PROFILES["reward_low_FP_rate"]) == pytest.approx(early - 0.22)


def test_probation_is_not_scored():
    assert series().probation == 150
    assert series(n=20_000).probation == 750
    assert of_alarms(series(), [10, 149, 500], STANDARD) == pytest.approx(1)
    assert of_alarms(series(), [150, 500], STANDARD) == pytest.approx(0.89)


def test_scale_runs_from_no_alarm_to_all_windows_at_once():
    corpus = [series(), series("b.csv", windows=((300, 320), (800, 820)))]
    assert normalised(sum(of_alarms(s, [], STANDARD) for s in corpus), corpus, STANDARD) == 0
    perfect = [of_alarms(s, [w[0] for w in s.windows], STANDARD) for s in corpus]
    assert normalised(sum(perfect), corpus, STANDARD) == pytest.approx(100)


def test_sweep_over_thresholds_is_scoring_each():
    rng = np.random.default_rng(0)
    s = series(windows=((300, 320), (800, 830)))
    scores = rng.integers(0, 40, 1000) / 40.0
    thresholds = np.unique(scores)
    swept = at_thresholds(s, scores, thresholds, STANDARD)
    each = [of_alarms(s, np.flatnonzero(scores >= t).tolist(), STANDARD) for t in thresholds]
    np.testing.assert_allclose(swept, each)


def test_cross_fitting_never_judges_files_by_their_own_threshold():
    corpus = [series(f"{i}.csv") for i in range(4)]
    scores = []
    for i in range(4):
        s = np.zeros(1000)
        s[500], s[200] = (
            (0.9, 0.5) if i % 2 else (0.4, 0.3)
        )  # the odd files' best threshold misses the even files' windows
        scores.append(s)
    held = standing(corpus, scores, STANDARD)
    # Odd files at 0.4, the even files' best, gain a false alarm each; even files at 0.9 miss their windows.
    assert held.fixed == pytest.approx(normalised(2 * (1 - 0.11) - 2, corpus, STANDARD))
    assert held.best > held.fixed


@pytest.fixture
def folder(tmp_path):
    """Return a folder laid out as NAB's, with one spike in each of four files; one file more is only labelled."""
    rng = np.random.default_rng(1)
    windows = {"real/missing.csv": [["2015-01-01 00:00:00.000000", "2015-01-01 01:00:00.000000"]]}
    (tmp_path / "labels").mkdir()
    (tmp_path / "data/real").mkdir(parents=True)
    for i in range(4):
        times = np.datetime64("2015-01-01T00:00:00") + np.arange(1500) * np.timedelta64(5, "m")
        values = rng.normal(10, 1, 1500)
        values[1000 + i] = 40
        lines = ["timestamp,value"] + [
            f"{str(t).replace('T', ' ')},{v}" for t, v in zip(times, values, strict=True)
        ]
        with gzip.open(tmp_path / f"data/real/f{i}.csv.gz", "wt") as file:
            file.write("\n".join(lines))
        edges = [str(times[k]).replace("T", " ") + ".000000" for k in (990, 1050)]
        windows[f"real/f{i}.csv"] = [edges]
    (tmp_path / "labels/combined_windows.json").write_text(json.dumps(windows))
    return tmp_path


def test_folder_is_read_and_a_detector_beats_the_dummy(folder):
    corpus = read_corpus(folder)
    assert [s.name for s in corpus] == [f"real/f{i}.csv" for i in range(4)]
    assert corpus[0].windows == ((990, 1050),)
    rows = {row.detector: row.scores["standard"] for row in measured(corpus, ["tail-exceedance"])}
    assert rows["tail-exceedance"]["fixed"] > 80
    assert rows["dummy"]["mean"] < 50


def test_a_run_sees_the_past_alone(folder):
    corpus = read_corpus(folder)
    whole = run(TailExceedance, corpus)[0]
    cut = Series("cut", corpus[0].times[:1100], corpus[0].values[:1100], corpus[0].windows)
    np.testing.assert_array_equal(run(TailExceedance, [cut])[0], whole[:1100])


def test_result_files_are_rescored(folder):
    for i in range(4):
        path = folder / "results/other/real"
        path.mkdir(parents=True, exist_ok=True)
        score = np.zeros(1500)
        score[990 if i else 200] = 0.7
        lines = ["timestamp,value,anomaly_score,label", *(f"2015-01-01,0,{s},0" for s in score)]
        (path / f"other_f{i}.csv").write_text("\n".join(lines))
    (folder / "config").mkdir()
    (folder / "config/thresholds.json").write_text(json.dumps({"other": {"standard": {"threshold": 0.5}}}))
    alarms = read_results(folder / "results", folder / "config/thresholds.json")
    corpus = read_corpus(folder)
    (row,) = rescored(corpus, alarms)
    # 200 is within the probation of 225 rows: its file is a miss and no more.
    assert row.scores["standard"]["published"] == pytest.approx(normalised(3 - 1, corpus, STANDARD))
    (folder / "config/thresholds.json").write_text("{}")
    with pytest.raises(CorpusError, match="no threshold for other"):
        read_results(folder / "results", folder / "config/thresholds.json")


def test_what_is_no_corpus_is_told(tmp_path):
    with pytest.raises(CorpusError, match="name NAB's folder"):
        read_corpus(tmp_path)
    (tmp_path / "combined_windows.json").write_text('{"a/b.csv": []}')
    with pytest.raises(CorpusError, match="none of the 1 labelled files"):
        read_corpus(tmp_path)
    (tmp_path / "alarms.json").write_text("[]")
    with pytest.raises(CorpusError, match="no list of alarms"):
        read_alarms(tmp_path / "alarms.json")


@pytest.mark.reference
def test_published_detectors_have_their_scores_on_the_given_files(refdata):
    corpus = read_corpus(refdata / "stats/datasets/nab")
    assert len(corpus) == 25
    alarms = read_alarms(refdata / "stats/cases/P20_nab_scoring.json")
    scores = {row.detector: row.scores["standard"]["published"] for row in rescored(corpus, alarms)}
    assert scores["relativeEntropy"] == pytest.approx(60.268, abs=1e-3)
    assert scores["windowedGaussian"] < scores["randomCutForest"] < scores["relativeEntropy"]


@pytest.mark.reference
def test_tail_exceedance_beats_relative_entropy_by_more_than_the_spread_over_splits(refdata):
    corpus = read_corpus(refdata / "stats/datasets/nab")
    held = standing(corpus, run(TailExceedance, corpus), STANDARD)
    assert held.mean - 60.268 > held.sd
    assert held.fixed - 60.268 > held.sd
