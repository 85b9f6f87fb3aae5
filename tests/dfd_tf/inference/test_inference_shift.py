"""The shift of a batch: said when it is there, hardly ever when it is not, and never as a proof."""

import numpy as np
import pytest
from scipy import stats

from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.shift import batch_warning, score_shift


def calibration_of(real):
    return CalibrationFile(
        weights_sha256="0",
        dataset="faces",
        dataset_fingerprint="f",
        num_real=len(real),
        num_real_clusters=len(real),
        num_fake=0,
        thresholds=(),
        real_scores=tuple(np.sort(real).tolist()),
    )


REAL = np.random.default_rng(1).normal(size=300)
CALIBRATION = calibration_of(REAL)


def test_the_test_is_scipys_two_sample_one_and_the_same_on_p_values():
    fresh = np.random.default_rng(2).normal(0.4, 1.0, 80)
    found = score_shift(fresh, CALIBRATION)
    expected = stats.ks_2samp(fresh, REAL)
    assert (found.distance, found.p_value) == (expected.statistic, expected.pvalue)
    of_p_values = stats.ks_2samp(CALIBRATION.p_values(fresh), CALIBRATION.p_values(REAL))
    assert found.distance == pytest.approx(of_p_values.statistic, abs=1 / 300)


def test_real_images_like_the_calibrations_hardly_ever_alarm():
    generator = np.random.default_rng(3)
    alarms = [
        batch_warning(generator.normal(size=60), calibration_of(generator.normal(size=200)))
        for _ in range(1000)
    ]
    assert sum(alarm is not None for alarm in alarms) <= 1  # 0.1 expected


@pytest.mark.parametrize(
    ("shift", "words"),
    [(1.5, "many fakes would do that, and so would"), (-1.5, "which fakes do not explain")],
)
def test_a_shift_is_said_with_its_figures_and_without_a_verdict(shift, words):
    warning = batch_warning(np.random.default_rng(4).normal(shift, 1, 60), CALIBRATION)
    assert "do not look like the calibration data (faces): over 60 images" in warning
    assert words in warning
    assert "photos of one person or one series" in warning
    assert "\n" not in warning


def test_too_few_images_say_nothing():
    assert batch_warning(np.full(29, 99.0), CALIBRATION) is None
    assert batch_warning(np.full(30, 99.0), CALIBRATION) is not None
    assert batch_warning(np.array([]), CALIBRATION) is None
