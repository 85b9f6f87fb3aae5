"""Metrics against scikit-learn on random, tied, constant and saturated scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from dfd_tf.evaluation.metrics import (
    confusion,
    decision_metrics,
    probability_metrics,
    ranking_metrics,
)


@st.composite
def samples(draw, num_scores=st.integers(1, 12)):
    """Labels of both classes, scores with many ties, integer weights that keep both classes."""
    n = draw(st.integers(4, 60))
    levels = draw(num_scores)
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = (0, 1)
    scores = np.array(draw(st.lists(st.integers(0, levels), min_size=n, max_size=n)), float)
    weights = np.array(draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)), float)
    weights[:2] = 1
    return labels, scores / levels, weights


@settings(max_examples=80, deadline=None)
@given(samples())
def test_ranking_metrics_equal_scikit_learn(sample):
    labels, scores, weights = sample
    ours = ranking_metrics(labels, scores, weights[None])
    fpr, tpr, _ = reference.roc_curve(labels, scores, sample_weight=weights)
    assert ours["auc"][0] == pytest.approx(
        reference.roc_auc_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert ours["average_precision"][0] == pytest.approx(
        reference.average_precision_score(labels, scores, sample_weight=weights), abs=1e-12
    )
    assert ours["tpr_at_fpr_5"][0] == pytest.approx(tpr[fpr <= 0.05 + 1e-12].max(), abs=1e-12)
    # The ROC joined linearly crosses FPR = 1 - TPR at the equal error rate.
    assert ours["eer"][0] == pytest.approx(
        1 - np.interp(ours["eer"][0], *_strictly_rising(fpr, tpr, ours["eer"][0])), abs=1e-9
    )


def _strictly_rising(fpr, tpr, eer):
    """The ROC without its vertical stretch at the crossing, where interpolation is ambiguous."""
    vertical = np.isclose(fpr, eer, atol=1e-12)
    if vertical.sum() > 1:
        inside = (1 - eer >= tpr[vertical].min() - 1e-12) & (1 - eer <= tpr[vertical].max() + 1e-12)
        assert inside
        return np.array([eer - 1, eer, eer + 1]), np.array([1 - eer] * 3)
    return fpr, tpr


@settings(max_examples=60, deadline=None)
@given(samples(), st.floats(0, 1))
def test_decisions_and_probabilities_equal_scikit_learn(sample, threshold):
    labels, scores, weights = sample
    called = scores > threshold
    ours = decision_metrics(labels, called, weights[None])
    keywords = {"sample_weight": weights}
    assert ours["balanced_accuracy"][0] == pytest.approx(
        reference.balanced_accuracy_score(labels, called, **keywords)
    )
    assert ours["recall"][0] == pytest.approx(reference.recall_score(labels, called, **keywords))
    assert ours["f1"][0] == pytest.approx(
        reference.f1_score(labels, called, zero_division=0, **keywords)
    )
    if (called * weights).any():
        assert ours["precision"][0] == pytest.approx(
            reference.precision_score(labels, called, **keywords)
        )
    else:
        assert np.isnan(ours["precision"][0])
    tn, fp, fn, tp = reference.confusion_matrix(labels, called, sample_weight=weights).ravel()
    assert confusion(labels, called, weights[None])[0] == pytest.approx([tp, fp, tn, fn])
    probability = probability_metrics(labels, scores, weights[None])
    assert probability["brier"][0] == pytest.approx(
        reference.brier_score_loss(labels, scores, **keywords)
    )
    assert probability["log_loss"][0] == pytest.approx(
        reference.log_loss(labels, scores, **keywords), rel=1e-9
    )


LOGITS = {
    "random": st.floats(-20, 20),
    "saturated": st.sampled_from([-800.0, -90.0, -40.0, -0.5, 0.5, 40.0, 90.0, 800.0]),
    "constant": st.just(3.0),
}


@pytest.mark.parametrize("kind", LOGITS)
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_f08_logits_and_their_probabilities_equal_scikit_learn(kind, data):
    n = data.draw(st.integers(4, 40))
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:2] = (0, 1)
    logits = np.array(data.draw(st.lists(LOGITS[kind], min_size=n, max_size=n)))
    # As a network gives them: float32 has no number between 1 - 6e-8 and 1.
    probabilities = (1 / (1 + np.exp(-logits.clip(-80, 80)))).astype(np.float32).astype(np.float64)
    for scores in (logits, probabilities):
        ours = ranking_metrics(labels, scores, np.ones((1, n)))
        assert ours["auc"][0] == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-12)
        assert ours["average_precision"][0] == pytest.approx(
            reference.average_precision_score(labels, scores), abs=1e-12
        )
        assert ours["eer"][0] == pytest.approx(_eer_of_scikit_learn(labels, scores), abs=1e-9)
    ours = probability_metrics(labels, probabilities, np.ones((1, n)))
    assert ours["brier"][0] == pytest.approx(reference.brier_score_loss(labels, probabilities))
    assert ours["log_loss"][0] == pytest.approx(reference.log_loss(labels, probabilities), rel=1e-9)


def _eer_of_scikit_learn(labels, scores):
    """Where the ROC of scikit-learn, densely joined, first has FPR >= 1 - TPR."""
    fpr, tpr, _ = reference.roc_curve(labels, scores, drop_intermediate=False)
    for i in range(1, len(fpr)):
        if fpr[i] >= 1 - tpr[i]:
            before, after = fpr[i - 1] - (1 - tpr[i - 1]), fpr[i] - (1 - tpr[i])
            return fpr[i - 1] + -before / (after - before) * (fpr[i] - fpr[i - 1])
    raise AssertionError("the curve ends at (1, 1)")


def test_saturated_scores_keep_their_order():
    labels = np.array([0, 0, 1, 1, 1, 0])
    scores = 1.0 - np.array([3, 2, 1, 2, 0.5, 8]) * 1e-15
    expected = reference.roc_auc_score(labels, scores)
    assert 0.5 < expected < 1
    assert ranking_metrics(labels, scores, np.ones((1, 6)))["auc"][0] == pytest.approx(expected)


def test_constant_scores_are_chance():
    labels = np.array([0, 1, 1, 1])
    values = ranking_metrics(labels, np.zeros(4), np.ones((1, 4)))
    assert values["auc"][0] == 0.5
    assert values["eer"][0] == 0.5
    assert values["average_precision"][0] == 0.75
    assert values["tpr_at_fpr_1"][0] == 0.0


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_is_undefined(label):
    labels = np.full(5, label)
    ranking = ranking_metrics(labels, np.arange(5.0), np.ones((1, 5)))
    assert all(np.isnan(value[0]) for value in ranking.values())
    assert np.isnan(decision_metrics(labels, labels == 1, np.ones((1, 5)))["balanced_accuracy"][0])


def test_expected_calibration_error_by_hand():
    # Two bins: 0.1 x 4 with one fake (gap 0.15), 0.9 x 2 with one fake (gap 0.4).
    probabilities = np.array([0.1, 0.1, 0.1, 0.1, 0.9, 0.9])
    labels = np.array([1, 0, 0, 0, 1, 0])
    ece = probability_metrics(labels, probabilities, np.ones((1, 6)))["ece"][0]
    assert ece == pytest.approx((4 * 0.15 + 2 * 0.4) / 6)


def test_false_alarm_rate_of_exactly_one_percent_counts():
    labels = np.array([0] * 100 + [1] * 2)
    scores = np.array([5.0] + [0.0] * 99 + [4.0, -1.0])
    assert ranking_metrics(labels, scores, np.ones((1, 102)))["tpr_at_fpr_1"][0] == 0.5
