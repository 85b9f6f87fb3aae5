"""The choice of the probability map: figures against scikit-learn, choices on known truths."""

import numpy as np
import pytest
from evaluation_samples import normal_scores
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import brier_score_loss, log_loss

from dfd_tf.evaluation.calibrator_choice import choose_probability, standard_error
from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.evaluation.cross_fitting import TooFewClustersError, cluster_folds


def choose(scores, labels, method="auto", clusters=None, are_logits=True, seed=0):
    if clusters is None:
        clusters = np.arange(len(scores)).astype(str)
    return choose_probability(method, scores, labels, clusters, are_logits=are_logits, seed=seed)


def drawn(seed, count, chance):
    """Scores, and labels that are fake with probability `chance(score)`."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(0, 2, count)
    return scores, (generator.uniform(size=count) < chance(scores)).astype(int)


def sigmoid(logits):
    return 1 / (1 + np.exp(-logits))


def test_figures_equal_scikit_learn():
    scores, labels = normal_scores(1, 150, 100)
    fitted, held_out = choose(scores, labels)
    by_name = {one.method: one for one in fitted.candidates}
    assert by_name.keys() == {"temperature", "platt", "isotonic", "uncalibrated"}
    own, plain = by_name[fitted.method], by_name["uncalibrated"]
    assert own.log_loss == pytest.approx(log_loss(labels, held_out))
    assert own.brier == pytest.approx(brier_score_loss(labels, held_out))
    assert own.ece == fitted.ece_after_cross_fitted
    assert plain.log_loss == pytest.approx(log_loss(labels, sigmoid(scores)))
    assert plain.ece == fitted.ece_before
    lowest = min(one.log_loss for one in fitted.candidates if one.method != "uncalibrated")
    for one in fitted.candidates:
        assert one.excess == pytest.approx(one.log_loss - lowest)
    whole = fit_probability(fitted.method, scores, labels)
    assert (fitted.slope, fitted.offset) == (whole.slope, whole.offset)


@pytest.mark.parametrize(
    ("chance", "are_logits", "method"),
    [
        (lambda s: sigmoid(0.5 * s), True, "temperature"),
        (lambda s: sigmoid(0.5 * s), False, "platt"),
        (lambda s: sigmoid(0.5 * s - 2), True, "platt"),
        (lambda s: 0.1 + 0.4 * (s > 0), True, "isotonic"),
    ],
)
def test_the_map_that_generated_the_labels_is_found(chance, are_logits, method):
    scores, labels = drawn(2, 4000, chance)
    fitted, held_out = choose(scores, labels, are_logits=are_logits)
    assert fitted.method == method
    assert np.mean(np.abs(held_out - chance(scores))) < 0.03
    assert (fitted.ece_before is not None) == are_logits


def test_of_a_near_tie_the_simplest_map_wins():
    reasons = []
    for seed in range(10):
        fitted, _ = choose(*drawn(seed, 300, lambda s: sigmoid(0.5 * s)), seed=seed)
        reasons.append(fitted.reason)
    assert sum(reason.startswith("temperature: ") for reason in reasons) >= 7
    assert any("the simplest map within one standard error" in reason for reason in reasons)


def test_the_method_asked_for_is_the_only_one_compared():
    scores, labels = normal_scores(3, 60, 60)
    fitted, _ = choose(scores, labels, method="isotonic")
    assert fitted.method == "isotonic"
    assert [one.method for one in fitted.candidates] == ["isotonic", "uncalibrated"]
    assert fitted.reason == "isotonic: asked for by calibration.method"


def test_maps_are_judged_on_people_they_do_not_know():
    """Scores that name the person: learnt by heart in sample, worthless on others."""
    generator = np.random.default_rng(4)
    people = np.repeat(np.arange(40), 5)
    scores = generator.normal(size=40)[people]
    labels = (people % 2).astype(int)
    clusters = np.array([f"identity:{person}" for person in people])
    fitted, held_out = choose(scores, labels, method="isotonic", clusters=clusters)
    assert fitted.ece_after < 0.02
    assert fitted.ece_after_cross_fitted > 0.1
    fold, count = cluster_folds(labels, clusters, seed=0)
    for number in range(count):
        held = fold == number
        alone = fit_probability("isotonic", scores[~held], labels[~held])
        np.testing.assert_array_equal(held_out[held], alone.apply(scores[held]))


@pytest.mark.parametrize("count", [1, 3])
def test_too_few_people_leave_platt_without_a_comparison(count):
    labels = np.repeat([0, 1], 6)
    clusters = np.array([f"{label}{i % count}" for i, label in enumerate(labels)])
    clusters[labels == 1] = "one fake person"
    fitted, held_out = choose(np.arange(12.0), labels, clusters=clusters)
    assert (fitted.method, held_out, fitted.candidates) == ("platt", None, ())
    assert fitted.ece_after_cross_fitted is None
    assert f"nothing to compare on, {count} real and 1 fake clusters" in fitted.reason


def test_folds_hold_whole_clusters_and_a_class_in_one_cluster_is_refused():
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, -1])
    clusters = np.array(list("aabbccddx"))
    fold, count = cluster_folds(labels, clusters, seed=1)
    assert count == 2
    assert all(len(np.unique(fold[clusters == name])) == 1 for name in "abcd")
    with pytest.raises(TooFewClustersError, match="4 real and 1 fake"):
        cluster_folds(np.array([0, 0, 0, 0, 1]), np.array(list("abcde")))


def test_standard_error_counts_clusters():
    values = np.random.default_rng(5).normal(size=50)
    alone = np.arange(50).astype(str)
    expected = np.std(values, ddof=1) / np.sqrt(50)
    assert standard_error(values, alone) == pytest.approx(expected)
    # Every image four times over is no more evidence.
    assert standard_error(np.repeat(values, 4), np.repeat(alone, 4)) == pytest.approx(expected)


def separable(seed=7, num=40):
    """Classes that no score parts wrongly: a map may be as sure as their number makes it."""
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(-2, 0.5, num), generator.normal(2, 0.5, num)])
    return scores, np.repeat([0, 1], num)


@pytest.mark.parametrize("method", ["temperature", "platt", "isotonic"])
@pytest.mark.parametrize("num", [5, 40])
def test_no_map_is_ever_certain(method, num):
    """Platt's targets are what one more image of each class would leave: 1 / (n + 2)."""
    scores, labels = separable(num=num)
    assert scores[labels == 0].max() < scores[labels == 1].min()
    fitted = fit_probability(method, scores, labels)
    found = fitted.apply(np.array([-1e9, -50.0, *scores, 50.0, 1e9]))
    assert found.min() == pytest.approx(1 / (num + 2))
    assert found.max() == pytest.approx(1 - 1 / (num + 2))
    fitted, held_out = choose(scores, labels, method=method)
    assert held_out.min() > 1 / (num + 2) - 1e-12
    if method != "isotonic":
        # Half-way between the classes nothing was seen.
        assert 0.4 < fitted.apply(np.array([-0.05]))[0] < 0.6


