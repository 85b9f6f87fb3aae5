"""Resuming gives the bytes of the uninterrupted run (RELIABILITY.md 2c, 3.1)."""

import csv
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import tiny_training
from killed_runs import Killed, fingerprints, raise_killed
from tiny_training import STEPS, TOTAL_STEPS, at_step, experiment, tiny_data, tiny_train

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.training.state_file import read_state_file
from dfd_tf.training.state_keeper import StateKeeper, newest_state, state_paths
from pipelines.errors import CheckpointError, InputError


def killed(run, console, patch, **options):
    with patch, pytest.raises(Killed):
        tiny_train(run, console=console, **options)


def killing(target, name, call):
    """Kills at the given call of a function or method, before it does anything."""
    original, calls = getattr(target, name), []

    def replacement(*arguments, **options):
        calls.append(name)
        if len(calls) == call:
            raise Killed
        return original(*arguments, **options)

    return mock.patch.object(target, name, replacement)


def rows(run):
    with (run / "history.csv").open() as file:
        return list(csv.DictReader(file))


def test_reference_has_what_makes_resuming_hard(uninterrupted):
    phases = [row["phase"] for row in rows(uninterrupted)]
    assert phases == ["head", "head", "all", "all", "all"]  # `head` has four epochs at most
    rates = [float(row["learning_rate"]) for row in rows(uninterrupted)]
    assert rates[-1] == pytest.approx(rates[-2] / 2)


def test_c17_iterations_are_epochs_times_steps(uninterrupted):
    state = newest_state(RunDirectory(uninterrupted), pytest.fail)
    assert rows(uninterrupted)[-1]["steps"] == str(TOTAL_STEPS)
    assert state.meta["position"]["total_steps"] == TOTAL_STEPS
    # optimizer/00000 is `iterations`, begun anew with the phase's optimiser.
    assert state.arrays["optimizer/00000"] == 3 * STEPS


# The first step, within the epoch that stops early and at its end, the last step of all.
@pytest.mark.parametrize("step", [1, 11, 12, TOTAL_STEPS])
def test_c01_c19_killed_at_a_step(uninterrupted, tmp_path, quiet, step):
    run = tmp_path / "run"
    killed(run, quiet, at_step(step, raise_killed))
    tiny_train(run, resume=True, console=quiet)
    assert fingerprints(run) == fingerprints(uninterrupted)


def test_c02_killed_again_and_again(uninterrupted, tmp_path, quiet):
    run = tmp_path / "run"
    killed(run, quiet, at_step(3, raise_killed))
    for step in (6, 9):
        killed(run, quiet, at_step(step, raise_killed), resume=True)
    tiny_train(run, resume=True, console=quiet)
    assert fingerprints(run) == fingerprints(uninterrupted)


@pytest.mark.parametrize(
    ("target", "name", "call"),
    [
        (os, "replace", 3),  # config.yaml, provenance.json, | first state
        (StateKeeper, "save", 4),  # weights and history written, state not
        ("dfd_tf.training.phases", "load_best", 1),  # between the phases
    ],
)
def test_c01_killed_between_two_files(uninterrupted, tmp_path, quiet, target, name, call):
    run = tmp_path / "run"
    target = sys.modules[target] if isinstance(target, str) else target
    killed(run, quiet, killing(target, name, call))
    tiny_train(run, resume=True, console=quiet)
    assert fingerprints(run) == fingerprints(uninterrupted)
    assert not list(run.rglob("*.tmp-*"))


