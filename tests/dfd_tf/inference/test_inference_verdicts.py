"""Verdicts: zones by hand, exact agreement with p-values, monotone in the score, error rates."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dfd_tf.evaluation.thresholds import conformal_thresholds, youden_threshold
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.verdicts import judge

ORDER = {"real": 0, "inconclusive": 1, "fake": 2}


def calibration_of(real, fake=()):
    real, fake = np.sort(np.asarray(real, float)), np.sort(np.asarray(fake, float))
    thresholds, missing = conformal_thresholds(real, fake)
    if len(fake):
        thresholds.append(youden_threshold(real, fake))
    return CalibrationFile(
        weights_sha256="0",
        dataset="d",
        dataset_fingerprint="f",
        num_real=len(real),
        num_real_clusters=len(real),
        num_fake=len(fake),
        thresholds=tuple(thresholds),
        missing=missing,
        real_scores=tuple(real.tolist()),
        fake_scores=tuple(fake.tolist()),
    )


def names(calibration, point, scores):
    threshold = calibration.threshold(point)
    return [judge(score, calibration, threshold).name for score in scores]


OVERLAPPING = calibration_of(np.arange(1.0, 100), np.arange(51.0, 150))
APART = calibration_of(np.arange(1.0, 100), np.arange(201.0, 300))
REALS_ONLY = calibration_of(np.arange(1.0, 100))
FEW_FAKES = calibration_of(np.arange(1.0, 100), np.arange(51.0, 59))


def test_between_overlapping_classes_both_labels_stay_plausible():
    # 99 and 99 scores at 5 %: real up to the 95th of 1..99, fake from the 5th of 51..149.
    assert names(OVERLAPPING, "balanced", [54.9, 55, 95, 95.1]) == [
        "real",
        "inconclusive",
        "inconclusive",
        "fake",
    ]
    verdict = judge(60.0, OVERLAPPING, OVERLAPPING.threshold("balanced"))
    # 40 of 99 reals score 60 or more, 10 of 99 fakes 60 or less.
    assert verdict.reason == "both stay plausible: real (p = 0.41) and fake (p = 0.11)"
    sure = judge(40.0, OVERLAPPING, OVERLAPPING.threshold("balanced"))
    assert sure.reason == "fake (p = 0.01) is implausible, real (p = 0.61) is not"
    assert judge(140.0, OVERLAPPING, OVERLAPPING.threshold("strict")).name == "fake"


def test_between_classes_far_apart_neither_label_is_plausible():
    assert names(APART, "balanced", [95, 95.1, 204.9, 205]) == [
        "real",
        "inconclusive",
        "inconclusive",
        "fake",
    ]
    verdict = judge(150.0, APART, APART.threshold("balanced"))
    assert verdict.reason == "neither is plausible: real (p = 0.01) nor fake (p = 0.01)"


@pytest.mark.parametrize("calibration", [REALS_ONLY, FEW_FAKES])
def test_without_enough_fakes_the_band_lies_between_operating_points(calibration):
    # Of 1..99 the sensitive threshold is the 90th, the balanced one the 95th.
    assert names(calibration, "balanced", [90, 90.1, 95, 95.1]) == [
        "real",
        "inconclusive",
        "inconclusive",
        "fake",
    ]
    assert names(calibration, "strict", [90, 95.1, 99.1]) == ["real", "inconclusive", "fake"]
    assert names(calibration, "sensitive", [90, 90.1]) == ["real", "fake"]
    real = judge(1.0, calibration, calibration.threshold("balanced"))
    assert f"with {calibration.num_fake} fakes in the calibration it is not known" in real.reason
    unusual = judge(93.0, calibration, calibration.threshold("balanced"))
    assert unusual.reason.startswith("unusual for a real image (p = 0.08)")


def test_few_fakes_promise_what_their_number_can():
    point = calibration_of(np.arange(99.0), np.arange(50.0, 62)).threshold("strict")
    assert point.fake_floor == 50.0  # of twelve none is lower in 12 of 13 cases
    assert point.target_miss == pytest.approx(1 / 13)
    assert FEW_FAKES.threshold("balanced").fake_floor is None  # 1 / 9 is above 10 %


def test_a_video_goes_without_p_values_and_promise():
    verdict = judge(60.0, OVERLAPPING, OVERLAPPING.threshold("balanced"), kind="video")
    assert verdict.name == "inconclusive"
    assert "p =" not in verdict.reason
    assert verdict.reason.endswith("single images, without a promise")
    alone = judge(1.0, REALS_ONLY, REALS_ONLY.threshold("balanced"), kind="video")
    assert alone.name == "real"
    assert "p =" not in alone.reason


def test_a_verdict_that_redelivery_changes_is_unstable():
    threshold = OVERLAPPING.threshold("balanced")
    scores = {"JPEG quality 75": 97.0, "resizing to 75%": 80.0}
    verdict = judge(98.0, OVERLAPPING, threshold, redelivered=scores)
    assert verdict.name == "inconclusive"
    assert verdict.reason == (
        "unstable: fake as it is (score 98), inconclusive after resizing to 75% (score 80)"
    )
    assert judge(98.0, OVERLAPPING, threshold, redelivered={"x": 96.0}).name == "fake"
    assert "unstable" not in judge(60.0, OVERLAPPING, threshold, redelivered={"x": 1.0}).reason


some_scores = st.lists(
    st.floats(-50, 50, allow_subnormal=False).map(lambda x: round(x, 1)), min_size=9, max_size=130
)


@settings(max_examples=60, deadline=None)
@given(some_scores, st.one_of(st.just([]), some_scores))
def test_f06_verdicts_are_monotone_and_agree_with_the_p_values(real, fake):
    calibration = calibration_of(real, fake)
    scores = np.unique([*real, *fake, *np.linspace(-60, 60, 41)])
    real_p, fake_p = calibration.p_values(scores), calibration.fake_p_values(scores)
    assert np.all(np.diff(real_p) <= 0)
    assert fake_p is None or np.all(np.diff(fake_p) >= 0)
    for point in calibration.thresholds:
        found = names(calibration, point.name, scores.tolist())
        ranks = [ORDER[name] for name in found]
        assert ranks == sorted(ranks)
        if point.target_fpr is not None:
            assert np.array_equal(scores <= point.value, real_p > point.target_fpr)
        if point.fake_floor is not None:
            assert np.array_equal(scores >= point.fake_floor, fake_p > point.target_miss)
        # A label and the verdict never contradict each other.
        called = scores > point.value
        assert not any(name == "real" for name in np.array(found)[called])
        assert not any(name == "fake" for name in np.array(found)[~called])


def test_each_class_is_given_the_other_name_at_most_as_often_as_promised():
    generator = np.random.default_rng(8)
    missed, alarms = [], []
    for _ in range(400):
        real, fake = generator.normal(size=60), generator.normal(1.0, 1.0, size=40)
        thresholds, _ = conformal_thresholds(real, fake)
        point = {one.name: one for one in thresholds}["balanced"]
        alarms.append(stats.norm.sf(point.value))
        missed.append(stats.norm.cdf(point.fake_floor - 1.0))
    # Means of Beta(3, 58) and of the 2nd of 40 uniforms, Beta(2, 39).
    for rates, expected in ((alarms, 3 / 61), (missed, 2 / 41)):
        assert np.mean(rates) == pytest.approx(expected, abs=4 * np.std(rates) / 20)


def test_the_rule_needs_no_tensorflow():
    code = (
        "import sys, dfd_tf.inference.verdicts, dfd_tf.inference.shift;"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
