"""What every result carries of the operating point, so that it can be read without the run."""

import csv
import json
from types import SimpleNamespace

import pytest

from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.output import open_output
from dfd_tf.inference.prediction import FilePrediction

POINT = {
    "name": "balanced",
    "value": 3.0,
    "rule": "by hand",
    "target_fpr": 0.05,
    "num_real": 2,
    "observed_fpr": 0.0,
    "observed_fpr_interval": {"low": 0.0, "high": 0.7},
}


def predictor_of(**point):
    calibration = CalibrationFile.model_validate(
        {
            "weights_sha256": "0" * 64,
            "dataset": "faces",
            "dataset_fingerprint": "1" * 64,
            "num_real": 2,
            "num_real_clusters": 2,
            "num_fake": 0,
            "thresholds": [POINT | point],
            "real_scores": [1.0, 2.0],
        }
    )
    model = SimpleNamespace(detector="made up", sha256="0" * 64, pretrained="random", caveats=())
    return SimpleNamespace(calibration=calibration, model=model)


def prediction(kind):
    return FilePrediction(
        path="a",
        status="ok",
        kind=kind,
        verdict="real",
        reason="",
        label="real",
        score=1.0,
        probability=None,
        p_value=None,
        p_value_fake=None,
        threshold=3.0,
        redelivered=None,
        faces=[],
        num_frames=1,
        truncated=False,
        notes=[],
        error=None,
    )


@pytest.mark.parametrize("miss", [None, 0.1])
def test_both_promises_go_with_an_image_and_none_with_a_video(miss, tmp_path):
    predictor = predictor_of(target_miss=miss, fake_floor=miss and 2.0)
    path = tmp_path / "out"
    for output_format in ("jsonl", "csv"):
        with open_output(path, output_format, predictor, "balanced") as write:
            write(prediction("image"))
            write(prediction("video"))
        text = path.read_text()
        if output_format == "csv":
            image, video = csv.DictReader(text.splitlines())
            assert image["promised_miss"] == ("" if miss is None else "0.1")
            assert image["promised_fpr"] == "0.05"
            assert video["promised_fpr"] == video["promised_miss"] == ""
        else:
            image, video = map(json.loads, text.splitlines())
            assert (image["promised_fpr"], image["promised_miss"]) == (0.05, miss)
            assert video["promised_fpr"] is video["promised_miss"] is None
