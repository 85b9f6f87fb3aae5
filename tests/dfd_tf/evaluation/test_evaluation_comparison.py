"""Comparison of runs: the same items, the right test, Holm, undefined where nothing can be said."""

import json

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples, normal_scores
from scipy import stats
from sklearn import metrics as reference

from dfd_tf.evaluation.comparison import (
    BOOTSTRAP,
    DELONG,
    JudgedRun,
    compare_level,
    compared_metrics,
    holm,
)
from dfd_tf.evaluation.delong import delong_difference
from dfd_tf.evaluation.evaluate import evaluate_samples
from dfd_tf.evaluation.samples import image_level
from pipelines.errors import DatasetError

CALIBRATION = calibration_of(*normal_scores(1, 200, 200))


def judged(name, scores, labels, calibration=CALIBRATION, **columns):
    return JudgedRun(name, image_level(face_samples(scores, labels, **columns)), calibration)


def two_runs(seed=2, distances=(1.0, 2.0), num=80, **columns):
    """Two runs with correlated scores of the same images."""
    generator = np.random.default_rng(seed)
    labels = np.repeat([0, 1], [num, num])
    shared = generator.normal(size=len(labels))
    return [
        judged(
            name,
            0.7 * shared + 0.7 * generator.normal(size=len(labels)) + distance * labels,
            labels,
            **columns,
        )
        for name, distance in zip("ab", distances, strict=True)
    ]


def test_every_run_has_the_figures_of_its_evaluation():
    first, second = two_runs()
    found = compare_level([first, second], "balanced", seed=5)
    for run in (first, second):
        alone = evaluate_samples(
            face_samples(run.samples.scores, run.samples.labels), CALIBRATION, seed=5
        ).figures["levels"]["image"]
        for group in ("ranking", "probability"):
            assert found["runs"][run.name][group] == alone[group]
        for name, metric in found["runs"][run.name]["decisions"]["balanced"].items():
            assert metric == alone["decisions"]["balanced"][name]
    json.dumps(found, allow_nan=False)


def test_differences_are_those_of_scikit_learn():
    first, second = two_runs()
    found = compare_level([first, second], "balanced", seed=0)["differences"]["b"]
    labels = first.samples.labels
    threshold = CALIBRATION.threshold("balanced").value

    def measured(run):
        probabilities = CALIBRATION.probability.apply(run.samples.scores)
        called = run.samples.scores > threshold
        return {
            "auc": reference.roc_auc_score(labels, run.samples.scores),
            "average_precision": reference.average_precision_score(labels, run.samples.scores),
            "log_loss": reference.log_loss(labels, probabilities),
            "brier": reference.brier_score_loss(labels, probabilities),
            "balanced_accuracy": reference.balanced_accuracy_score(labels, called),
        }

    before, after = measured(first), measured(second)
    for name, value in after.items():
        assert found[name]["value"] == pytest.approx(value - before[name])
        assert found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["auc"]["method"] == DELONG
    assert found["auc"]["p_value"] == pytest.approx(
        delong_difference(labels, first.samples.scores, second.samples.scores).p_value
    )
    assert {found[name]["method"] for name in found if name != "auc"} == {BOOTSTRAP}
    # A run this much better is found to be so by every test.
    assert all(one["p_value"] < 0.01 for one in found.values())


def test_images_of_few_persons_are_no_independent_evidence():
    people = [f"person{i // 20}" for i in range(160)]
    runs = two_runs(distances=(1.0, 1.3), identities=people)
    found = compare_level(runs, "balanced", seed=0)
    assert not found["independent"]
    assert found["num_clusters"] == 8
    difference = found["differences"]["b"]
    assert difference["auc"]["method"] == BOOTSTRAP
    assert difference["auc_delong"]["method"] == DELONG
    assert difference["auc"]["value"] == pytest.approx(difference["auc_delong"]["value"])
    assert "auc_delong" not in compare_level(two_runs(), "balanced", seed=0)["differences"]["b"]


