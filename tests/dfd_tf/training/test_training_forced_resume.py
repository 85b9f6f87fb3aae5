"""C-09: `--resume --force` goes on with changed settings, and the run says so for good."""

import io
import json
import shutil
from unittest import mock

import keras
import pytest
from killed_runs import Killed, fingerprints, raise_killed
from rich.console import Console
from tiny_training import (
    SETTINGS,
    STEPS,
    TinyDetector,
    at_step,
    experiment,
    tiny_data,
    tiny_train,
)

from dfd_tf.config.changes import Change
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.training import forced_resume
from dfd_tf.training.forced_resume import adapted_state
from dfd_tf.training.state_file import StateFile
from dfd_tf.training.state_keeper import newest_state, state_paths
from pipelines.errors import CheckpointError, InputError
from pipelines.records.manifest import BadRecord

HEAD = {**SETTINGS["detector"]["phases"][0], "early_stop_patience": None}


def one_phase(epochs=4, **changes):
    return experiment(
        detector__phases=[{**HEAD, "epochs": epochs, **changes.pop("phase", {})}], **changes
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run of one phase of two epochs."""
    run = tmp_path_factory.mktemp("finished") / "run"
    tiny_train(run, settings=one_phase(2), console=Console(file=io.StringIO()))
    return run


@pytest.fixture
def stopped(tmp_path, quiet):
    """A run of four epochs killed in its second, two steps after a state within the epoch."""
    run = tmp_path / "run"
    with at_step(STEPS + 5, raise_killed), pytest.raises(Killed):
        tiny_train(run, settings=one_phase(), console=quiet)
    assert state_paths(RunDirectory(run))[0].name == "00-00001-00000004.state"
    return run


def go_on(run, settings, console, **options):
    tiny_train(run, resume=True, force=True, settings=settings, console=console, **options)
    return RunDirectory(run), newest_state(RunDirectory(run), pytest.fail).meta


def test_the_new_rate_is_used_and_the_change_stays_with_the_run(stopped, quiet):
    settings = one_phase(phase={"learning_rate": 0.01}, training__optimizer__beta_1=0.8)
    with pytest.raises(InputError, match=r"detector.phases.0.learning_rate: 0.05 -> 0.01.*--force"):
        tiny_train(stopped, resume=True, settings=settings, console=quiet)
    (stopped / "calibration.json").write_text("of other weights")
    directory, meta = go_on(stopped, settings, quiet)
    rates = [row["learning_rate"] for row in meta["history"]]
    assert rates[0] == pytest.approx(0.05)
    assert rates[1] == pytest.approx(0.01)
    record = {
        "epoch": 1,
        "steps": STEPS + 4,
        "settings": [
            {"key": "detector.phases.0.learning_rate", "from": 0.05, "to": 0.01},
            {"key": "training.optimizer.beta_1", "from": 0.9, "to": 0.8},
        ],
    }
    assert directory.read_json(directory.provenance)["changed_settings"] == [record]
    assert meta["changed_settings"] == [record]
    assert directory.read_experiment() == settings
    caveat = (
        f"resumed with changed settings after 1 epochs ({STEPS + 4} steps): "
        "detector.phases.0.learning_rate: 0.05 -> 0.01; training.optimizer.beta_1: 0.9 -> 0.8"
    )
    assert directory.read_model().caveats == (caveat,)
    assert f"warning: {caveat}" in quiet.file.getvalue()
    assert directory.calibration.read_text() == "{}"  # fitted again
    # The epoch began anew, the optimiser went on: ten steps before, three epochs after.
    state = newest_state(directory, pytest.fail)
    assert state.arrays["optimizer/00000"] == STEPS + 4 + 3 * STEPS
    assert [row["steps"] for row in meta["history"]] == [6, 16, 22, 28]


def test_a_later_resume_needs_no_force_and_keeps_the_caveat(stopped, quiet):
    settings = one_phase(seed=3)
    with at_step(STEPS + 2, raise_killed), pytest.raises(Killed):
        go_on(stopped, settings, quiet)
    tiny_train(stopped, resume=True, settings=settings, console=quiet)
    directory = RunDirectory(stopped)
    (caveat,) = directory.read_model().caveats
    assert "seed: 0 -> 3" in caveat
    assert directory.read_json(directory.provenance)["seed"] == 3
    # Back again: a second change, both are told.
    directory, meta = go_on(stopped, one_phase(5), quiet)
    assert [len(record["settings"]) for record in meta["changed_settings"]] == [1, 2]
    assert len(directory.read_model().caveats) == 2
    assert len(meta["history"]) == 5


def test_killed_before_the_first_new_state(stopped, quiet):
    settings = one_phase(seed=3)
    patch = mock.patch("dfd_tf.training.run.record_changes", side_effect=Killed)
    with patch, pytest.raises(Killed):
        go_on(stopped, settings, quiet)
    with pytest.raises(InputError, match="seed: 3 -> 0"):
        tiny_train(stopped, resume=True, settings=one_phase(), console=quiet)
    tiny_train(stopped, resume=True, settings=settings, console=quiet)
    directory = RunDirectory(stopped)
    assert directory.read_experiment() == settings
    assert len(directory.read_json(directory.provenance)["changed_settings"]) == 1


def test_killed_while_the_state_is_put_in_place(stopped, quiet):
    before = fingerprints_of_states(stopped)
    patch = mock.patch.object(forced_resume, "write_state_file", side_effect=Killed)
    with patch, pytest.raises(Killed):
        go_on(stopped, one_phase(seed=3), quiet)
    assert fingerprints_of_states(stopped) == before
    tiny_train(stopped, resume=True, settings=one_phase(), console=quiet)
    assert RunDirectory(stopped).read_model().caveats == ()


@pytest.fixture
def stopped_between_states(tmp_path, quiet):
    """The same, both states it keeps being of one epoch."""
    run = tmp_path / "run"
    settings = one_phase(training__checkpoint_steps=2)
    with at_step(STEPS + 5, raise_killed), pytest.raises(Killed):
        tiny_train(run, settings=settings, console=quiet)
    names = [path.name for path in state_paths(RunDirectory(run))]
    assert names == ["00-00001-00000004.state", "00-00001-00000002.state"]
    return run


def test_no_older_state_of_the_epoch_outranks_the_adopted_one(stopped_between_states, quiet):
    settings = one_phase(seed=3, training__checkpoint_steps=2)
    with at_step(3, raise_killed), pytest.raises(Killed):
        go_on(stopped_between_states, settings, quiet)
    directory = RunDirectory(stopped_between_states)
    names = [path.name for path in state_paths(directory)]
    assert names == ["00-00001-00000002.state", "00-00001-00000000.state"]
    assert newest_state(directory, pytest.fail).meta["config"]["seed"] == 3
    tiny_train(stopped_between_states, resume=True, settings=settings, console=quiet)
    assert len(directory.read_json(directory.provenance)["changed_settings"]) == 1


def test_killed_while_older_states_are_removed_the_run_is_what_it_was(
    stopped_between_states, quiet
):
    settings = one_phase(training__checkpoint_steps=2)
    newest = state_paths(RunDirectory(stopped_between_states))[0]
    patch = mock.patch.object(type(newest), "unlink", side_effect=Killed)
    with patch, pytest.raises(Killed):
        go_on(stopped_between_states, one_phase(seed=3, training__checkpoint_steps=2), quiet)
    tiny_train(stopped_between_states, resume=True, settings=settings, console=quiet)
    directory = RunDirectory(stopped_between_states)
    assert directory.read_experiment() == settings
    assert directory.read_model().caveats == ()


def fingerprints_of_states(run):
    return {path.name: path.read_bytes() for path in (run / "checkpoints").iterdir()}


@pytest.mark.parametrize(
    "changes",
    [{"name": "sgd", "ema": None}, {"name": "adam", "ema": 0.9}],
    ids=["another", "unfrozen"],
)
def test_an_optimizer_that_does_not_fit_begins_anew(stopped, quiet, changes):
    unfrozen = changes == SETTINGS["training"]["optimizer"]
    settings = one_phase(
        phase={"freeze_backbone": not unfrozen},
        training__optimizer=changes,
    )
    directory, _ = go_on(stopped, settings, quiet)
    state = newest_state(directory, pytest.fail)
    assert state.arrays["optimizer/00000"] == 3 * STEPS


def test_a_finished_run_gets_more_epochs(finished, tmp_path, quiet):
    run = shutil.copytree(finished, tmp_path / "run")
    _, meta = go_on(run, one_phase(3), quiet)
    assert [row["epoch"] for row in meta["history"]] == [1, 2, 3]
    assert meta["history"][:2] == newest_state(RunDirectory(finished), pytest.fail).meta["history"]
    # The same as if three had been asked for in the beginning, but for what says otherwise.
    straight = tmp_path / "straight"
    tiny_train(straight, settings=one_phase(3), console=quiet)
    assert fingerprints(run)["history.csv"] == fingerprints(straight)["history.csv"]
    weights = "model.weights.h5"
    assert fingerprints(run)[weights] == fingerprints(straight)[weights]


def test_a_finished_run_with_nothing_left_is_refused(finished, quiet):
    before = fingerprints(finished)
    with pytest.raises(InputError, match="training is finished, .*seed: 0 -> 1.*nothing to go on"):
        go_on(finished, one_phase(2, seed=1), quiet)
    assert fingerprints(finished) == before


def test_fewer_epochs_than_done_end_the_phase(stopped, quiet):
    phases = [{**HEAD, "epochs": 1}, {**HEAD, "name": "more", "epochs": 1}]
    _, meta = go_on(stopped, experiment(detector__phases=phases), quiet)
    assert [row["phase"] for row in meta["history"]] == ["head", "more"]


def wider():
    """The tiny detector with one more channel."""
    original = keras.layers.Conv2D
    with mock.patch.object(keras.layers, "Conv2D", lambda n, *a, **k: original(n + 1, *a, **k)):
        return TinyDetector()


def test_another_architecture_is_refused_in_one_line_and_nothing_is_touched(stopped, quiet):
    before = fingerprints_of_states(stopped)
    config = (stopped / "config.yaml").read_bytes()
    with pytest.raises(InputError, match="build another network than the state's") as error:
        go_on(stopped, one_phase(detector__dropout=0.4), quiet, detector=wider)
    assert "detector.dropout: 0.2 -> 0.4" in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 2
    assert fingerprints_of_states(stopped) == before
    assert (stopped / "config.yaml").read_bytes() == config
    assert "changed_settings" not in json.loads((stopped / "provenance.json").read_text())


def test_another_detector_or_dataset_is_refused_even_so(stopped, quiet):
    phases = [{**HEAD, "freeze_backbone": False}]
    other = experiment(detector={"name": "residual_ae", "image_size": 32, "phases": phases})
    with pytest.raises(InputError, match="'spatial' -> 'residual_ae': a state of one detector"):
        go_on(stopped, other, quiet)
    with pytest.raises(InputError, match=r"records\.fingerprint"):
        go_on(stopped, one_phase(seed=1), quiet, data=tiny_data(fingerprint="0" * 64))


def test_records_found_bad_on_the_way_can_be_left_out(stopped, quiet):
    bad = BadRecord("a.tfrecord", 3, 99, "0|a", "cut short")
    data = tiny_data(skipped=(bad,))
    with pytest.raises(InputError, match=r"records\.skipped: \[\] -> \[\['a.tfrecord', 3\]\]"):
        tiny_train(stopped, resume=True, settings=one_phase(), console=quiet, data=data)
    directory, _ = go_on(stopped, one_phase(), quiet, data=data)
    (caveat,) = directory.read_model().caveats
    assert "records.skipped: [] -> [['a.tfrecord', 3]]" in caveat


def test_another_selection_begins_the_search_for_the_best_anew(stopped, quiet):
    first = RunDirectory(stopped).read_model()
    directory, meta = go_on(stopped, one_phase(training__selection="val_loss"), quiet)
    model = directory.read_model()
    after = [row for row in meta["history"] if row["epoch"] > 1]
    assert (first.selection, model.selection) == ("val_auc", "val_loss")
    assert model.value == min(row["val_loss"] for row in after)
    selection = directory.read_json(directory.provenance)["selection"]
    assert selection["metric"] == "val_loss"


def state(epoch, *, done, epochs=5, patience=None, phase=0):
    phases = [{"epochs": epochs, "early_stop_patience": patience}] * (phase + 1)
    callbacks = {
        "selection": {"best": [0.9], "sha256": "f"},
        "early_stopping": {"best": [0.9], "wait": 2},
        "plateau": {"best": 0.1, "wait": 1, "peak": 0.02},
    }
    position = {"phase": phase, "epoch": epoch, "step": 3, "total_epochs": epoch, "total_steps": 9}
    meta = {
        "config": {"detector": {"phases": phases}},
        "phase_done": done,
        "position": position,
        "callbacks": callbacks,
    }
    return StateFile(meta, {"model/00000": 1, "optimizer/00000": 2})


def two_phases(**first):
    return experiment(detector__phases=[{**HEAD, "epochs": 5, **first}, {**HEAD, "name": "last"}])


@pytest.mark.parametrize(
    ("before", "now", "done"),
    [
        (state(5, done=True), {"epochs": 6}, False),
        (state(5, done=True), {"epochs": 4}, True),
        (state(3, done=True, patience=2), {"early_stop_patience": 2}, True),
        (state(3, done=True, patience=2), {"early_stop_patience": 3}, False),
        (state(3, done=True, patience=2), {"early_stop_patience": None}, False),
        (state(3, done=True, patience=2), {"epochs": 3, "early_stop_patience": None}, True),
        (state(3, done=False), {"epochs": 3}, True),
        (state(3, done=False), {"epochs": 4}, False),
    ],
)
def test_whether_a_phase_is_done_follows_the_new_settings(before, now, done):
    found = [Change("detector.phases.0", "something", "else")]
    assert adapted_state(before, two_phases(**now), found).meta["phase_done"] is done


@pytest.mark.parametrize(
    ("key", "begun_anew"),
    [
        ("data.batch_size", set()),
        ("training.schedule.factor", {"plateau"}),
        ("detector.phases.0.learning_rate", {"plateau"}),
        ("training.optimizer.weight_decay", set()),
        ("training.optimizer.name", {"optimizer"}),
        ("training.selection", {"selection", "early_stopping", "plateau.best"}),
        ("data.leave_out", {"selection", "early_stopping", "plateau.best"}),
        ("detector.label_smoothing", {"selection", "early_stopping", "plateau.best"}),
    ],
)
def test_only_what_a_change_makes_meaningless_begins_anew(key, begun_anew):
    adapted = adapted_state(state(2, done=False), two_phases(), [Change(key, 1, 2)])
    callbacks = adapted.meta["callbacks"]
    found = {name for name in ("early_stopping", "plateau") if name not in callbacks}
    if callbacks["selection"]["best"] is None:
        found.add("selection")
    if callbacks.get("plateau", {"best": 1})["best"] is None:
        found.add("plateau.best")
        assert callbacks["plateau"]["peak"] == 0.02
    if "optimizer/00000" not in adapted.arrays:
        found.add("optimizer")
    assert found == begun_anew
    assert callbacks["selection"]["sha256"] == "f"
    assert adapted.meta["position"]["step"] == 0
    assert adapted.meta["position"]["total_steps"] == 9


def test_a_phase_that_is_gone_is_refused():
    with pytest.raises(InputError, match="the state is in phase 3, and only 2 are left"):
        adapted_state(state(1, done=False, phase=2), two_phases(), [Change("seed", 0, 1)])


def test_a_state_that_cannot_be_written_leaves_the_old_one(stopped, quiet):
    before = fingerprints_of_states(stopped)
    failure = CheckpointError("No space left on device")
    with (
        mock.patch.object(forced_resume, "write_state_file", side_effect=failure),
        pytest.raises(CheckpointError, match="No space"),
    ):
        go_on(stopped, one_phase(seed=1), quiet)
    assert fingerprints_of_states(stopped) == before