def test_the_temperature_minimises_the_loss_of_the_smoothed_targets():
    scores, labels = separable()
    slope = fit_probability("temperature", scores, labels).slope
    targets = np.where(labels == 1, 41 / 42, 1 / 42)
    # The derivative of the cross-entropy by the slope is 0 there.
    assert scores @ (sigmoid(slope * scores) - targets) == pytest.approx(0, abs=1e-2)


def test_the_reason_claims_no_more_than_the_maps_that_were_fitted():
    scores, labels = separable()
    fitted, _ = choose(20 * scores, labels)
    by_name = {one.method: one.log_loss for one in fitted.candidates}
    assert by_name["uncalibrated"] < min(
        by_name[name] for name in by_name.keys() - {"uncalibrated"}
    )
    assert "log loss of the fitted maps" in fitted.reason


def test_an_isotonic_map_is_never_certain():
    labels = np.repeat([0, 1], [20, 30])
    scores = np.concatenate([np.arange(20.0), 100 + np.arange(30.0)])
    fitted = fit_probability("isotonic", scores, labels)
    assert fitted.apply(np.array([-1e9, 1e9])) == pytest.approx([1 / 22, 31 / 32])
    mixed = np.random.default_rng(6).permutation(labels)
    fitted = fit_probability("isotonic", scores, mixed)
    targets = np.where(mixed == 1, 31 / 32, 1 / 22)
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, targets)
    fresh = np.linspace(-10, 140, 77)
    np.testing.assert_allclose(fitted.apply(fresh), expected.predict(fresh))