def test_repeating_every_image_does_not_sharpen_the_bootstrap():
    once = two_runs(distances=(1.0, 1.3), num=40)
    often = [
        judged(
            run.name,
            np.repeat(run.samples.scores, 5),
            np.repeat(run.samples.labels, 5),
            identities=[f"person{i // 5}" for i in range(400)],
        )
        for run in once
    ]
    width = {}
    for name, runs in (("once", once), ("often", often)):
        found = compare_level(runs, "balanced", seed=0)["differences"]["b"]
        width[name] = {key: one["high"] - one["low"] for key, one in found.items()}
    for metric in ("brier", "log_loss"):
        assert width["often"][metric] == pytest.approx(width["once"][metric], rel=1e-6)
    # DeLong's interval shrinks by the root of five, which is why it is for information only.
    assert width["often"]["auc_delong"] < 0.5 * width["once"]["auc"]
    assert width["often"]["auc"] == pytest.approx(width["once"]["auc"], rel=0.15)


def test_bootstrap_p_values_of_equal_detectors_are_rarely_small():
    p_values = []
    for seed in range(80):
        people = [f"person{i // 2}" for i in range(80)]
        runs = [
            JudgedRun(run.name, run.samples, None)
            for run in two_runs(seed, (1.0, 1.0), num=40, identities=people)
        ]
        found = compare_level(runs, "balanced", seed=seed, num_replicates=200)
        p_values.append(found["differences"]["b"]["auc"]["p_value"])
    low, high = stats.binom.interval(0.999, 80, 0.05)
    assert low <= np.sum(np.array(p_values) <= 0.05) <= high
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_differences_undefined(label):
    labels = np.full(30, label)
    runs = [judged(name, np.linspace(k, k + 2, 30), labels) for k, name in enumerate("ab")]
    found = compare_level(runs, "balanced", seed=0)
    for name in compared_metrics("balanced"):
        one = found["differences"]["b"][name]
        assert one["value"] is one["low"] is one["p_value"] is one["p_holm"] is None
    json.dumps(found, allow_nan=False)


def test_without_probabilities_or_thresholds_there_is_nothing_to_compare():
    first, second = two_runs()
    bare = JudgedRun("b", second.samples, None)
    found = compare_level([first, bare], "balanced", seed=0)["differences"]["b"]
    assert found["auc"]["p_value"] is not None
    for name in ("log_loss", "brier", "balanced_accuracy"):
        assert found[name]["value"] is None


def test_a_run_compared_with_its_own_scores_differs_by_nothing():
    first, _ = two_runs()
    found = compare_level([first, JudgedRun("b", first.samples, CALIBRATION)], "balanced", seed=0)
    for one in found["differences"]["b"].values():
        assert one["value"] == 0
        assert one["low"] is one["p_value"] is None


def test_runs_scored_on_other_items_are_refused():
    labels = [0, 0, 1, 1]
    first = judged("a", [0.0, 1, 2, 3], labels)
    for columns in ({"keys": ["x", "image1", "image2", "image3"]}, {"identities": list("aabb")}):
        with pytest.raises(DatasetError, match="a and b were scored on different images"):
            compare_level(
                [first, judged("b", [0.0, 1, 2, 3], labels, **columns)], "balanced", seed=0
            )


def test_holm_by_hand():
    # 0.01 x 3; 0.02 x 2, at least what came before; 0.2 x 1.
    assert holm([0.2, 0.01, 0.02]) == pytest.approx([0.2, 0.03, 0.04])
    assert holm([0.03, 0.04, 0.02]) == pytest.approx([0.06, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_several_runs_are_corrected_metric_by_metric():
    first, second = two_runs(distances=(1.0, 1.2))
    third = judged("c", second.samples.scores + 0.8 * second.samples.labels, first.samples.labels)
    found = compare_level([first, second, third], "balanced", seed=0)["differences"]
    for name in compared_metrics("balanced"):
        pair = [found[run][name] for run in "bc"]
        assert [one["p_holm"] for one in pair] == pytest.approx(
            holm([one["p_value"] for one in pair])
        )
        assert all(one["p_holm"] >= one["p_value"] for one in pair)
