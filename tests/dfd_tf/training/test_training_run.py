"""Training from data to run directory: what is written, what is refused, when it stops."""

import hashlib
import json
import math
from pathlib import Path
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
import tiny_training
import yaml
from sklearn.metrics import roc_auc_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import NUM_VAL, SIDE, TinyDetector, experiment, tiny_data, tiny_train

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.training import data as data_module
from dfd_tf.training.data import open_training_data
from dfd_tf.training.devices import open_devices
from dfd_tf.training.selection import Selection
from dfd_tf.training.state_keeper import newest_state, state_paths
from dfd_tf.training.step_callbacks import DivergedError
from dfd_tf.training.validation import Validator
from pipelines.errors import CheckpointError, InputError
from pipelines.records.manifest import Manifest, ShardInfo


def short(**changes):
    """One phase of two epochs, the cheapest training there is."""
    phases = [{"name": "all", "epochs": 2, "learning_rate": 0.05}]
    return experiment(**{"detector__phases": phases, **changes})


def test_best_weights_give_the_recorded_value(uninterrupted):
    run = RunDirectory(uninterrupted)
    model = run.read_model()
    keras.utils.clear_session()
    detector = TinyDetector()
    detector.load_weights(str(run.verified_weights()))
    images, labels = tiny_training._pictures(NUM_VAL, 1)
    auc = roc_auc_score(labels, detector.score(images).numpy())
    assert model.selection == "val_auc"
    assert model.value == pytest.approx(auc, abs=1e-12)
    rows = newest_state(run, pytest.fail).meta["history"]
    assert model.value == max(row["val_auc"] for row in rows)
    assert model.epoch == next(row["epoch"] for row in rows if row["val_auc"] == model.value)


def test_run_directory_says_where_the_result_came_from(uninterrupted):
    facts = json.loads((uninterrupted / "provenance.json").read_text())
    assert facts["seed"] == 0
    assert facts["selection"]["metric"] == "val_auc"
    assert facts["records"] == {"name": "tiny"}
    assert facts["training"]["threads"] >= 1
    assert facts["training"]["precision"] == "float32"
    assert RunDirectory(uninterrupted).read_experiment() == experiment()
    assert yaml.safe_load((uninterrupted / "config.yaml").read_text())["data"]["batch_size"] == 4
    assert (uninterrupted / "calibration.json").is_file()


