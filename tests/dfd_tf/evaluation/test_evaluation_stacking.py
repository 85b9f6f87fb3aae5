"""Stacking against scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfd_tf.evaluation.stacking import fit_stack, out_of_fold_scores
from pipelines.errors import InputError


def scores_and_labels(count=400, seed=0, backwards=False):
    """Two members of some use on very different scales; a third that is noise, or backwards."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    third = random.normal(0, 1, count) - 3.0 * labels * backwards
    scores = np.stack(
        [
            random.normal(0, 1, count) + labels,
            random.normal(50, 40, count) + 50 * labels,
            third,
        ],
        axis=1,
    )
    return scores, labels


def reference(scores, labels):
    return make_pipeline(StandardScaler(), LogisticRegression(C=1.0)).fit(scores, labels)


def test_a_stack_is_scikit_learns_logistic_regression():
    scores, labels = scores_and_labels()
    fresh, _ = scores_and_labels(seed=1)
    stack = fit_stack(scores[:, :2], labels)
    assert stack.weights.min() > 0
    expected = reference(scores[:, :2], labels).decision_function(fresh[:, :2])
    np.testing.assert_allclose(stack.apply(fresh[:, :2]), expected, atol=1e-3)
    np.testing.assert_allclose(
        fresh[:, :2] @ stack.weights + stack.offset, stack.apply(fresh[:, :2])
    )


def test_a_member_that_points_the_wrong_way_is_taken_out_and_the_rest_fitted_again():
    scores, labels = scores_and_labels(backwards=True)
    assert reference(scores, labels)[-1].coef_[0, 2] < 0
    stack = fit_stack(scores, labels)
    assert stack.weights[2] == 0
    expected = reference(scores[:, :2], labels).decision_function(scores[:, :2])
    np.testing.assert_allclose(stack.apply(scores), expected, atol=1e-3)


def test_nothing_but_wrong_ways_leaves_the_log_odds_of_the_classes():
    scores, labels = scores_and_labels()
    labels = np.where(np.arange(len(labels)) < 100, 1 - labels, 0)
    stack = fit_stack(-np.abs(scores[:, :1]) * labels[:, None], labels)
    assert not stack.weights.any()
    share = labels.mean()
    assert stack.offset == pytest.approx(np.log(share / (1 - share)))


def test_out_of_fold_scores_know_nothing_of_their_cluster():
    """Noise that a stack learns by heart ranks better in sample than out of fold."""
    random = np.random.default_rng(5)
    num_clusters, size = 12, 5
    clusters = np.repeat([f"person {i}" for i in range(num_clusters)], size)
    labels = np.repeat(np.arange(num_clusters) % 2, size)
    scores = np.repeat(random.normal(0, 1, (num_clusters, 6)), size, axis=0)
    found = out_of_fold_scores(scores, labels, clusters, "made-up/val")
    in_sample = fit_stack(scores, labels).apply(scores)
    assert roc_auc_score(labels, in_sample) > roc_auc_score(labels, found) + 0.1


def test_each_fold_is_scored_by_the_stack_of_the_others():
    scores, labels = scores_and_labels(40)
    clusters = np.array([f"person {i // 10}" for i in range(40)])  # of either class
    found = out_of_fold_scores(scores[:, :2], labels, clusters, "made-up/val")
    for name in np.unique(clusters):
        own = clusters == name
        expected = fit_stack(scores[~own][:, :2], labels[~own]).apply(scores[own][:, :2])
        np.testing.assert_allclose(found[own], expected)


def test_unlabelled_faces_are_scored_and_never_fitted_on():
    scores, labels = scores_and_labels(60)
    clusters = np.array([f"image {i}" for i in range(60)])
    plain = out_of_fold_scores(scores, labels, clusters, "made-up/val")
    more = np.concatenate([scores, np.full((2, 3), 1e3)])
    unknown = np.concatenate([labels, [-1, -1]])
    names = np.concatenate([clusters, ["image 0", "nobody"]])
    found = out_of_fold_scores(more, unknown, names, "made-up/val")
    np.testing.assert_allclose(found[:60], plain)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("clusters", "message"),
    [
        (["a", "a", "a", "b"], "2 real and 1 fake clusters"),
        (["a", "b", "a", "b"], None),
    ],
)
def test_too_few_clusters_are_one_line(clusters, message):
    labels = np.array([0, 0, 1, 1]) if message is None else np.array([0, 1, 1, 0])
    scores = np.arange(8.0).reshape(4, 2)
    if message is None:
        assert out_of_fold_scores(scores, labels, np.array(clusters), "x/val").shape == (4,)
        return
    with pytest.raises(InputError, match=message):
        out_of_fold_scores(scores, labels, np.array(clusters), "x/val")
