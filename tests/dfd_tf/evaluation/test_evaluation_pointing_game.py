"""The pointing game against hand counts and simulation, rank correlations against scipy."""

import numpy as np
import pytest
from scipy import stats

from dfd_tf.evaluation.pointing_game import play, rank_correlations


def test_hits_chance_and_energy_by_hand():
    maps = np.zeros((4, 2, 4))
    maps[0, 0, 1] = 0.5  # inside
    maps[1, 1, 3], maps[1, 0, 0] = 1.0, 0.25  # highest outside, a fifth of it inside
    maps[2, 0] = 1.0  # flat: two of the four highest places inside are no majority
    regions = np.zeros((4, 2, 4), bool)
    regions[:, 0, :2] = True  # a quarter of the area
    found = play(maps, regions)
    assert (found.num_maps, found.num_empty, found.hits) == (4, 1, 1)
    assert found.chance == 0.25
    assert found.accuracy == 0.25
    assert found.accuracy_if_any == pytest.approx(1 / 3)
    assert found.energy == pytest.approx((1.0 + 0.2 + 0.5) / 3)
    expected = stats.binomtest(1, 4).proportion_ci(0.95, "wilson")
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected))


def test_maps_that_know_nothing_play_at_chance():
    random = np.random.default_rng(0)
    regions = np.zeros((4000, 10, 10), bool)
    regions[:, 2:5, 4:9] = True
    found = play(random.uniform(size=regions.shape), regions)
    assert found.chance == pytest.approx(0.15)
    assert found.interval.low < 0.15 < found.interval.high
    assert found.energy == pytest.approx(0.15, abs=0.01)


def test_maps_that_know_everything_win():
    regions = np.random.default_rng(0).uniform(size=(50, 8, 8)) > 0.8
    found = play(regions.astype(float), regions)
    assert found.accuracy == found.energy == 1.0


def test_of_no_maps_nothing_is_said():
    found = play(np.zeros((0, 3, 3)), np.zeros((0, 3, 3), bool))
    assert found.num_maps == 0
    assert found.accuracy is found.accuracy_if_any is found.interval is None
    assert found.chance is found.energy is None


@pytest.mark.parametrize(
    ("maps", "regions"),
    [
        (np.zeros((2, 3, 3)), np.zeros((1, 3, 3), bool)),
        (np.full((1, 3, 3), -1.0), np.zeros((1, 3, 3), bool)),
        (np.full((1, 3, 3), np.nan), np.zeros((1, 3, 3), bool)),
    ],
)
def test_what_is_no_map_is_refused(maps, regions):
    with pytest.raises(ValueError, match="maps"):
        play(maps, regions)


def test_rank_correlations_are_spearmans():
    random = np.random.default_rng(0)
    maps = random.integers(0, 5, (6, 4, 4)).astype(float)  # ties
    others = maps + random.normal(0, 2, maps.shape)
    others[3] = 0.5  # without ranks
    expected = [
        stats.spearmanr(one.ravel(), other.ravel()).statistic
        for place, (one, other) in enumerate(zip(maps, others, strict=True))
        if place != 3
    ]
    np.testing.assert_allclose(rank_correlations(maps, others), expected)
    np.testing.assert_allclose(rank_correlations(maps, maps**3), 1.0)
