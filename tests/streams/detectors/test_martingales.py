"""The detectors with a guarantee: false alarms under no change, delays under changes that keep the mean."""

import numpy as np
import pytest

from streams.detectors import martingale_kernel
from streams.detectors.base import StateError
from streams.detectors.bets import tilts, variation
from streams.detectors.martingale_kernel import add_count, count_below, uniform
from streams.detectors.martingales import BinsEDetector, BinsEProcess, FrozenReference


def first_alarms(build, streams):
    """Return the place of each stream's first alarm, its length where there is none."""
    places = []
    for x in streams:
        hits = np.flatnonzero(build().update(x) >= 1)
        places.append(int(hits[0]) if len(hits) else len(x))
    return np.array(places)


def test_bets_are_fair():
    np.testing.assert_allclose(tilts().mean(axis=1), 1)
    assert (tilts() > 0).all()


def test_all_rounds_together_stake_no_more_than_the_first_capital():
    n = np.arange(2.0, 1e6)
    beyond = 1 / np.log(1e6 - 1)  # the integral that bounds the rest of the sum
    assert (1 / (n * np.log(n) ** 2)).sum() + beyond <= martingale_kernel._ALL_STAKES
    detector = BinsEProcess()
    detector.update(np.random.default_rng(9).normal(size=50_000))
    assert detector._numbers[martingale_kernel.UNOPENED] > 0


def test_ranks_are_counted():
    tree = np.zeros(11, np.int64)
    for code in (3, 3, 7, 0):
        add_count(tree, code)
    assert [int(count_below(tree, code)) for code in (0, 1, 3, 4, 8, 10)] == [0, 1, 1, 3, 4, 4]


def test_randomness_is_uniform_and_a_function_of_its_place():
    drawn = np.array([uniform(3, n) for n in range(20_000)])
    assert uniform(3, 17) == drawn[17]
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 45
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.03


@pytest.mark.parametrize("draw", ["normal", "lognormal", "ties"])
def test_capital_is_a_martingale_whatever_the_distribution(draw):
    """Its mean stays one: the guarantee rests on that, and an error in a rank or a bet would break it."""
    rng = np.random.default_rng(4)
    held = []
    for seed in range(400):
        x = {"normal": rng.normal, "lognormal": rng.lognormal, "ties": lambda size: rng.integers(0, 4, size)}[
            draw
        ](size=64)
        detector = BinsEProcess(alpha=1e-12, seed=seed)
        detector.update(x)
        held.append(np.exp(detector.evidence))
    assert np.mean(held) == pytest.approx(1, abs=5 * np.std(held) / 20)


@pytest.mark.parametrize(
    "build", [lambda: BinsEProcess(alpha=0.05), lambda: FrozenReference(alpha=0.05, reference=300)]
)
def test_false_alarms_are_within_the_guarantee(build):
    rng = np.random.default_rng(5)
    alarms = first_alarms(build, rng.standard_t(3, size=(200, 3_000))) < 3_000
    assert alarms.mean() <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 200)


@pytest.mark.parametrize(
    ("change", "bound"),
    [
        (lambda rng, size: rng.normal(0, 2, size), 100),
        (lambda rng, size: rng.standard_t(3, size) / np.sqrt(3), 320),
        (lambda rng, size: rng.choice([-0.9, 0.9], size) + rng.normal(0, np.sqrt(0.19), size), 320),
    ],
    ids=["variance doubled in sd", "heavy tails", "two modes"],
)
def test_changes_that_keep_the_mean_are_found(change, bound):
    rng = np.random.default_rng(6)
    streams = [np.concatenate([rng.normal(size=1_500), change(rng, 700)]) for _ in range(60)]
    delay = first_alarms(BinsEProcess, streams) - 1_500 + 1
    assert (delay <= 0).mean() <= 0.05
    assert np.median(delay[delay > 0]) <= bound


def test_a_change_of_shape_alone_is_found_though_it_comes_late():
    rng = np.random.default_rng(10)
    scale = np.sqrt(0.5)  # the variance stays one
    streams = [np.concatenate([rng.normal(size=1_500), rng.laplace(0, scale, 700)]) for _ in range(60)]
    delay = first_alarms(BinsEDetector, streams) - 1_500 + 1
    assert (delay <= 0).mean() <= 0.05
    assert np.median(delay[delay > 0]) <= 320


@pytest.mark.parametrize("draw", ["normal", "ties"])
def test_the_capital_of_an_e_detector_is_on_average_the_number_of_its_rounds(draw):
    rng = np.random.default_rng(11)
    held = []
    for seed in range(400):
        x = rng.normal(size=60) if draw == "normal" else rng.integers(0, 4, 60)
        detector = BinsEDetector(arl=1e12, spacing=15, seed=seed)
        detector.update(x)
        held.append(np.exp(detector.evidence))
    assert np.mean(held) == pytest.approx(4, abs=5 * np.std(held) / 20)


def test_an_e_detector_runs_at_least_as_long_as_it_says():
    rng = np.random.default_rng(12)
    lengths = []
    for seed in range(200):
        detector, alarms = BinsEDetector(arl=400, seed=seed), 0
        for length in range(0, 20_000, 250):
            scores = detector.update(rng.standard_t(3, 250))
            if (scores >= 1).any():
                alarms = length + int(np.argmax(scores >= 1)) + 1
                break
        lengths.append(alarms or 20_000)
    assert np.mean(lengths) >= 400
    within = (np.array(lengths) <= 100).mean()
    assert within <= (100 + 32) / (400 + 32) + 3 * np.sqrt(0.25 / 200)


def test_a_snapshot_with_other_bets_is_refused():
    old = BinsEProcess()
    old._tilted = old._tilted[:, :28]
    with pytest.raises(StateError, match="other ways"):
        BinsEProcess().restore(old.snapshot())


def test_a_frozen_reference_is_not_swayed_by_slow_drift():
    rng = np.random.default_rng(7)
    drifting = rng.normal(size=12_000) + np.linspace(0, 1.5, 12_000)
    assert (FrozenReference(reference=2_000).update(drifting) >= 1).any()


def test_references_learned_apart_are_the_one_learned_together():
    rng = np.random.default_rng(8)
    x = rng.normal(size=600)
    whole = FrozenReference(reference=600, origin=0.0)
    whole.update(x)
    parts = [FrozenReference(reference=600, origin=0.0) for _ in range(3)]
    for part, values in zip(parts, np.split(x, [100, 350]), strict=True):
        part.learn(values)
    merged = parts[2]
    merged.merge(parts[0])
    merged.merge(parts[1])
    assert merged.snapshot() == whole.snapshot()
    with pytest.raises(ValueError, match="takes no more"):
        merged.learn([1.0])
    other = FrozenReference(reference=600, origin=1.0)
    other.learn([1.0])
    with pytest.raises(ValueError, match="different origins"):
        merged.merge(other)


def test_what_a_bet_is_charged_is_the_most_it_can_gain_from_a_wrong_reference():
    epsilon = 0.05
    shifted = np.full(tilts().shape[1], 1 / tilts().shape[1])
    shifted[0] += epsilon
    shifted[-1] -= epsilon
    shifted = np.maximum(shifted, 0)
    gains = tilts() @ (shifted / shifted.sum())
    assert (gains <= 1 + epsilon * variation(tilts()) + 1e-9).all()
