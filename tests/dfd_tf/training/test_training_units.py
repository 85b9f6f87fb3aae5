"""Schedules, callbacks, the state file and the run directory, each against figures by hand."""

import csv
import errno
import io
import json
import math
import resource
from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from hypothesis import given, settings
from hypothesis import strategies as st

from dfd_tf.config.changes import changes
from dfd_tf.config.detectors import Phase
from dfd_tf.config.experiment import Optimizer, Schedule, Training
from dfd_tf.config.run_directory import ModelFile, RunDirectory
from dfd_tf.training.history import History
from dfd_tf.training.optimizers import PhaseRate, build_optimizer, build_rate
from dfd_tf.training.position import Position
from dfd_tf.training.rate_callbacks import EarlyStopping, Plateau
from dfd_tf.training.selection import Selection, choose_selection
from dfd_tf.training.state_file import StateFile, read_state_file, write_state_file
from dfd_tf.training.step_callbacks import DivergedError, FiniteLoss
from dfd_tf.training.validation import averaged_weights
from pipelines.errors import CheckpointError, InputError, ModelFileError

PHASE = Phase(name="all", epochs=2, learning_rate=0.1)


def rates(rate, steps):
    return [float(rate(keras.ops.convert_to_tensor(step))) for step in steps]


def test_warmup_rises_linearly_to_the_peak():
    rate = build_rate(PHASE, Schedule(name="constant", warmup_steps=4), steps_per_epoch=10)
    assert rates(rate, [0, 1, 2, 3, 4, 19]) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_cosine_begins_at_the_peak_and_ends_at_the_minimum():
    schedule = Schedule(name="cosine", minimum=0.02, warmup_steps=4)
    rate = build_rate(PHASE, schedule, steps_per_epoch=10)
    expected = [0.02 + 0.08 * 0.5 * (1 + math.cos(math.pi * k / 16)) for k in (0, 4, 8, 16)]
    assert rates(rate, [4, 8, 12, 20]) == pytest.approx(expected)
    assert rates(rate, [25])[0] == pytest.approx(0.02)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers_take_their_settings(name):
    config = Optimizer(name=name, weight_decay=0.01, momentum=0.5, clip_norm=2.0, ema=0.7)
    optimizer = build_optimizer(config, PhaseRate(0.1))
    assert type(optimizer).__name__.lower() == name
    assert optimizer.global_clipnorm == 2.0
    assert optimizer.use_ema
    assert optimizer.ema_momentum == 0.7
    assert optimizer.weight_decay == (0.01 if name == "adamw" else None)


def test_sgd_step_follows_warmup_clipping_and_average_by_hand():
    optimizer = build_optimizer(
        Optimizer(name="sgd", momentum=0.0, clip_norm=1.0, ema=0.75), PhaseRate(0.1, warmup_steps=2)
    )
    model = keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2, use_bias=False)])
    model.compile(optimizer=optimizer)
    (variable,) = model.trainable_variables
    variable.assign([[1.0, 1.0]])
    optimizer.build([variable])
    gradient = tf.constant([[3.0, 4.0]])  # norm 5, clipped to (0.6, 0.8)
    optimizer.apply([gradient], [variable])
    optimizer.apply([gradient], [variable])
    first = np.array([[1.0, 1.0]]) - 0.05 * np.array([[0.6, 0.8]])
    second = first - 0.1 * np.array([[0.6, 0.8]])
    np.testing.assert_allclose(variable.numpy(), second, rtol=1e-6)
    with averaged_weights(model):
        np.testing.assert_allclose(variable.numpy(), 0.75 * first + 0.25 * second, rtol=1e-6)
    np.testing.assert_allclose(variable.numpy(), second, rtol=1e-6)


# First steps by hand: SGD's is rate x gradient, Adam's the rate; decay knows the plain rate only.
@pytest.mark.parametrize(
    ("name", "step", "decay"), [("sgd", 0.3, 0.0), ("adam", 0.1, 0.0), ("adamw", 0.1, 0.1 * 0.01)]
)
def test_a_variable_with_a_factor_is_trained_at_a_multiple_of_the_rate(name, step, decay):
    config = Optimizer(name=name, momentum=0.0, weight_decay=0.01)
    optimizer = keras.optimizers.LossScaleOptimizer(
        build_optimizer(config, PhaseRate(0.1)), initial_scale=1.0
    )
    variables = [keras.Variable([2.0, 4.0]) for _ in range(3)]
    variables[1].rate_factor = 10.0
    optimizer.build(variables)
    optimizer.apply([tf.constant([3.0, 3.0])] * 3, variables)
    for variable, factor in zip(variables, (1.0, 10.0, 1.0), strict=True):
        expected = np.array([2.0, 4.0]) * (1.0 - decay) - factor * step
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5)


