"""Supervised training on real faces alone, from prepare to evaluate."""

import csv
import json
import math

import pytest

from dfd_tf.cli.main import run as command
from dfd_tf.config.loading import load_experiment
from dfd_tf.training.data import open_training_data
from dfd_tf.training.run import train
from dfd_tf.training.selection import choose_selection
from pipelines.errors import InputError

TINY = [
    "detector.backbone=resnet32",
    "detector.weights=none",
    "detector.image_size=32",
    "detector.phases=[{name: all, epochs: 1, learning_rate: 0.002}]",
    "data.batch_size=16",
    "data.augment=null",
]
PSEUDO = "data.pseudo_fakes={self_blend: 1.0}"


@pytest.fixture(scope="module")
def real_folder(tiny_records):
    (folder,) = (tiny_records / "media").glob("synthetic_*/real")
    return folder


@pytest.fixture(scope="module")
def real_records(real_folder, tmp_path_factory):
    """Records of the real faces of `tiny_records`, without any fake."""
    out = tmp_path_factory.mktemp("real") / "records"
    options = ["--faces", "none", "--size", "32", "--workers", "1"]
    assert command(["prepare", str(real_folder), "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="module")
def real_only_run(real_records, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "spatial"
    train(load_experiment("spatial_small", [*TINY, PSEUDO]), real_records, str(run))
    return run


def test_real_faces_alone_train_a_supervised_detector(real_only_run):
    (row,) = csv.DictReader((real_only_run / "history.csv").read_text().splitlines())
    for name in ("loss_dataset", "loss_self_blend", "val_loss_self_blend", "val_auc"):
        assert math.isfinite(float(row[name])), name
    assert not {"loss_splice", "val_loss_resample"} & set(row)
    # Half of the images are real: the two families' means are those of the label loss's two halves.
    halves = (float(row["val_loss_dataset"]) + float(row["val_loss_self_blend"])) / 2
    total = halves + float(row["val_loss_locations"])
    assert total == pytest.approx(float(row["val_loss"]), rel=1e-4)
    selection = json.loads((real_only_run / "provenance.json").read_text())["selection"]
    assert selection["metric"] == "val_auc"
    assert "on pseudo-fakes of the validation split" in selection["rule"]


def test_real_only_runs_evaluate_and_predict(real_only_run, real_folder, tmp_path, capsys):
    records = tmp_path / "records"
    location = f"pseudo_fakes:self_blend:{real_folder / 'identity_0000'}"
    options = ["--faces", "none", "--size", "32", "--workers", "1", "--splits", "0,0,1"]
    assert command(["prepare", location, "--out", str(records), *options]) == 0
    arguments = ["evaluate", str(real_only_run), "--data", str(records)]
    assert command(arguments) == 0
    picture = next((real_folder / "identity_0001").glob("*.jpg"))
    assert command(["predict", str(real_only_run), str(picture), "--faces", "none"]) == 0


def test_without_pseudo_fakes_real_faces_are_not_enough(real_records):
    experiment = load_experiment("spatial_small", TINY)
    with pytest.raises(InputError, match="data.pseudo_fakes"):
        open_training_data(real_records, experiment, one_class=False)


def test_training_data_counts_pairs(real_records):
    experiment = load_experiment("spatial_small", [*TINY, PSEUDO])
    one_class = open_training_data(real_records, experiment, one_class=True)
    data = open_training_data(real_records, experiment, one_class=False)
    assert data.num_train == 2 * one_class.num_train
    assert data.num_val_pseudo == data.num_val_real == one_class.num_val_real > 0
    assert one_class.num_val_pseudo == 0
    labels = [int(label) for _, targets in data.labelled_data for label in targets["label"]]
    assert labels == [0, 1] * data.num_val_real
    assert any("pseudo-fakes" in note for note in data.notes)
    assert data.loss_data is data.labelled_data


@pytest.mark.parametrize(
    ("wanted", "num_fake", "num_pseudo", "words"),
    [
        ("auto", 0, 5, "pseudo-fakes of the validation split"),
        ("val_auc", 0, 5, "pseudo-fakes of the validation split"),
        ("auto", 5, 0, "both classes are labelled"),
        ("auto", 0, 0, "no fake images"),
        ("val_loss", 0, 5, "asked for"),
    ],
)
def test_selection_says_what_it_was_made_on(wanted, num_fake, num_pseudo, words):
    training = load_experiment("spatial_small", [f"training.selection={wanted}"]).training
    selection = choose_selection(
        training, one_class=False, num_real=5, num_fake=num_fake, num_pseudo=num_pseudo
    )
    assert words in selection.reason


def test_batches_of_pairs_must_be_even(real_records):
    experiment = load_experiment("spatial_small", [*TINY, PSEUDO, "data.batch_size=15"])
    with pytest.raises(InputError, match="even"):
        open_training_data(real_records, experiment, one_class=False)


@pytest.mark.parametrize("value", ["{self_blend: 0.0}", "{splice: -1}", "{blend: 1}"])
def test_impossible_weights_are_refused_with_their_path(value):
    with pytest.raises(InputError, match=r"data\.pseudo_fakes"):
        load_experiment("spatial_small", [f"data.pseudo_fakes={value}"])
