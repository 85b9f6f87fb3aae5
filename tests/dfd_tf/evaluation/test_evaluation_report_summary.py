"""What reports say in words, and the curves of training."""

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples, normal_scores
from report_runs import CALIBRATION, HISTORY, plain

from dfd_tf.evaluation.evaluate import evaluate_samples
from dfd_tf.evaluation.metrics import DECISION, PROBABILITY, RANKING
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.report_history import history_plot, read_history
from dfd_tf.evaluation.report_summary import (
    calibration_facts,
    decision_verdict,
    interval_text,
    ranking_verdict,
)
from dfd_tf.evaluation.report_tables import DESCRIPTIONS, count_rows


def level(value, low, high, reals=10, fakes=10):
    return {
        "ranking": {"auc": {"value": value, "low": low, "high": high}},
        "num_real": reals,
        "num_fake": fakes,
    }


@pytest.mark.parametrize(
    ("figures", "start", "bad"),
    [
        (level(0.8, 0.7, 0.9), "Better than chance", False),
        (level(0.6, 0.5, 0.7), "Not to be told from chance", True),
        (level(0.4, 0.3, 0.5), "Not to be told from chance", True),
        (level(0.3, 0.2, 0.4), "Worse than chance", True),
        (level(1.0, None, None), "Every fake scored above every real one", False),
        (level(0.0, None, None), "AUC 0.000 (no interval)", True),
        (level(None, None, None, fakes=0), "Undefined at image level", True),
    ],
)
def test_the_verdict_follows_the_interval(figures, start, bad):
    sentence, is_bad = ranking_verdict("image", figures)
    assert plain(sentence).startswith(start)
    assert is_bad is bad


def figures_of(scores, labels, calibration, point="balanced"):
    faces = face_samples(scores, labels)
    return evaluate_samples(faces, calibration, seed=0).figures | {"operating_point": point}


def verdict(figures, calibration):
    sentences, bad = decision_verdict(figures, "image", calibration)
    return [plain(sentence) for sentence in sentences], bad


def plain_interval(*arguments, **options):
    return plain(interval_text(*arguments, **options))


def test_decisions_are_counted_in_words():
    threshold = CALIBRATION.threshold("balanced").value
    scores = threshold + np.array([1.0] * 3 + [-1.0] * 17 + [1.0] * 9 + [-1.0])
    figures = figures_of(scores, np.repeat([0, 1], [20, 10]), CALIBRATION)
    (decisions, promise), bad = verdict(figures, CALIBRATION)
    assert "3 of 20 real ones, false positive rate 15.0 % (95 % interval" in decisions
    assert "9 of 10 fakes, that is 90.0 % (95 % interval" in decisions
    assert promise.startswith("Promised: at most 5 % false positives")
    assert "3 false positives are inside the band" in promise
    assert not bad


def test_a_broken_promise_is_bad_news():
    figures = figures_of(np.full(200, 9.0), np.zeros(200), CALIBRATION)
    (decisions, promise), bad = verdict(figures, CALIBRATION)
    assert "200 of 200 real ones" in decisions
    assert "fakes" not in decisions
    assert "are outside the band" in promise
    assert bad


def test_a_missing_operating_point_is_explained():
    few = calibration_of(*normal_scores(1, 30, 30))
    figures = figures_of(*normal_scores(2, 20, 20), few, "strict")
    (sentence,), bad = verdict(figures, few)
    assert "operating point strict is not set (a false positive rate of 1% needs" in sentence
    assert bad


def test_intervals_in_words():
    metric = {"value": 0.0671, "low": 0.01, "high": 0.2}
    assert plain_interval(metric) == "0.067 (95 % interval 0.010 to 0.200)"
    assert plain_interval(metric, percent=True) == "6.7 % (95 % interval 1.0 % to 20.0 %)"
    assert plain_interval(metric | {"low": None}) == "0.067 (no interval)"
    assert plain_interval(metric | {"value": None}) == "undefined"


def test_caveats_of_the_calibration_are_told():
    trivial = CALIBRATION.model_copy(update={"caveats": ("calibrated on noise",)})
    assert "calibrated on noise" in calibration_facts(trivial)
    assert calibration_facts(None) == [
        "not calibrated: scores have no thresholds and are no probabilities"
    ]


def test_every_metric_is_described():
    assert set(DESCRIPTIONS) == {*RANKING, *PROBABILITY, *DECISION}


def test_counts_become_rows():
    rows = count_rows({"train": {"0|a|b": 2}, "test": {"-1|a": 1}})
    assert [tuple(row.values()) for row in rows] == [
        ("train", "real", "a|b", 2),
        ("test", "unknown", "a", 1),
    ]


def test_training_curves_show_every_figure_once():
    figure = history_plot(read_history(HISTORY), best_epoch=2, run="$r_1$")
    panels = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(panels) == ["loss", "auc", "learning rate"]
    lines = {line.get_label(): line for line in panels["loss"].lines}
    assert list(lines["training"].get_ydata()) == [0.9, 0.7, 0.5]
    assert list(lines["validation"].get_ydata()) == [0.8, 0.75, 0.77]
    assert list(lines["selected"].get_xdata()) == [2, 2]
    assert np.isnan(panels["auc"].lines[0].get_ydata()[-1])
    assert png_bytes(figure)
