"""Robustness: figures per level against scikit-learn, undefined cases, plots, and the choice."""

import csv
import io

import numpy as np
import pytest
from evaluation_samples import face_samples, normal_scores
from sklearn import metrics as reference

from dfd_tf.evaluation.comparison_plots import ForestRow, forest_plot, robustness_plot
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.robustness import level_figures, worst_cases
from dfd_tf.evaluation.robustness_report import robustness_table, worst_rows, worst_text
from dfd_tf.evaluation.samples import image_level

THRESHOLD = 0.8


def pair(distance=1.5, seed=0):
    scores, labels = normal_scores(seed, 60, 60, distance)
    noise = np.random.default_rng(seed + 1).normal(size=120)
    return (image_level(face_samples(values, labels)) for values in (scores, scores + noise))


def swept(threshold=THRESHOLD, labels=None):
    """A robustness.json of two perturbations with made-up scores."""
    clean, perturbed = pair()
    if labels is not None:
        clean, perturbed = (
            image_level(face_samples(one.scores, np.full(120, labels)))
            for one in (clean, perturbed)
        )
    unchanged = level_figures(clean, clean, threshold, 0)
    changed = level_figures(clean, perturbed, threshold, 0)
    figures = {
        "clean": unchanged,
        "perturbations": {
            "jpeg": {"levels": [{"level": 90, **unchanged}, {"level": 10, **changed}]},
            "contrast": {"levels": [{"level": 0.4, **changed}, {"level": 2.0, **unchanged}]},
        },
    }
    return figures | {"worst": worst_cases(figures)}


def test_figures_equal_scikit_learn():
    clean, perturbed = pair()
    labels = clean.labels
    found = level_figures(clean, perturbed, THRESHOLD, 0)
    before, after = (reference.roc_auc_score(labels, one.scores) for one in (clean, perturbed))
    assert found["auc"]["value"] == pytest.approx(after)
    assert found["auc_change"]["value"] == pytest.approx(after - before)
    called = perturbed.scores > THRESHOLD
    assert found["flip_rate"]["value"] == np.mean(called != (clean.scores > THRESHOLD))
    assert found["recall"]["value"] == pytest.approx(reference.recall_score(labels, called))
    assert found["fpr"]["value"] == np.mean(called[labels == 0])
    for metric in found.values():
        assert metric["low"] < metric["value"] < metric["high"]
    # Paired: the change is known better than the AUC itself.
    width = {name: found[name]["high"] - found[name]["low"] for name in ("auc", "auc_change")}
    assert width["auc_change"] < width["auc"]


def test_pictures_that_do_not_change_flip_nothing():
    clean, _ = pair()
    found = level_figures(clean, clean, THRESHOLD, 0)
    assert found["auc_change"] == {"value": 0.0, "low": None, "high": None}
    assert found["flip_rate"]["value"] == 0.0
    assert 0 < found["flip_rate"]["high"] < 0.05  # Wilson over 120 images


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_has_flips_and_no_auc(label):
    figures = swept(labels=label)
    found = figures["perturbations"]["jpeg"]["levels"][1]
    assert found["auc"]["value"] is found["auc_change"]["value"] is None
    assert found["flip_rate"]["value"] > 0
    assert (found["fpr"]["value"] is None) == (label == 1)
    assert figures["worst"]["auc"] is None
    assert figures["worst"]["flip_rate"]["perturbation"] == "jpeg"
    assert png_bytes(robustness_plot(figures, "one class"))
    assert worst_rows(figures)[1]["auc"]["value"] is None
    assert worst_text(figures).startswith("most flips: jpeg 10")


def test_without_a_threshold_nothing_flips_or_stays():
    figures = swept(threshold=None)
    found = figures["perturbations"]["jpeg"]["levels"][1]
    for name in ("flip_rate", "fpr", "recall"):
        assert found[name] == {"value": None, "low": None, "high": None}
    assert figures["worst"]["flip_rate"] is None
    assert figures["worst"]["auc"]["level"] == 10
    assert png_bytes(robustness_plot(figures, "no threshold"))
    undefined = swept(threshold=None, labels=0)
    assert worst_text(undefined) == "AUC and flip rate are undefined"


def test_the_worst_cases_are_named():
    figures = swept()
    assert figures["worst"]["auc"]["perturbation"] == "jpeg"
    rows = {row["perturbation"]: row for row in worst_rows(figures)}
    assert rows["jpeg"]["level"] == rows["jpeg"]["flip_level"] == "10 (worst of all)"
    assert rows["contrast"]["level"] == "0.4"
    assert rows["none"]["auc"] == figures["clean"]["auc"]


def test_the_curves_put_clean_in_its_place():
    figure = robustness_plot(swept(), "title $x_2$")
    ticks = [[text.get_text() for text in axes.get_xticklabels()] for axes in figure.axes]
    assert ticks == [["clean", "90", "10"], ["0.4", "clean", "2"]]
    first, second = figure.axes
    assert first.get_ylim() == second.get_ylim()


def test_the_table_leaves_undefined_values_empty():
    rows = list(csv.DictReader(io.StringIO(robustness_table(swept(threshold=None)).decode())))
    assert [(row["perturbation"], row["level"]) for row in rows] == [
        ("clean", ""), ("jpeg", "90"), ("jpeg", "10"), ("contrast", "0.4"), ("contrast", "2.0"),
    ]  # fmt: skip
    assert rows[1]["flip_rate"] == ""
    assert float(rows[2]["auc_low"]) < float(rows[2]["auc"])


def test_a_forest_says_undefined_and_survives_odd_names():
    rows = [
        ForestRow("data $x_2$", "run [red]" * 9, {"value": 0.7, "low": 0.6, "high": 0.8}),
        ForestRow("data $x_2$", "b", {"value": None, "low": None, "high": None}),
        ForestRow("other", "c", {"value": 1.0, "low": None, "high": None}),
    ]
    figure = forest_plot(rows, "$title")
    assert png_bytes(figure)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["data $x_2$", "0.700 [0.600, 0.800]", "undefined", "other", "1.000"]
    assert len(figure.axes[0].get_yticklabels()) == 3
