"""Loaded runs: names, refusals at the start, replacement while they are served."""

import shutil

import numpy as np
import pytest
from served_runs import (
    TINY_NETWORK,
    wait_until,
    write_calibration,
    write_run,
    write_weights,
)

from dfd_tf.config.loading import load_experiment
from dfd_tf.detectors.registry import build_detector
from dfd_tf.serving import models as models_module
from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.metrics import Metrics
from dfd_tf.serving.models import Models, unique_names
from dfd_tf.serving.settings import ServeSettings
from pipelines.errors import InputError, ModelFileError


def test_names_are_those_of_the_folders_and_unique():
    named = unique_names(["a/run", "b/run/", "c/other", "run"])
    assert named == {"run": "a/run", "run-2": "b/run/", "other": "c/other", "run-3": "run"}
    with pytest.raises(InputError, match="given twice"):
        unique_names(["a", "a"])


def test_models_that_are_not_there(served_run):
    models = Models([str(served_run)], ServeSettings(), Metrics())
    with pytest.raises(ApiError) as unknown:
        models.choose(["other"])
    assert unknown.value.status == 422
    with pytest.raises(ApiError) as loading:
        models.choose([])
    assert (loading.value.status, models.is_ready) == (503, False)


def test_d11_a_damaged_model_is_refused(served_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(str(served_run), folder)
    weights = folder / "best" / "model.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ModelFileError, match="sha256"):
        Models([str(folder)], ServeSettings(), Metrics()).load()
    assert ModelFileError.exit_code == 5


def test_an_operating_point_that_is_not_there_is_refused(served_run):
    settings = ServeSettings(batch_size=2, operating_point="other")
    with pytest.raises(InputError, match="--operating-point other: no such operating point"):
        Models([str(served_run)], settings, Metrics()).load()


@pytest.fixture
def watched(served_run, tmp_path, monkeypatch):
    """A run that is watched closely, and its models."""
    monkeypatch.setattr(models_module, "WATCH_SECONDS", 0.05)
    shutil.copytree(str(served_run), tmp_path / "run")
    run = type(served_run)(tmp_path / "run")
    metrics = Metrics()
    models = Models([str(run)], ServeSettings(batch_size=2), metrics)
    models.load()
    models.watch()
    yield run, models, metrics
    models.stop()


def outcomes(metrics, outcome):
    found = metrics.registry.get_sample_value("dfd_model_reloads_total", {"outcome": outcome})
    return found or 0.0


def test_d12_a_new_model_is_served_once_it_works(watched):
    run, models, metrics = watched
    (before,) = models.all()
    detector = build_detector(load_experiment("spatial_small", [*TINY_NETWORK]).detector)
    write_weights(run, detector, "spatial")
    write_calibration(run, threshold=0.7)
    # What was written first may have been seen before the calibration was there.
    wait_until(lambda: models.all()[0].predictor.calibration.thresholds[0].value == 0.7)
    (now,) = models.all()
    assert now.sha == run.read_model().sha256[:16] != before.sha
    image = np.full((1, 32, 32, 3), 90, np.uint8)
    assert now.predictor.score(image) != before.predictor.score(image)
    assert outcomes(metrics, "switched") >= 1
    info = {"name": "run", "detector": "spatial", "model": before.sha}
    assert metrics.registry.get_sample_value("dfd_model_info", info) is None


@pytest.mark.parametrize("fault", ["cut", "not finite", "calibration"])
def test_d12_a_bad_new_model_is_ignored(watched, fault):
    run, models, metrics = watched
    (before,) = models.all()
    if fault == "cut":
        run.best_weights.write_bytes(run.best_weights.read_bytes()[:100])
    elif fault == "not finite":
        detector = build_detector(load_experiment("spatial_small", [*TINY_NETWORK]).detector)
        for weight in detector.trainable_variables:
            weight.assign(np.full(weight.shape, np.nan))
        write_weights(run, detector, "spatial")
        write_calibration(run)
    else:
        run.calibration.write_text("{}")
    wait_until(lambda: outcomes(metrics, "refused") >= 1)
    assert models.all() == [before]
    assert outcomes(metrics, "switched") == 0
    assert models.is_ready


def test_a_calibration_alone_is_taken_over(watched):
    run, models, _ = watched
    write_calibration(run, threshold=0.9)
    wait_until(lambda: models.all()[0].operating_point("balanced").value == 0.9)


def test_a_calibration_that_is_lost_is_told(watched, caplog):
    run, models, _ = watched
    run.calibration.unlink()
    wait_until(lambda: models.all()[0].predictor.calibration is None)
    assert "model run: now uncalibrated" in caplog.text


def test_a_run_without_trained_weights_is_a_model_error(served_run, tmp_path):
    shutil.copytree(str(served_run), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "best")
    with pytest.raises(ModelFileError, match="has no trained model"):
        Models([str(tmp_path / "run")], ServeSettings(), Metrics()).load()


def test_loading_ends_when_the_server_does(served_run):
    models = Models([str(served_run)], ServeSettings(), Metrics())
    models.stop()
    models.load()
    assert models.all() == []


def test_uncalibrated_runs_have_no_operating_points(tmp_path):
    run = write_run(tmp_path / "plain", *TINY_NETWORK, calibrated=False)
    models = Models([str(run)], ServeSettings(batch_size=2), Metrics())
    models.load()
    (model,) = models.choose(["plain"])
    assert model.operating_point("balanced") is None
    assert not model.has_operating_point("balanced")
