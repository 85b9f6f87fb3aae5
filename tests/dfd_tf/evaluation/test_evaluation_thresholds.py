"""Thresholds, intervals and calibrators: by hand, by simulation, against scikit-learn."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression

from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.intervals import (
    bootstrap_intervals,
    bootstrap_weights,
    fresh_fpr_band,
    percentile_interval,
    wilson_interval,
)
from dfd_tf.evaluation.metrics import ranking_metrics
from dfd_tf.evaluation.thresholds import conformal_rank, conformal_thresholds, youden_threshold

NO_FAKES = np.array([])


@pytest.mark.parametrize(
    ("n", "target", "rank"),
    [(99, Fraction(1, 100), 99), (98, Fraction(1, 100), 99), (19, Fraction(1, 20), 19)]
    + [(100, Fraction(1, 20), 96), (200, Fraction(1, 20), 191), (9, Fraction(1, 10), 9)],
)
def test_f01_rank_by_hand(n, target, rank):
    assert conformal_rank(n, target) == rank


def test_f01_small_sets_refuse_strict_points():
    found, missing = conformal_thresholds(np.arange(50.0), NO_FAKES)
    assert [threshold.name for threshold in found] == ["sensitive", "balanced"]
    assert "needs 99 real validation images, found 50" in missing["strict"]


@pytest.mark.parametrize(
    ("num_clusters", "names"),
    [
        (8, []),
        (9, ["sensitive"]),
        (18, ["sensitive"]),
        (19, ["sensitive", "balanced"]),
        (98, ["sensitive", "balanced"]),
        (99, ["sensitive", "balanced", "strict"]),
    ],
)
def test_f01_many_images_of_few_people_refuse_points(num_clusters, names):
    found, missing = conformal_thresholds(np.arange(500.0), NO_FAKES, num_clusters)
    assert [threshold.name for threshold in found] == names
    if num_clusters == 18:
        assert missing["balanced"] == (
            "a false positive rate of 5% needs 19 real validation images of as many persons or"
            " videos, found 500 of 18"
        )
    # What is set is set as ever.
    alone, _ = conformal_thresholds(np.arange(500.0), NO_FAKES)
    assert found == alone[: len(found)]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=99, max_size=300), st.randoms())
def test_f03_points_are_ordered_and_independent_of_input_order(scores, random):
    found, _ = conformal_thresholds(np.array(scores), NO_FAKES)
    sensitive, balanced, strict = (threshold.value for threshold in found)
    assert sensitive <= balanced <= strict
    random.shuffle(scores)
    again, _ = conformal_thresholds(np.array(scores), NO_FAKES)
    assert [t.model_dump_json() for t in again] == [t.model_dump_json() for t in found]
    assert all(t.observed_fpr <= t.target_fpr for t in found)


def test_f02_fresh_false_positive_rate_is_promised_in_expectation():
    scores = np.sort(np.random.default_rng(0).normal(size=(2000, 60)), axis=1)
    rank = conformal_rank(60, Fraction(1, 20))
    assert conformal_thresholds(scores[0], NO_FAKES)[0][1].value == scores[0, rank - 1]
    rates = stats.norm.sf(scores[:, rank - 1])
    # Beta(n + 1 - k, k) with n = 60, k = 58: mean 3/61, and the mean of 2,000 draws is close.
    assert np.mean(rates) == pytest.approx(3 / 61, abs=4 * np.std(rates) / np.sqrt(2000))
    assert np.mean(rates) <= 0.05


@pytest.mark.parametrize(
    ("n", "target", "fresh", "band"),
    [(200, Fraction(1, 20), 1000, (10, 121)), (500, Fraction(1, 100), 2000, (1, 67))]
    + [(2000, Fraction(1, 100), 5000, (16, 103)), (100, Fraction(1, 100), 1000, (0, 76))],
)
def test_f02_bands_of_the_reliability_contract(n, target, fresh, band):
    assert fresh_fpr_band(n, conformal_rank(n, target), fresh) == band


def test_youden_by_hand():
    threshold = youden_threshold(np.array([0.0, 1.0, 2.0, 6.0]), np.array([1.5, 3.0, 4.0, 5.0]))
    # Above 2: three of four fakes, one of four reals.
    assert threshold.value == 2.0
    assert threshold.observed_tpr == 0.75
    assert threshold.observed_fpr == 0.25


def test_wilson_interval_of_a_textbook_case():
    interval = wilson_interval(0, 10)
    assert interval.low == pytest.approx(0.0, abs=1e-12)
    assert interval.high == pytest.approx(0.2775, abs=1e-4)


def test_bootstrap_keeps_clusters_together_and_classes_in_proportion():
    clusters = np.array(["a", "a", "b", "c", "c", "c", "d"])
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    (weights,) = bootstrap_weights(clusters, labels, seed=1, num_replicates=50)
    assert np.array_equal(weights[:, 0], weights[:, 1])
    assert np.all(weights[:, 0] + weights[:, 2] == 2)
    assert np.all(weights[:, 3] + weights[:, 6] == 2)
    assert len(np.unique(weights[:, 0])) == 3


def test_bootstrap_interval_of_auc_agrees_with_the_hanley_mcneil_error():
    generator = np.random.default_rng(3)
    labels = np.repeat([0, 1], 150)
    scores = generator.normal(size=300) + 1.2 * labels
    low, high = bootstrap_intervals(
        lambda w: ranking_metrics(labels, scores, w), np.arange(300).astype(str), labels, seed=0
    )["auc"]
    auc = ranking_metrics(labels, scores, np.ones((1, 300)))["auc"][0]
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    error = np.sqrt((auc * (1 - auc) + 149 * (q1 - auc**2) + 149 * (q2 - auc**2)) / 150**2)
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.15)
    assert low < auc < high


def test_an_undefined_metric_has_no_interval():
    labels = np.zeros(20, int)
    intervals = bootstrap_intervals(
        lambda w: ranking_metrics(labels, np.arange(20.0), w),
        np.arange(20).astype(str),
        labels,
        seed=0,
        num_replicates=20,
    )
    assert intervals["auc"] is None


def test_an_interval_without_width_is_none():
    assert percentile_interval(np.append(np.ones(99), 0.5)) is None
    low, high = percentile_interval(np.linspace(0, 1, 2001))
    assert (low, high) == (pytest.approx(0.025), pytest.approx(0.975))


def test_platt_equals_logistic_regression():
    generator = np.random.default_rng(5)
    labels = np.repeat([0, 1], [300, 500])
    scores = 1e-3 * (generator.normal(size=800) + labels)
    fitted = fit_probability("platt", scores, labels)
    # Platt's smoothed targets as weighted hard ones; C is large enough to switch penalties off.
    high, low = 501 / 502, 1 / 302
    weights = np.concatenate(
        [np.where(labels == 1, high, low), np.where(labels == 1, 1 - high, 1 - low)]
    )
    reference = LogisticRegression(C=1e12, tol=1e-10, max_iter=1000).fit(
        1e3 * np.tile(scores, 2)[:, None], np.repeat([1, 0], 800), sample_weight=weights
    )
    assert fitted.slope == pytest.approx(1e3 * reference.coef_[0, 0], rel=1e-3)
    assert fitted.offset == pytest.approx(reference.intercept_[0], rel=1e-3)
    assert fitted.ece_after < 0.06


def test_platt_never_turns_the_score_around():
    labels = np.array([1, 1, 1, 0, 0, 0])
    fitted = fit_probability("platt", np.arange(6.0), labels)
    assert fitted.slope == 0.0


def test_temperature_recovers_the_scale():
    generator = np.random.default_rng(7)
    logits = generator.normal(size=20000) * 2
    labels = (generator.uniform(size=20000) < 1 / (1 + np.exp(-logits))).astype(int)
    fitted = fit_probability("temperature", 5 * logits, labels)
    assert fitted.slope == pytest.approx(0.2, rel=0.03)
    assert fitted.ece_after < 0.02 < fitted.ece_before


@pytest.mark.parametrize("method", ["platt", "temperature", "isotonic"])
def test_f06_probability_is_monotone_in_the_score(method):
    generator = np.random.default_rng(9)
    labels = np.repeat([0, 1], 100)
    fitted = fit_probability(method, generator.normal(size=200) + labels, labels)
    probabilities = fitted.apply(np.linspace(-9, 9, 500))
    assert np.all(np.diff(probabilities) >= 0)
    assert probabilities[0] < probabilities[-1]


def test_probabilities_need_both_classes():
    with pytest.raises(ValueError, match="found one class"):
        fit_probability("platt", np.arange(5.0), np.zeros(5, int))
