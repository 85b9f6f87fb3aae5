"""From scores to figures: counts, undefined metrics, groups, the calibration's promise."""

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples, normal_scores
from scipy import stats
from sklearn import metrics as reference

from dfd_tf.evaluation.evaluate import evaluate_samples
from dfd_tf.evaluation.evaluate_run import figure_warnings

CALIBRATION = calibration_of(*normal_scores(1, 200, 200))


def test_figures_equal_scikit_learn():
    scores, labels = normal_scores(2, 90, 60)
    level = evaluate_samples(face_samples(scores, labels), CALIBRATION, seed=0).figures["levels"][
        "image"
    ]
    assert (level["num"], level["num_real"], level["num_fake"]) == (150, 90, 60)
    assert level["positive_rate"] == 0.4
    assert level["ranking"]["auc"]["value"] == pytest.approx(
        reference.roc_auc_score(labels, scores)
    )
    probabilities = CALIBRATION.probability.apply(scores)
    assert level["probability"]["brier"]["value"] == pytest.approx(
        reference.brier_score_loss(labels, probabilities)
    )
    called = scores > CALIBRATION.threshold("balanced").value
    decision = level["decisions"]["balanced"]
    assert decision["recall"]["value"] == pytest.approx(reference.recall_score(labels, called))
    tn, fp, fn, tp = reference.confusion_matrix(labels, called).ravel()
    names = ("true_negatives", "false_positives", "false_negatives", "true_positives")
    assert tuple(decision[name] for name in names) == (tn, fp, fn, tp)
    for name, metric in level["ranking"].items():
        if name == "tpr_at_fpr_1":
            assert metric["low"] is metric["high"] is None  # 90 real ones are too few
        else:
            assert metric["low"] <= metric["value"] <= metric["high"]


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_leaves_metrics_undefined(label):
    faces = face_samples(np.linspace(-1, 2, 40), np.full(40, label))
    figures = evaluate_samples(faces, CALIBRATION, seed=0).figures
    level = figures["levels"]["image"]
    for section in ("ranking", "probability"):
        assert all(metric["value"] is None for metric in level[section].values())
    decision = level["decisions"]["balanced"]
    assert decision["balanced_accuracy"] == {"value": None, "low": None, "high": None}
    assert (decision["fpr"]["value"] is None) == (label == 1)
    assert any("what needs both is undefined" in line for line in figure_warnings(figures))


def test_unlabelled_images_are_counted_and_left_out():
    scores, labels = normal_scores(3, 20, 20)
    labels[:5] = -1
    figures = evaluate_samples(face_samples(scores, labels), CALIBRATION, seed=0).figures
    assert figures["num_unlabelled"] == 5
    assert figures["levels"]["image"]["num"] == 35
    nothing = evaluate_samples(face_samples(scores, np.full(40, -1)), CALIBRATION, seed=0).figures
    assert nothing["levels"] == {}
    assert figure_warnings(nothing) == ["no labelled images: nothing could be measured"]


def test_without_calibration_there_are_no_decisions():
    scores, labels = normal_scores(4, 20, 20)
    level = evaluate_samples(face_samples(scores, labels), None, seed=0).figures["levels"]["image"]
    assert level["decisions"] == {}
    assert "probability" not in level
    assert "false_alarms" not in level


def test_f02_false_alarms_beside_their_band():
    real = normal_scores(5, 1000, 0)[0]
    level = evaluate_samples(face_samples(real, np.zeros(1000)), CALIBRATION, seed=0).figures[
        "levels"
    ]["image"]
    alarms = level["false_alarms"]["balanced"]
    assert alarms["band_999"] == [10, 121]  # RELIABILITY.md F-02: n = 200, N = 1000
    assert alarms["count"] == np.sum(real > CALIBRATION.threshold("balanced").value)
    assert alarms["inside"]
    assert level["shift"]["p_value"] > 1e-4


def test_f13_a_shift_of_the_scores_is_said():
    real = normal_scores(5, 300, 0)[0] + 1.0
    figures = evaluate_samples(face_samples(real, np.zeros(300)), CALIBRATION, seed=0).figures
    assert not figures["levels"]["image"]["false_alarms"]["balanced"]["inside"]
    assert any("do not look like those of the calibration" in w for w in figure_warnings(figures))


def test_no_band_where_images_share_a_person_or_are_those_of_the_calibration():
    real = normal_scores(5, 100, 0)[0]
    people = [f"person{i // 2}" for i in range(100)]
    faces = face_samples(real, np.zeros(100), identities=people)
    level = evaluate_samples(faces, CALIBRATION, seed=0).figures["levels"]["image"]
    assert level["num_clusters"] == 50
    assert level["false_alarms"]["balanced"]["band_999"] is None
    assert "inside" not in level["false_alarms"]["balanced"]
    old = evaluate_samples(faces, CALIBRATION, seed=0, fresh=False).figures["levels"]["image"]
    assert "false_alarms" not in old


