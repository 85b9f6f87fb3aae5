"""The calibration file: p-values, refusals, byte-equal JSON."""

import json

import numpy as np
import pytest
from scipy import stats

from dfd_tf.inference.calibration import CalibrationFile, parse_calibration
from pipelines.errors import ModelFileError

VALUES = {
    "weights_sha256": "0" * 64,
    "dataset": "faces",
    "dataset_fingerprint": "1" * 64,
    "num_real": 4,
    "num_real_clusters": 4,
    "num_fake": 0,
    "thresholds": [
        {
            "name": "sensitive",
            "value": 3.0,
            "rule": "by hand",
            "num_real": 4,
            "observed_fpr": 0.25,
            "observed_fpr_interval": {"low": 0.0, "high": 0.7},
        }
    ],
    "missing": {"strict": "needs 99"},
    "real_scores": [1.0, 2.0, 2.0, 4.0],
}


def test_f07_p_values_by_hand():
    calibration = CalibrationFile.model_validate(VALUES)
    assert calibration.p_values(np.array([0.0, 2.0, 2.5, 9.0])) == pytest.approx([1, 0.8, 0.4, 0.2])


def test_f07_p_values_of_fresh_data_are_super_uniform():
    generator = np.random.default_rng(11)
    real = np.sort(generator.normal(size=2000))
    values = VALUES | {"num_real": 2000, "real_scores": real.tolist()}
    fresh = CalibrationFile.model_validate(values).p_values(generator.normal(size=1500))
    assert stats.kstest(fresh, "uniform", alternative="greater").pvalue > 1e-4
    assert 0 < fresh.min() <= fresh.max() <= 1


def test_round_trip_is_byte_equal():
    text = CalibrationFile.model_validate(VALUES).to_json()
    assert parse_calibration(text, "calibration.json").to_json() == text


@pytest.mark.parametrize(
    "change",
    [
        {"real_scores": [1.0, 2.0, 2.0, float("nan")]},
        {"real_scores": [4.0, 2.0, 2.0, 1.0]},
        {"num_real": 5},
        {"split": "test"},
        {"thresholds": VALUES["thresholds"] * 2},
        {"thresholds": [VALUES["thresholds"][0] | {"value": float("inf")}]},
        {"surprise": 1},
    ],
)
def test_e18_edited_files_are_refused(change):
    with pytest.raises(ModelFileError, match="dfd-tf calibrate"):
        parse_calibration(json.dumps(VALUES | change), "run/calibration.json")


def test_a_missing_operating_point_says_why():
    calibration = CalibrationFile.model_validate(VALUES)
    assert calibration.threshold("sensitive").value == 3.0
    with pytest.raises(KeyError, match="needs 99"):
        calibration.threshold("strict")
    with pytest.raises(KeyError, match="no such operating point"):
        calibration.threshold("lenient")