def start(run, **request):
    code = [
        sys.executable,
        tiny_training.__file__,
        str(run),
        json.dumps({"settings": {}, **request}),
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(code, env=environment, capture_output=True, text=True, check=False)


def test_c01_sigkill_then_sigterm_then_to_the_end(uninterrupted, tmp_path):
    run = tmp_path / "run"
    steps = random.Random(5).sample(range(2, 11), 2)
    assert start(run, act="kill", at=steps[0]).returncode == -signal.SIGKILL
    stopped = start(run, act="term", at=steps[1], resume=True)
    assert stopped.returncode == 143, stopped.stderr
    assert "--resume" in stopped.stderr
    assert "Traceback" not in stopped.stderr
    step = int(state_paths(RunDirectory(run))[0].name.split("-")[2].removesuffix(".state"))
    assert step > 0  # the state of the stop, within an epoch
    finished = start(run, resume=True)
    assert finished.returncode == 0, finished.stderr
    assert fingerprints(run) == fingerprints(uninterrupted)


def test_c08_sigint_stops_after_the_step(tmp_path, quiet):
    from pipelines.errors import Stopped

    run = tmp_path / "run"
    patch = at_step(2, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.getsignal(signal.SIGINT)
    with patch, pytest.raises(Stopped, match="SIGINT after step 2") as stop:
        tiny_train(run, console=quiet)
    assert stop.value.exit_code == 130
    assert state_paths(RunDirectory(run))[0].name == "00-00000-00000002.state"
    assert signal.getsignal(signal.SIGINT) is before


def test_c08_second_signal_exits_at_once():
    script = (
        "import os, signal, time\n"
        "from dfd_tf.training.stop_signals import stop_signals\n"
        "with stop_signals():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(0.1)\n"
        "    print('alive', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    time.sleep(20)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=15
    )
    assert ended.returncode == 143
    assert ended.stdout == "alive\n"


def test_c04_damaged_newest_state(uninterrupted, tmp_path, quiet):
    run = tmp_path / "run"
    killed(run, quiet, at_step(11, raise_killed))
    newest = Path(state_paths(RunDirectory(run))[0])
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 4
    newest.write_bytes(content)
    tiny_train(run, resume=True, console=quiet)
    assert str(newest) in quiet.file.getvalue()
    assert "going back" in quiet.file.getvalue()
    assert fingerprints(run) == fingerprints(uninterrupted)


def test_c04_all_states_damaged_is_exit_4_and_no_restart(tmp_path, quiet):
    run = tmp_path / "run"
    killed(run, quiet, at_step(11, raise_killed))
    for path in state_paths(RunDirectory(run)):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="no undamaged") as error:
        tiny_train(run, resume=True, console=quiet)
    assert error.value.exit_code == 4
    for path in state_paths(RunDirectory(run)):
        path.unlink()
    with pytest.raises(CheckpointError, match="results but no training state"):
        tiny_train(run, resume=True, console=quiet)


def test_resuming_a_finished_run_changes_nothing(uninterrupted, quiet):
    before = fingerprints(uninterrupted)
    tiny_train(uninterrupted, resume=True, console=quiet)
    assert "nothing to resume" in quiet.file.getvalue()
    assert fingerprints(uninterrupted) == before


def test_existing_run_is_refused_without_resume(uninterrupted, quiet):
    with pytest.raises(InputError, match="--resume"):
        tiny_train(uninterrupted, console=quiet)


def test_c09_changed_configuration_is_refused_with_its_keys(uninterrupted, quiet):
    settings = experiment(
        training__optimizer__name="adamw", data__batch_size=5, detector__dropout=0.5
    )
    with pytest.raises(InputError) as error:
        tiny_train(uninterrupted, resume=True, settings=settings, console=quiet)
    for change in (
        "training.optimizer.name: 'adam' -> 'adamw'",
        "data.batch_size: 4 -> 5",
        "detector.dropout: 0.2 -> 0.5",
    ):
        assert change in str(error.value)


def test_c10_changed_dataset_is_refused(uninterrupted, quiet):
    with pytest.raises(InputError, match=r"records\.fingerprint: 'fff"):
        tiny_train(uninterrupted, resume=True, data=tiny_data(fingerprint="0" * 64), console=quiet)


def test_c11_other_machine_is_a_warning(uninterrupted, quiet, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    tiny_train(uninterrupted, resume=True, console=quiet)
    assert "onednn: 'default' -> '0'" in quiet.file.getvalue()
    assert "not be bit-identical" in quiet.file.getvalue()


def test_c23_two_mirrored_cpus_equal_one(tmp_path, quiet, monkeypatch):
    # Dropout and batch statistics are per replica: neither is at work here.
    monkeypatch.setenv("TINY_DROPOUT", "0")
    head = {"name": "head", "epochs": 2, "learning_rate": 0.05, "freeze_backbone": True}
    settings = {"detector__phases": [head], "training__strategy": "mirrored"}
    mirrored = start(tmp_path / "two", settings=settings, replicas=2)
    assert mirrored.returncode == 0, mirrored.stderr
    tiny_train(tmp_path / "one", settings=experiment(detector__phases=[head]), console=quiet)
    for two, one in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        for name in ("loss", "val_loss", "val_auc", "learning_rate"):
            assert float(two[name]) == pytest.approx(float(one[name]), abs=1e-6)


def test_c19_frozen_phase_leaves_the_backbone_alone(tmp_path, quiet):
    run = tmp_path / "run"
    killed(run, quiet, killing(sys.modules["dfd_tf.training.phases"], "load_best", 1))
    states = [read_state_file(path) for path in reversed(state_paths(RunDirectory(run)))]
    first, last = (state.arrays for state in states)
    detector = tiny_training.TinyDetector()
    frozen = {
        f"model/{index:05d}"
        for index, variable in enumerate(detector.variables)
        if variable.path.split("/")[-2].startswith(("conv", "batch"))
    }
    assert len(frozen) == 6
    for name in frozen:
        np.testing.assert_array_equal(first[name], last[name])
    changed = [n for n in first if n.startswith("model/") and not np.array_equal(first[n], last[n])]
    assert len(changed) == 3  # kernel and bias of the head, the dropout's counter
