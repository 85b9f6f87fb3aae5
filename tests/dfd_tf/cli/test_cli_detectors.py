"""Every registered detector goes the whole way: trained, judged, asked about a photo."""

import json
import math

import cv2
import numpy as np
import pytest

from dfd_tf.cli.main import run
from dfd_tf.detectors.registry import DETECTORS

ONE_EPOCH = "detector.phases=[{name: all, epochs: 1, learning_rate: 0.001}]"
CHANGES = {
    "dae": ["detector.image_size=32", "detector.widths=[8, 16]"],
    "dann": [
        "detector.image_size=32",
        "detector.backbone=resnet32",
        "detector.allow_confounded=true",  # The rendered faces are one domain.
    ],
    "gan": ["detector.image_size=16", "detector.generator_width=16"],
}
ELSEWHERE = {"spatial", "residual_ae", "ensemble"}  # test_cli_workflow.py, test_cli_ensemble.py


def test_no_detector_is_left_out():
    assert set(CHANGES) | ELSEWHERE == set(DETECTORS)


@pytest.mark.parametrize("name", sorted(CHANGES))
def test_train_evaluate_predict(name, tiny_records, tmp_path, capsys):
    folder, photo = tmp_path / "run", tmp_path / "photo.png"
    changes = [*CHANGES[name], ONE_EPOCH, "data.batch_size=16", "data.augment=null"]
    options = [part for change in changes for part in ("--set", change)]
    command = ["train", f"{name}_small", "--data", str(tiny_records), "--run", str(folder)]
    assert run([*command, *options]) == 0
    capsys.readouterr()

    assert run(["evaluate", str(folder), "--format", "json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert 0 <= report["levels"]["image"]["ranking"]["auc"]["value"] <= 1
    assert "random" in report["pretrained"]
    assert (folder / "reports" / "records" / "test" / "cases.png").is_file()

    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert cv2.imwrite(str(photo), noise)
    assert run(["predict", str(folder), str(photo), "--faces", "none", "--format", "jsonl"]) == 0
    (row,) = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert math.isfinite(row["score"])
    assert row["label"] in {"real", "fake", None}
