"""The GAN through a whole training: two optimisers, noise, samples and caveats survive it."""

import csv
import io
import json
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf
from killed_runs import Killed, fingerprints, raise_killed
from PIL import Image
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_training import SIDE, STEPS, at_step, experiment, tiny_train

from dfd_tf.config.detectors import GanDetector as Settings
from dfd_tf.config.loading import load_experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.gan import GanDetector
from dfd_tf.detectors.registry import build_detector
from dfd_tf.evaluation.evaluate_run import evaluate_run
from dfd_tf.inference.output import open_output
from dfd_tf.inference.prediction import FilePrediction
from dfd_tf.inference.predictor import load_predictor
from dfd_tf.networks import resnet32 as resnet32_module
from dfd_tf.training.run import train
from dfd_tf.training.state_keeper import newest_state

TINY = {"image_size": SIDE, "generator_width": 4, "latent": 3}
NO_FACE = FilePrediction(
    path="a.jpg",
    status="no_face",
    kind="image",
    verdict="no face",
    reason="no face was found",
    label=None,
    score=None,
    probability=None,
    p_value=None,
    p_value_fake=None,
    threshold=None,
    redelivered=None,
    faces=(),
    num_frames=1,
    truncated=False,
    notes=(),
    error=None,
)
PHASES = [{"name": "all", "epochs": 2, "learning_rate": 0.01}]


@pytest.fixture(autouse=True, scope="module")
def shallow():
    """One block a stage instead of five; the network's name stands for any."""
    patch = pytest.MonkeyPatch()
    patch.setattr(resnet32_module, "BLOCKS_PER_STAGE", 1)
    yield
    patch.undo()


def gan_train(run, **options):
    settings = experiment(
        detector__phases=PHASES, training__optimizer__ema=None, training__checkpoint_steps=2
    )
    tiny_train(
        run,
        settings=settings,
        detector=lambda: build_detector(Settings(**TINY)),
        console=Console(file=io.StringIO()),
        **options,
    )


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never interrupted."""
    run = tmp_path_factory.mktemp("gan") / "run"
    gan_train(run)
    return run


def test_c18_killed_within_a_step_it_ends_as_if_it_had_not_been(whole, tmp_path):
    """Both networks, both optimisers and the noise are one state file, written between steps."""
    run = tmp_path / "run"
    # Step 5 has moved both networks when it is lost; the state is that of step 4.
    with at_step(5, raise_killed), pytest.raises(Killed):
        gan_train(run)
    assert newest_state(RunDirectory(run), pytest.fail).meta["position"]["total_steps"] == 4
    gan_train(run, resume=True)
    assert fingerprints(run) == fingerprints(whole)
    for name in ("epoch-0001.png", "epoch-0002.png"):
        assert (run / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()


def test_state_holds_both_optimisers_and_the_noise(whole):
    arrays = newest_state(RunDirectory(whole), pytest.fail).arrays
    optimizers = [array for name, array in arrays.items() if name.startswith("optimizer/")]
    steps = [array for array in optimizers if array.shape == () and array.dtype.kind == "i"]
    assert [int(step) for step in steps] == [2 * STEPS] * 2
    detector = build_detector(Settings(**TINY))
    # The steps, then two moments of each weight; the rate is a function of the steps.
    assert len(optimizers) == 2 + 2 * len(detector.trainable_variables)
    models = [array for name, array in arrays.items() if name.startswith("model/")]
    assert len(models) == len(detector.variables)
    seeds = [array for array in models if array.shape == (2,) and array.dtype.kind in "iu"]
    assert [int(seed[1]) for seed in seeds] == [2 * STEPS]


def test_best_weights_hold_no_optimiser(whole):
    found = []
    with h5py.File(whole / "best" / "model.weights.h5") as file:
        file.visititems(lambda name, node: found.append(name) if hasattr(node, "shape") else None)
    detector = build_detector(Settings(**TINY))
    assert sum("generator/" in name for name in found) == len(detector.generator.weights)
    assert not any("optimizer" in name for name in found)
    assert len(found) <= len(detector.weights) + len(detector.metrics_variables) + 2


def test_samples_are_shown_and_kept(whole):
    log = EventAccumulator(str(whole / "logs" / "train"))
    log.Reload()
    events = log.Tensors("samples")
    assert [event.step for event in events] == [1, 2]
    pictures = [np.asarray(Image.open(whole / "samples" / f"epoch-000{n}.png")) for n in (1, 2)]
    for event, picture in zip(events, pictures, strict=True):
        assert picture.shape == (8 * SIDE, 8 * SIDE, 3)
        width, height, encoded = tf.make_ndarray(event.tensor_proto)
        assert (int(width), int(height)) == (8 * SIDE, 8 * SIDE)
        shown = tf.io.decode_png(encoded).numpy().astype(int)
        assert np.abs(shown - picture).max() <= 1  # TensorBoard truncates.
    assert not np.array_equal(*pictures)
    # Grid and weights belong together: row by row, the noise is always the same.
    model = RunDirectory(whole).read_model()
    keras.utils.clear_session()
    detector = build_detector(Settings(**TINY))
    detector.load_weights(whole / "best" / "model.weights.h5")
    samples = np.asarray(detector.generate()) * 255
    corner = pictures[model.epoch - 1][SIDE : 2 * SIDE, 2 * SIDE : 3 * SIDE]
    np.testing.assert_allclose(corner, samples[10], atol=0.51)


def test_validation_figures_are_of_data_only(whole):
    with (whole / "history.csv").open() as file:
        columns = set(next(csv.DictReader(file)))
    own = {"loss", "accuracy", "supervised_loss"}
    assert own | {"discriminator_loss", "generator_loss"} <= columns
    assert {c for c in columns if c.startswith("val_")} == {f"val_{n}" for n in own} | {"val_auc"}


def test_vanilla_says_in_every_artefact_what_it_does_not_do(tiny_records, tmp_path, quiet):
    run = tmp_path / "run"
    settings = load_experiment(
        "gan_small",
        [
            "detector.mode=vanilla",
            f"detector.image_size={SIDE}",
            "detector.generator_width=4",
            "detector.phases=[{name: all, epochs: 1, learning_rate: 0.001}]",
        ],
    )
    train(settings, tiny_records, str(run), console=quiet)
    (caveat,) = GanDetector(SIDE, "vanilla", generator_width=4).caveats
    assert caveat in quiet.file.getvalue()
    assert json.loads((run / "best" / "model.json").read_text())["caveats"] == [caveat]
    with (run / "history.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert {name for name in row if name.startswith("val_")} == {"val_loss"}  # Free of labels.

    predictor = load_predictor(str(run))
    _, written = evaluate_run(predictor, tiny_records, "test", "balanced")
    texts = [Path(path).read_text() for path in written if Path(path).suffix in {".json", ".md"}]
    assert texts
    assert all(caveat in text for text in texts if "warnings" in text)
    assert any(caveat in text for text in texts)
    for output_format in ("jsonl", "csv", "table"):
        path = tmp_path / output_format
        with open_output(path, output_format, predictor, "balanced") as write:
            write(NO_FACE)
        assert caveat in " ".join(path.read_text().split())
