"""What every result carries of the operating point, so that it can be read without the run."""

import csv
import json
from dataclasses import replace
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


def prediction(kind, promised_fpr=None, promised_miss=None):
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
        promised_fpr=promised_fpr,
        promised_miss=promised_miss,
    )


@pytest.mark.parametrize("miss", [None, 0.1])
def test_both_promises_go_with_an_image_and_none_with_a_video(miss, tmp_path):
    predictor = predictor_of(target_miss=miss, fake_floor=miss and 2.0)
    path = tmp_path / "out"
    for output_format in ("jsonl", "csv"):
        with open_output(path, output_format, predictor, "balanced") as write:
            write(prediction("image", 0.05, miss))
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


def clip(*p_values):
    """A prediction of a clip with one counted person a p-value of change over time, and a ghost."""
    person = {"counted": True, "first_seconds": 0.0, "last_seconds": 9.5, "score": 3.0}
    persons = [
        person | {"person": 7 + i, "temporal": {"p_value": p_value}}
        for i, p_value in enumerate(p_values)
    ]
    ghost = person | {"person": 9, "counted": False, "temporal": {"p_value": None}}
    video = {"sampling": "every frame", "aggregation": "top_k", "frames": []}
    return replace(prediction("video"), video=video, persons=(*persons, ghost))


def written(results, predictor, output_format, path):
    with open_output(path, output_format, predictor, "balanced") as write:
        for result in results:
            write(result)
    return path.read_text()


def test_rows_of_clips_tell_of_the_worst_person(tmp_path):
    text = written([prediction("image"), clip(0.02, None)], predictor_of(), "csv", tmp_path / "x")
    image, video = csv.DictReader(text.splitlines())
    assert [video[name] for name in ("num_persons", "worst_person", "temporal_p_value")] == [
        "2", "7", "0.02",
    ]  # fmt: skip
    assert (video["sampling"], video["aggregation"]) == ("every frame", "top_k")
    assert image["num_persons"] == image["worst_person"] == image["sampling"] == ""
    (nobody,) = csv.DictReader(
        written([clip()], predictor_of(), "csv", tmp_path / "y").splitlines()
    )
    assert (nobody["num_persons"], nobody["worst_person"]) == ("0", "")


def test_the_table_counts_persons_and_speaks_of_strange_change(tmp_path):
    text = " ".join(written([clip(0.02, 0.6)], predictor_of(), "table", tmp_path / "x").split())
    assert "2 persons, the worst is person 7 (0.0 to 9.5 s)" in text.replace("\u2502", "")
    assert "second opinion: person 7 changes over" in text
    assert "person 8 changes" not in text
    alone = written([clip(0.6)], predictor_of(), "table", tmp_path / "y")
    assert "persons" not in alone
    assert "second opinion" not in alone
