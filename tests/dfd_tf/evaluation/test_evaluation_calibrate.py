"""Calibrations: the same bytes in any order and process, refusals, caveats, their picture."""

import json
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from evaluation_samples import face_samples, normal_scores

from dfd_tf.evaluation.calibrate import fit_calibration
from dfd_tf.evaluation.calibration_plot import calibration_plot
from dfd_tf.evaluation.plots import PlotContext, png_bytes
from dfd_tf.evaluation.samples import image_level
from dfd_tf.evaluation.scoring import score_split
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.predictor import load_predictor
from pipelines.errors import InputError
from pipelines.records.manifest import load_manifest

MANIFEST = SimpleNamespace(name="faces", fingerprint=lambda: "1" * 64)


def predictor_of(method="auto", are_logits=True):
    """As much of a predictor as a calibration asks for."""
    return SimpleNamespace(
        detector=SimpleNamespace(score_is_logit=are_logits),
        model=SimpleNamespace(sha256="0" * 64, detector="made up"),
        experiment=SimpleNamespace(seed=0, calibration=SimpleNamespace(method=method)),
    )


def fitted(scores, labels, predictor=None, **columns):
    images = image_level(face_samples(scores, labels, **columns))
    return fit_calibration(images, predictor or predictor_of(), MANIFEST)


def test_f03_equal_scores_give_equal_bytes_in_any_order():
    scores, labels = normal_scores(1, 120, 80)
    scores = np.round(scores, 1)  # ties
    keys = np.array([f"image{i}" for i in range(200)])
    people = np.array([f"person{i // 2}" for i in range(200)])
    first = fitted(scores, labels, keys=keys.tolist(), identities=people.tolist())
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(200)
        again = fitted(
            scores[order],
            labels[order],
            keys=keys[order].tolist(),
            identities=people[order].tolist(),
        )
        assert again.calibration.to_json() == first.calibration.to_json()
        assert np.array_equal(again.held_out, first.held_out)


PROCESS = """
import numpy as np
from dfd_tf.evaluation.calibrator_choice import choose_probability
from dfd_tf.evaluation.thresholds import conformal_thresholds
generator = np.random.default_rng(7)
labels = np.repeat([0, 1], [150, 90])
scores = generator.normal(size=240) + labels
people = np.array([f"person{i // 3}" for i in range(240)])
found, _ = conformal_thresholds(scores[labels == 0], scores[labels == 1])
chosen, _ = choose_probability("auto", scores, labels, people, are_logits=True, seed=0)
result = [point.model_dump_json() for point in found] + [chosen.model_dump_json()]
"""


def test_f03_equal_scores_give_equal_bytes_in_another_process():
    here = {}
    exec(PROCESS, here)
    assert len(here["result"]) == 4
    code = f"{PROCESS}\nimport json; print(json.dumps(result))"
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONHASHSEED": "77", "PATH": ""},
        capture_output=True,
        check=True,
    )
    assert json.loads(found.stdout) == here["result"]


@pytest.mark.parametrize("tiny_run", ["spatial"], indirect=True)
def test_f03_f04_the_batch_size_changes_nothing(tiny_run, tiny_records):
    manifest = load_manifest(tiny_records)
    predictor = load_predictor(str(tiny_run))
    stored = CalibrationFile.model_validate_json((tiny_run / "calibration.json").read_text())
    for batch_size in (5, 64):
        other = replace(predictor, batch_size=batch_size)
        faces = score_split(other, tiny_records, manifest, "val")
        again = fit_calibration(image_level(faces), other, manifest).calibration
        np.testing.assert_allclose(again.real_scores, stored.real_scores, atol=1e-6)
        np.testing.assert_allclose(again.fake_scores, stored.fake_scores, atol=1e-6)
        for point in again.thresholds:
            assert point.value == pytest.approx(stored.threshold(point.name).value, abs=1e-6)


def test_only_labelled_images_count():
    scores, labels = normal_scores(2, 40, 40)
    plain = fitted(scores, labels)
    more = fitted([*scores, 99.0], [*labels, -1])
    assert more.calibration.to_json() == plain.calibration.to_json()


@pytest.mark.parametrize(
    ("method", "are_logits", "labels", "message"),
    [
        ("auto", True, [1, 1], "no real images"),
        ("platt", True, [0, 0], "needs labelled fakes, found none"),
        ("temperature", False, [0, 1], "needs logits"),
    ],
)
def test_what_cannot_be_calibrated_is_one_line(method, are_logits, labels, message):
    with pytest.raises(InputError, match=message):
        fitted([0.0, 1.0], labels, predictor_of(method, are_logits))


def test_caveats_of_the_scores_themselves():
    scores, labels = normal_scores(3, 60, 60)
    assert fitted(scores, labels).calibration.caveats == ()
    tied = fitted(np.where(labels == 0, 1.0, 2.0), labels).calibration
    assert tied.caveats == (
        "operating points sensitive and balanced have the same threshold: real scores are tied",
    )
    backwards = fitted(-scores, labels, predictor_of("platt")).calibration
    assert backwards.caveats[0].startswith("no signal: ")
    assert backwards.probability.slope == 0


def test_images_of_few_people_are_a_caveat_wherever_the_calibration_goes():
    scores, labels = normal_scores(5, 60, 60)
    people = [f"person{i // 3}" for i in range(120)]
    calibration = fitted(scores, labels, identities=people).calibration
    (caveat,) = calibration.caveats
    assert caveat.startswith("the 60 real images are of 20 persons or videos: ")


@pytest.mark.parametrize("num_fake", [0, 3, 80])
@pytest.mark.parametrize("method", ["auto", "isotonic", "none"])
def test_the_picture_is_drawn_whatever_there_is(num_fake, method):
    if num_fake == 0 and method == "isotonic":
        method = "auto"
    scores, labels = normal_scores(4, 8 if num_fake == 3 else 120, num_fake)
    found = fitted(scores, labels, predictor_of(method))
    context = PlotContext("run_$1", "faces", "val")
    figure = calibration_plot(found.calibration, found.images, found.held_out, context)
    assert len(figure.axes) == (2 if found.calibration.probability else 1)
    assert png_bytes(figure) == png_bytes(
        calibration_plot(found.calibration, found.images, found.held_out, context)
    )
