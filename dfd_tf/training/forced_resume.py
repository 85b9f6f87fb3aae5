"""Going on from a state with changed settings, as `--resume --force` asks for.

The epoch a state is in begins anew; what of the state the new settings have made meaningless is
dropped. Every change stays with the run: in its states, its provenance and its caveats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from dfd_tf.config.changes import Change, listed
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.base import Detector
from dfd_tf.training.model_state import misfit
from dfd_tf.training.state_file import StateFile, write_state_file
from dfd_tf.training.state_keeper import state_path, state_paths
from pipelines.errors import InputError

_RATE = ("training.schedule", "learning_rate")
_OPTIMIZER = ("training.optimizer.name", "training.optimizer.momentum", "training.optimizer.ema")
_SAME_VALIDATION = (
    "calibration.", "data.augment", "data.balance", "data.batch_size", "data.shuffle_buffer",
    "detector.phases.", "seed", "training.deterministic", "training.optimizer.",
    "training.schedule.",
)  # fmt: skip
"""Settings that leave the figures of validation comparable."""


def adapted_state(state: StateFile, experiment: Experiment, found: Sequence[Change]) -> StateFile:
    """Returns what a state has left to give to a training with changed settings.

    Args:
        state: The state; its arrays are not looked at.
        experiment: The new settings.
        found: How they differ from those of the state.

    Raises:
        InputError: The phase of the state is not there any more, or nothing is left to train.
    """
    phases, index = experiment.detector.phases, state.meta["position"]["phase"]
    if index >= len(phases):
        raise InputError(
            f"the state is in phase {index + 1}, and only {len(phases)} are left with the changed "
            f"settings ({listed([*found])}); start a new run in another directory"
        )
    done = _phase_done(state, experiment)
    if done and index == len(phases) - 1:
        raise InputError(
            f"training is finished, and the changed settings ({listed([*found])}) leave nothing to "
            "go on with; more epochs of the last phase would"
        )
    arrays = state.arrays
    if any(change.key in _OPTIMIZER for change in found):
        arrays = {name: array for name, array in arrays.items() if not _of_optimizer(name)}
    meta = {
        **state.meta,
        "phase_done": done,
        "position": {**state.meta["position"], "step": 0},
        "callbacks": _callbacks(state.meta["callbacks"], found),
    }
    return StateFile(meta, arrays)


def check_fit(detector: Detector, state: StateFile, found: Sequence[Change]) -> None:
    """Refuses a state whose weights are not those of the network the new settings build.

    Raises:
        InputError: The architecture changed.
    """
    if difference := misfit(detector, state.arrays, "model"):
        raise InputError(
            f"the changed settings ({listed([*found])}) build another network than the state's "
            f"({difference}), which --force cannot bridge; start a new run in another directory"
        )


def fitting_state(detector: Detector, state: StateFile) -> StateFile:
    """Returns a state without the optimiser's variables where they are not the compiled model's."""
    if misfit(detector, state.arrays, "optimizer") is None:
        return state
    arrays = {name: array for name, array in state.arrays.items() if not _of_optimizer(name)}
    return replace(state, arrays=arrays)


def change_record(state: StateFile, found: Sequence[Change]) -> dict[str, Any]:
    """Returns what states and provenance keep of a forced resume, as JSON types."""
    position = state.meta["position"]
    return {
        "epoch": position["total_epochs"],
        "steps": position["total_steps"],
        "settings": [
            {"key": change.key, "from": change.before, "to": change.now} for change in found
        ],
    }


def change_caveats(records: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Returns what nobody may overlook of a run's forced resumes, one line each."""
    return tuple(
        f"resumed with changed settings after {record['epoch']} epochs ({record['steps']} steps): "
        + "; ".join(f"{one['key']}: {one['from']!r} -> {one['to']!r}" for one in record["settings"])
        for record in records
    )


def adopted_state(
    directory: RunDirectory, old: StateFile, new: StateFile, identity: Mapping[str, Any]
) -> StateFile:
    """Puts an adapted state in the place of the one it was made of, so that a resume finds it.

    It begins its epoch anew, so other states of that epoch would pass for newer ones: they go, the
    newest last. Until that is done, the run is what it was.

    Args:
        directory: The run.
        old: The newest state of the run.
        new: The one that takes its place.
        identity: What a resume compares from now on.

    Returns:
        The new state, with that identity.

    Raises:
        CheckpointError: It cannot be written; the old one is intact.
    """
    adopted = replace(new, meta={**new.meta, **identity})
    before, now = state_path(directory, old), state_path(directory, adopted)
    write_state_file(now, adopted)
    for path in reversed(state_paths(directory)):
        if now.name < path.name <= before.name:
            path.unlink()
    return adopted


def record_changes(
    directory: RunDirectory,
    experiment: Experiment,
    facts: Mapping[str, Any],
    records: Sequence[dict[str, Any]],
) -> None:
    """Makes the files of a run that goes on say what was changed; doing so twice changes nothing.

    A calibration rests on weights that were chosen before, and is deleted.

    Args:
        directory: The run.
        experiment: Its settings from now on.
        facts: What its provenance says of them.
        records: All its forced resumes (`change_record`).
    """
    directory.write_experiment(experiment)
    before = directory.read_json(directory.provenance)
    directory.write_json(
        directory.provenance, {**before, **facts, "changed_settings": list(records)}
    )
    if directory.model.is_file():
        model, caveats = directory.read_model(), change_caveats(records)
        kept = tuple(line for line in model.caveats if line not in caveats)
        marked = model.model_copy(update={"caveats": kept + caveats})
        directory.write_json(directory.model, marked.model_dump(mode="json"))
    directory.calibration.unlink(missing_ok=True)


def _phase_done(state: StateFile, experiment: Experiment) -> bool:
    index, epoch = state.meta["position"]["phase"], state.meta["position"]["epoch"]
    phase = experiment.detector.phases[index]
    if not state.meta["phase_done"]:
        return epoch >= phase.epochs
    before = state.meta["config"]["detector"]["phases"][index]
    if epoch >= before["epochs"]:
        return epoch >= phase.epochs
    patience = phase.early_stop_patience
    is_patient = patience is None or patience > before["early_stop_patience"]
    return epoch >= phase.epochs or not is_patient


def _callbacks(fields: dict[str, Any], found: Sequence[Change]) -> dict[str, Any]:
    """Fields of the callbacks; one that is left out begins anew."""
    kept = dict(fields)
    if any(change.key.startswith(_RATE[0]) or change.key.endswith(_RATE[1]) for change in found):
        kept.pop("plateau", None)
    if not all(change.key.startswith(_SAME_VALIDATION) for change in found):
        kept.pop("early_stopping", None)
        kept["selection"] = {**kept["selection"], "best": None}
        if "plateau" in kept:
            kept["plateau"] = {**kept["plateau"], "best": None, "wait": 0}
    return kept


def _of_optimizer(name: str) -> bool:
    return name.startswith("optimizer/")