def test_tensorboard_logs(uninterrupted):
    rows = newest_state(RunDirectory(uninterrupted), pytest.fail).meta["history"]
    train = EventAccumulator(str(uninterrupted / "logs" / "train"))
    validation = EventAccumulator(str(uninterrupted / "logs" / "validation"))
    train.Reload(), validation.Reload()

    def values(accumulator, tag):
        events = accumulator.Tensors(tag)
        return [(event.step, float(tf.make_ndarray(event.tensor_proto))) for event in events]

    for accumulator, tag, column in [
        (train, "loss", "loss"),
        (train, "learning_rate", "learning_rate"),
        (validation, "loss", "val_loss"),
        (validation, "auc", "val_auc"),
    ]:
        expected = [(row["epoch"], row[column]) for row in rows]
        np.testing.assert_allclose(values(accumulator, tag), expected, rtol=1e-6)
    tags = validation.Tags()["tensors"]
    assert {"pictures", "pr_curve", "_hparams_/session_start_info"} <= set(tags)
    curve = tf.make_ndarray(validation.Tensors("pr_curve")[0].tensor_proto)
    assert curve.shape == (6, 127)
    assert (curve[0] + curve[3] == NUM_VAL // 2).all()
    assert curve[5, 0] == 1.0  # at the lowest score every fake is called fake
    vectors = (uninterrupted / "logs" / "embeddings" / "vectors.tsv").read_text().splitlines()
    assert len(vectors) == NUM_VAL


def test_c16_validation_equals_one_image_at_a_time():
    detector = TinyDetector()
    detector.compile(optimizer="sgd")
    images, labels = tiny_training._pictures(NUM_VAL, 1)
    batches = tiny_data().labelled_data
    figures, scores = Validator(detector, batches, batches, tf.distribute.get_strategy()).run()
    logits = np.array([detector(images[i : i + 1])[0] for i in range(NUM_VAL)], "float64")
    losses = np.where(labels == 1, np.log1p(np.exp(-logits)), np.log1p(np.exp(logits)))
    assert figures["val_loss"] == pytest.approx(losses.mean(), rel=1e-5)
    assert figures["val_auc"] == roc_auc_score(labels, logits)
    np.testing.assert_array_equal(scores.labels, labels)
    np.testing.assert_allclose(scores.scores, logits, rtol=1e-5)


def test_c13_one_class_loss_is_of_real_images_and_uses_no_labels():
    detector = TinyDetector()
    detector.compile(optimizer="sgd")
    images, labels = tiny_training._pictures(NUM_VAL, 1)
    real = tiny_training._dataset(images[labels == 0], labels[labels == 0]).batch(5)
    data = tiny_data(one_class=True, loss_data=real)
    by_loss, by_auc = Selection("val_loss", ""), Selection("val_auc", "")
    assert data.score_data(by_loss) is None
    strategy = tf.distribute.get_strategy()
    logits = detector(images).numpy().astype("float64")
    expected = np.log1p(np.exp(logits[labels == 0])).mean()
    figures, scores = Validator(detector, real, data.score_data(by_loss), strategy).run()
    assert scores is None
    assert list(figures) == ["val_loss"]
    assert figures["val_loss"] == pytest.approx(expected, rel=1e-5)
    figures, scores = Validator(detector, real, data.score_data(by_auc), strategy).run()
    assert figures["val_loss"] == pytest.approx(expected, rel=1e-5)
    assert figures["val_auc"] == roc_auc_score(labels, logits)


def test_c12_validation_with_one_class_has_no_auc(tmp_path, quiet):
    images, labels = tiny_training._pictures(NUM_VAL, 1)
    real = tiny_training._dataset(images[labels == 0], labels[labels == 0]).batch(5)
    data = tiny_data(num_val_fake=0, loss_data=real, labelled_data=real)
    tiny_train(tmp_path / "run", data=data, settings=short(), console=quiet)
    rows = newest_state(RunDirectory(tmp_path / "run"), pytest.fail).meta["history"]
    assert [row["val_auc"] for row in rows] == [None, None]
    assert RunDirectory(tmp_path / "run").read_model().selection == "val_loss"
    rule = json.loads((tmp_path / "run" / "provenance.json").read_text())["selection"]["rule"]
    assert "no fake images" in rule
    assert "no fake images" in quiet.file.getvalue()


def test_c06_nan_stops_and_keeps_the_last_good_state(tmp_path, quiet, monkeypatch):
    monkeypatch.setenv("TINY_NAN_EPOCH", "1")
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(DivergedError, match="loss is nan at step 9;") as error:
        tiny_train(tmp_path / "run", settings=short(), console=quiet)
    assert error.value.exit_code == 4
    # Element 9 of epoch 1 is in its third step. A state was due after the fourth: not written.
    assert state_paths(run)[0].name == "00-00001-00000000.state"
    state = newest_state(run, pytest.fail)
    assert all(np.isfinite(a).all() for a in state.arrays.values() if a.dtype.kind == "f")
    assert run.verified_weights().is_file()


def test_c06_weights_gone_bad_with_a_finite_loss_are_not_saved(tmp_path, quiet):
    def spoil():
        spoilt[0].head.kernel.assign(spoilt[0].head.kernel * np.nan)

    spoilt = []

    def remember():
        spoilt.append(TinyDetector())
        return spoilt[0]

    with (
        tiny_training.at_step(4, spoil),
        pytest.raises(DivergedError, match="a weight is not finite after step 4"),
    ):
        tiny_train(tmp_path / "run", settings=short(), console=quiet, detector=remember)
    assert state_paths(RunDirectory(tmp_path / "run"))[0].name == "00-00000-00000000.state"


def test_c05_disk_full_on_a_state_is_exit_4(tmp_path, quiet):
    run = RunDirectory(tmp_path / "run")
    import os

    original, calls = os.fsync, []

    def full(descriptor):
        calls.append(descriptor)
        if len(calls) > 8:
            raise OSError(28, "No space left on device")
        original(descriptor)

    with (
        mock.patch.object(os, "fsync", full),
        pytest.raises(CheckpointError, match="No space left") as error,
    ):
        tiny_train(tmp_path / "run", settings=short(), console=quiet)
    assert error.value.exit_code == 4
    assert newest_state(run, pytest.fail).meta["position"]["phase"] == 0
    assert not list((tmp_path / "run").rglob("*.tmp-*"))


def test_c21_c22_refused_before_the_first_step(tmp_path, quiet):
    with (
        RunDirectory(tmp_path).lock(),
        pytest.raises(InputError, match="another process"),
    ):
        tiny_train(tmp_path, console=quiet, resume=True)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        tiny_train(tmp_path / "file" / "run", console=quiet)
    assert quiet.file.getvalue() == ""


def manifest(train, val, leak_free=True):
    shards = tuple(
        ShardInfo(f"faces-{split}", split, sum(counts.values()), 1, "0" * 64, counts)
        for split, counts in (("train", train), ("val", val))
    )
    return Manifest(
        name="photos",
        settings={},
        domains=("a", "b"),
        shards=shards,
        split_proof={"leak_free": leak_free},
    )


BOTH = {"0|a": 3, "1|a": 3}


@pytest.mark.parametrize(
    ("one_class", "found", "domains", "message"),
    [
        (False, manifest(BOTH, BOTH, leak_free=False), (), "share people"),
        (False, manifest({"0|a": 3}, BOTH), (), "only real images"),  # C-14
        (False, manifest({"1|a": 3, "-1|a": 5}, BOTH), (), "only fake images"),
        (False, manifest(BOTH, {"-1|a": 9}), (), "photos/val: no labelled images"),  # C-15
        (False, manifest({}, BOTH), (), "photos/train: no labelled images"),
        (True, manifest({"1|a": 3}, BOTH), (), "photos/train: no real images"),
        (True, manifest(BOTH, {"1|a": 3}), (), "photos/val: no real images"),
        (False, manifest(BOTH, BOTH), ("c",), r"has no c \(it has a, b\)"),
        (False, manifest(BOTH, BOTH), ("b",), "photos/train: no labelled images"),
    ],
)
def test_unsuitable_data_is_refused(one_class, found, domains, message):
    settings = experiment(data__domains=list(domains))
    with (
        mock.patch.object(data_module, "verify_records", return_value=found),
        pytest.raises(InputError, match=message) as error,
    ):
        open_training_data(Path("records"), settings, one_class=one_class)
    assert error.value.exit_code == 2


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(InputError, match="gpu asked for"):
        open_devices(experiment(training__strategy="gpu").training)
    with pytest.raises(InputError, match="two devices"):
        open_devices(experiment(training__strategy="mirrored").training)
    devices = open_devices(experiment().training)
    assert (devices.strategy, devices.precision) == ("cpu", "float32")


def test_mixed_bfloat16_trains_and_puts_the_policy_back(tmp_path, quiet):
    settings = short(training__precision="mixed_bfloat16", training__optimizer={"name": "sgd"})
    dtypes = []

    def build():
        detector = TinyDetector()
        dtypes.append(detector.convolution.compute_dtype)
        return detector

    tiny_train(tmp_path / "run", settings=settings, console=quiet, detector=build)
    assert dtypes == ["bfloat16"]
    assert keras.config.dtype_policy().name == "float32"
    rows = newest_state(RunDirectory(tmp_path / "run"), pytest.fail).meta["history"]
    assert all(math.isfinite(row["val_loss"]) for row in rows)


def test_fewer_images_than_a_batch(tmp_path, quiet):
    images, labels = tiny_training._pictures(3, 0)
    data = tiny_training._dataset(images, labels).batch(8).repeat()
    from types import SimpleNamespace

    tiny_train(
        tmp_path / "run",
        data=tiny_data(steps_per_epoch=1, batches=lambda *_: SimpleNamespace(dataset=data)),
        settings=short(),
        console=quiet,
    )
    assert newest_state(RunDirectory(tmp_path / "run"), pytest.fail).meta["position"] == {
        "phase": 0,
        "epoch": 2,
        "step": 0,
        "total_epochs": 2,
        "total_steps": 2,
    }


def test_preview_takes_no_more_than_asked():
    images, labels = tiny_data().preview(7)
    assert images.shape == (7, SIDE, SIDE, 3)
    assert labels.shape == (7,)
    assert len(tiny_data().preview(1000)[1]) == NUM_VAL


def test_weights_file_holds_no_optimizer(uninterrupted):
    import h5py

    path = RunDirectory(uninterrupted).best_weights
    with h5py.File(path) as file:
        assert "optimizer" not in file
    model = RunDirectory(uninterrupted).read_model()
    assert hashlib.sha256(Path(path).read_bytes()).hexdigest() == model.sha256