@given(
    st.lists(st.sampled_from([0.5, 0.4, 0.3, 0.2]), min_size=1, max_size=14),
    st.integers(min_value=1, max_value=3),
)
@settings(max_examples=40, deadline=None)
def test_plateau_agrees_with_keras(losses, patience):
    rate = PhaseRate(0.1)
    ours = Plateau(rate, Schedule(patience=patience, factor=0.5, minimum=0.02))
    ours.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=100)))
    theirs = keras.callbacks.ReduceLROnPlateau(
        factor=0.5, patience=patience, min_lr=0.02, min_delta=0.0
    )
    theirs.set_model(SimpleNamespace(optimizer=keras.optimizers.SGD(0.1), metrics=[]))
    theirs.on_train_begin()
    for epoch, loss in enumerate(losses):
        ours.on_epoch_end(epoch, {"val_loss": loss})
        theirs.on_epoch_end(epoch, {"val_loss": loss})
        assert float(rate.peak) == pytest.approx(float(theirs.model.optimizer.learning_rate))


def test_plateau_by_hand_and_not_within_the_warmup():
    rate = PhaseRate(0.8, warmup_steps=10)
    plateau = Plateau(rate, Schedule(patience=2, factor=0.25, minimum=0.1))
    peaks = []
    for iterations, loss in [(5, 1.0), (9, 1.0), (15, 1.0), (20, 1.0), (25, 1.0), (30, 1.0)]:
        plateau.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=iterations)))
        plateau.on_epoch_end(0, {"val_loss": loss})
        peaks.append(float(rate.peak))
    assert peaks == pytest.approx([0.8, 0.8, 0.8, 0.2, 0.2, 0.1])


def test_plateau_never_raises_a_rate_below_its_minimum():
    rate = PhaseRate(1e-8)
    plateau = Plateau(rate, Schedule(patience=1, minimum=1e-7))
    plateau.set_model(SimpleNamespace(optimizer=SimpleNamespace(iterations=100)))
    for _ in range(3):
        plateau.on_epoch_end(0, {"val_loss": 1.0})
    assert float(rate.peak) == pytest.approx(1e-8)


@pytest.mark.parametrize(
    ("metric", "logs", "stops_at"),
    [
        ("val_loss", [(0.5, 0.6), (0.4, 0.6), (0.4, 0.9), (0.45, 0.9), (0.1, 0.9)], 4),
        ("val_auc", [(0.5, 0.6), (0.4, 0.6), (0.4, 0.6), (0.3, 0.5), (0.1, 0.9)], 4),
        ("val_auc", [(0.5, 0.6), (0.6, 0.6), (0.4, 0.7), (0.3, 0.7), (0.1, 0.7)], None),
    ],
)
def test_early_stopping_by_hand(metric, logs, stops_at):
    stopping = EarlyStopping(Selection(metric, ""), patience=2)
    model = SimpleNamespace(stop_training=False)
    stopping.set_model(model)
    for epoch, (loss, auc) in enumerate(logs, 1):
        stopping.on_epoch_end(epoch, {"val_loss": loss, "val_auc": auc})
        if model.stop_training:
            break
    assert (epoch if model.stop_training else None) == stops_at


@pytest.mark.parametrize(
    ("wanted", "one_class", "real", "fake", "metric", "reason"),
    [
        ("auto", False, 5, 5, "val_auc", "both classes"),
        ("auto", True, 5, 5, "val_loss", "free of labels"),
        ("val_auc", True, 5, 5, "val_auc", "asked for"),
        ("val_auc", False, 5, 0, "val_loss", "no fake images"),  # C-12
        ("auto", False, 0, 5, "val_loss", "no real images"),
        ("val_loss", False, 5, 5, "val_loss", "asked for"),
    ],
)
def test_c12_selection_rule(wanted, one_class, real, fake, metric, reason):
    selection = choose_selection(
        Training(selection=wanted), one_class=one_class, num_real=real, num_fake=fake
    )
    assert selection.metric == metric
    assert reason in selection.reason


def test_c06_first_bad_step_is_named():
    position = Position()
    watch = FiniteLoss(position, every=5)
    watch.on_train_begin()

    def run():
        for step in range(1, 20):
            position.end_step()
            value = 0.5 if step < 8 else math.inf if step == 8 else math.nan
            watch.on_train_batch_end(step, {"loss": tf.constant(value), "other": tf.constant(0.0)})

    with pytest.raises(DivergedError, match=r"loss is inf at step 8;") as error:
        run()
    assert position.total_steps == 10
    assert error.value.exit_code == 4


@given(st.integers(min_value=0, max_value=2**16), st.integers(min_value=0, max_value=7))
@settings(max_examples=40, deadline=None)
def test_c04_any_flipped_bit_is_found(tmp_path_factory, place, bit):
    path = epath.Path(tmp_path_factory.mktemp("states")) / "a.state"
    write_state_file(path, StateFile({"a": 1}, {"x": np.arange(300, dtype="float32")}))
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1 << bit
    path.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"a\.state"):
        read_state_file(path)


@pytest.mark.parametrize("length", [0, 1, 30, 200, -1, -32, -33])
def test_c04_any_cut_is_found(tmp_path, length):
    path = epath.Path(tmp_path) / "a.state"
    write_state_file(path, StateFile({"a": 1}, {"x": np.arange(300, dtype="float32")}))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(CheckpointError, match="damaged"):
        read_state_file(path)