def test_a_rate_of_zero_gets_wilsons_interval_over_clusters():
    labels = np.repeat([0, 1], 20)
    people = [f"person{i // 2}" for i in range(40)]
    faces = face_samples(np.where(labels == 1, 9.0, -9.0), labels, identities=people)
    decision = evaluate_samples(faces, CALIBRATION, seed=0).figures["levels"]["image"]["decisions"][
        "balanced"
    ]
    low, high = stats.binomtest(0, 10).proportion_ci(0.95, method="wilson")
    assert decision["fpr"] == {"value": 0.0, "low": pytest.approx(low), "high": pytest.approx(high)}
    assert decision["balanced_accuracy"] == {"value": 1.0, "low": None, "high": None}


@pytest.mark.parametrize(
    ("num_real", "with_interval"),
    [(39, set()), (40, {"5"}), (199, {"5"}), (200, {"5", "1"})],
)
def test_the_far_ends_of_the_roc_need_many_real_images_for_an_interval(num_real, with_interval):
    """Simulated coverage of the 95 % interval at 1 % FPR: 0.64 of 40, 0.83 of 100, 0.93 of 200."""
    scores, labels = normal_scores(9, num_real, 150)
    level = evaluate_samples(face_samples(scores, labels), None, seed=0).figures["levels"]["image"]
    for rate in ("1", "5"):
        for found in (level["ranking"], level["by_domain"]["d"], level["by_method"]["(not named)"]):
            metric = found[f"tpr_at_fpr_{rate}"]
            assert metric["value"] is not None
            assert (metric["low"] is not None) == (rate in with_interval)
    # Each twice over is no more evidence.
    people = [f"person{i // 2}" for i in range(2 * len(scores))]
    twice = face_samples(np.repeat(scores, 2), np.repeat(labels, 2), identities=people)
    again = evaluate_samples(twice, None, seed=0).figures["levels"]["image"]["ranking"]
    for rate in ("1", "5"):
        metric = again[f"tpr_at_fpr_{rate}"]
        assert (metric["low"] is not None) == (rate in with_interval)


def test_many_frames_of_few_videos_do_not_alarm_and_a_shift_of_them_still_does():
    """40 people whose 25 photos score alike are 40 draws, not 1,000."""
    alarms = {0.0: 0, 3.0: 0}
    for seed in range(20):
        generator = np.random.default_rng(seed)
        people = np.repeat(np.arange(40), 25)
        scores = generator.normal(size=40)[people] + generator.normal(0, 0.1, 1000)
        for shift in alarms:
            faces = face_samples(
                scores + shift, np.zeros(1000), identities=[f"person{i}" for i in people]
            )
            figures = evaluate_samples(faces, CALIBRATION, seed=0).figures
            medians = np.median((scores + shift).reshape(40, 25), axis=1)
            expected = stats.ks_2samp(medians, CALIBRATION.real_scores)
            found = figures["levels"]["image"]["shift"]
            assert found["num"] == 40
            assert found["distance"] == pytest.approx(expected.statistic)
            alarms[shift] += any("do not look like" in w for w in figure_warnings(figures))
    assert alarms == {0.0: 0, 3.0: 20}


def test_groups_and_the_worst_of_them():
    scores, labels = normal_scores(6, 200, 200, distance=0.0)
    methods = np.where(labels == 0, "", np.where(np.arange(400) % 2, "easy", "hard"))
    scores[methods == "easy"] += 3
    domains = np.where(np.arange(400) % 4 < 2, "a", "b")
    faces = face_samples(scores, labels, domains=domains, methods=methods)
    level = evaluate_samples(faces, None, seed=0).figures["levels"]["image"]
    assert level["worst_method"] == "hard"
    hard = (labels == 0) | (methods == "hard")
    assert level["by_method"]["hard"]["auc"]["value"] == pytest.approx(
        reference.roc_auc_score(labels[hard], scores[hard])
    )
    assert level["by_method"]["hard"]["num_real"] == 200
    in_a = domains == "a"
    assert level["by_domain"]["a"]["auc"]["value"] == pytest.approx(
        reference.roc_auc_score(labels[in_a], scores[in_a])
    )


def test_frames_and_videos_are_both_reported():
    scores, labels = normal_scores(7, 40, 40)
    videos = [f"ds/{label}/{i // 4}" for i, label in enumerate(labels)]
    keys = [f"{video}#{i % 4}" for i, video in enumerate(videos)]
    figures = evaluate_samples(
        face_samples(scores, labels, keys=keys, videos=videos), CALIBRATION, seed=0
    ).figures
    assert figures["levels"]["image"]["num"] == 80
    assert figures["levels"]["video"]["num"] == 20
    assert figures["levels"]["image"]["num_clusters"] == 20
    assert "false_alarms" not in figures["levels"]["video"]
    assert any("set on single images" in line for line in figure_warnings(figures))


def test_equal_seeds_give_equal_figures():
    faces = face_samples(*normal_scores(8, 30, 30))
    first, second, other = (
        evaluate_samples(faces, CALIBRATION, seed=seed).figures for seed in (0, 0, 1)
    )
    assert first == second != other