def test_state_file_keeps_every_dtype_and_shape(tmp_path):
    import ml_dtypes

    path = epath.Path(tmp_path) / "a.state"
    arrays = {
        "scalar": np.array(7, "int64"),
        "none": np.zeros((0, 3), "float32"),
        "seed": np.array([1, 2], "uint32"),
        "half": np.array([0.5, 2], "float16"),
        "brain": np.array([0.5, 2], ml_dtypes.bfloat16),
        "strided": np.arange(12, dtype="float64").reshape(3, 4).T,
        "flag": np.array([True, False]),
    }
    meta = {"float": 0.1 + 0.2, "none": None, "text": "é"}
    write_state_file(path, StateFile(meta, arrays))
    state = read_state_file(path)
    assert state.meta == meta
    assert list(state.arrays) == list(arrays)
    for name, array in arrays.items():
        assert state.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(state.arrays[name], array)


def test_c05_disk_full_leaves_the_old_state(tmp_path):
    path = epath.Path(tmp_path) / "a.state"
    write_state_file(path, StateFile({"a": 1}))
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(CheckpointError, match=r"a\.state: .*File too large") as error:
            write_state_file(path, StateFile({}, {"x": np.zeros(10_000)}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert error.value.exit_code == 4
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.state"]


def test_history_reads_back_exactly(tmp_path):
    run = RunDirectory(tmp_path)
    history = History([{"epoch": 1, "loss": 1 / 3, "val_auc": None}])
    history.append({"epoch": 2, "loss": 1e-17, "val_auc": 0.1 + 0.2, "extra": 1.0})
    history.write(run)
    with (tmp_path / "history.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert float(first["loss"]) == 1 / 3
    assert first["val_auc"] == first["extra"] == ""
    assert float(second["val_auc"]) == 0.1 + 0.2


def test_changes_name_the_leaves():
    before = {"a": {"b": 1, "c": 2}, "d": [1, 2], "e": [{"f": 1}, {"f": 2}], "gone": 0}
    now = {"a": {"b": 1, "c": 3}, "d": [1, 3], "e": [{"f": 1}, {"f": 3}], "new": 0}
    assert list(map(str, changes(before, now))) == [
        "a.c: 2 -> 3",
        "d: [1, 2] -> [1, 3]",
        "e.1.f: 2 -> 3",
        "gone: 0 -> None",
        "new: None -> 0",
    ]


def test_c21_second_lock_is_refused(tmp_path):
    with (
        RunDirectory(tmp_path).lock(),
        pytest.raises(InputError, match="another process") as error,
        RunDirectory(tmp_path).lock(),
    ):
        pass
    assert error.value.exit_code == 2
    assert not RunDirectory(tmp_path).is_started()


def test_c22_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        RunDirectory(tmp_path / "file" / "run").create()


def model_file(**changes):
    facts = {
        "detector": "spatial",
        "num_domains": 1,
        "bytes": 3,
        "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",  # of b"abc"
        "pretrained": "random",
        "phase": "all",
        "epoch": 1,
        "selection": "val_loss",
        "value": 0.5,
    }
    return json.dumps({**facts, **changes}).encode()


def test_e17_swapped_weights_are_refused(tmp_path):
    run = RunDirectory(tmp_path)
    with pytest.raises(InputError, match="no trained weights"):
        run.verified_weights()
    run.best.mkdir()
    run.model.write_bytes(model_file())
    with pytest.raises(ModelFileError, match="missing"):
        run.verified_weights()
    run.best_weights.write_bytes(b"abc")
    assert run.verified_weights() == run.best_weights
    assert isinstance(run.read_model(), ModelFile)
    run.best_weights.write_bytes(b"abd")
    with pytest.raises(ModelFileError, match="differs") as error:
        run.verified_weights()
    assert error.value.exit_code == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "expected an object"),
        (b"{", "not valid JSON"),
        (model_file(weights="../../model.weights.h5"), "expected 'model.weights.h5'"),
        (model_file(epoch=-1), "epoch"),
        (model_file(code="x"), "code"),
        (b" " * (16 * 2**20 + 1), "not written by this program"),
    ],
)
def test_e18_edited_model_file_is_refused(tmp_path, content, message):
    run = RunDirectory(tmp_path)
    run.best.mkdir()
    run.model.write_bytes(content)
    with pytest.raises(ModelFileError, match=message):
        run.verified_weights()


def test_write_reports_a_full_disk(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    run = RunDirectory(tmp_path)
    with pytest.raises(CheckpointError, match="No space left"):
        run.write(run.history, b"x")
    assert not list(tmp_path.iterdir())


def test_provenance_names_no_person_or_host(monkeypatch):
    import getpass
    import platform

    from dfd_tf.config.provenance import provenance

    text = io.StringIO()
    json.dump(provenance(), text)
    assert platform.node() not in [platform.system(), *json.loads(text.getvalue())["machine"]]
    assert f'"{platform.node()}"' not in text.getvalue()
    assert f'"{getpass.getuser()}"' not in text.getvalue()
    assert json.loads(text.getvalue())["packages"]["tensorflow"] == tf.__version__
