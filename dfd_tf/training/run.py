"""One training, from an experiment and a record folder to a run directory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.provenance import provenance
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.registry import build_detector, detector_class
from dfd_tf.evaluation.calibrate import calibrate_run
from dfd_tf.training.data import TrainingData, open_training_data
from dfd_tf.training.devices import Devices, number_format, open_devices, set_seeds
from dfd_tf.training.forced_resume import (
    adapted_state,
    adopted_state,
    change_caveats,
    change_record,
    check_fit,
    record_changes,
)
from dfd_tf.training.phases import PhaseLoop
from dfd_tf.training.resume_checks import check_resume
from dfd_tf.training.selection import Selection, choose_selection
from dfd_tf.training.state_file import StateFile
from dfd_tf.training.state_keeper import newest_state
from dfd_tf.training.stop_signals import StopRequest, stop_signals
from pipelines.bad_records import naming_bad_records
from pipelines.errors import InputError

ProgressBar = Callable[[str], AbstractContextManager[Callable[[int, int], None]]]
"""Takes what is being done; gives a function to call with what is done and what there is."""


def train(
    experiment: Experiment,
    records: Path,
    run: str | Path,
    *,
    resume: bool = False,
    force: bool = False,
    console: Console | None = None,
    progress_bar: ProgressBar | None = None,
) -> None:
    """Trains a detector into a run directory and calibrates it.

    Whatever ends it before its time, `resume=True` goes on from the last state, and on a CPU the
    result is bit for bit that of an uninterrupted training.

    Args:
        experiment: What to train.
        records: Folder of records with `train` and `val` splits.
        run: The run directory; it must be new unless `resume`.
        resume: Go on with the run; a finished one is left as it is.
        force: Resume also with a changed configuration; what changed is kept with the run.
        console: Where progress and notes go; standard error if None.
        progress_bar: Shows how far it is with what precedes and follows the training.

    Raises:
        InputError: A detector that is not trained, unsuitable data, an existing run without
            `resume`, a changed dataset with it or, without `force`, configuration, a directory that
            is locked or cannot be written.
        DatasetError: The records are damaged.
        CheckpointError: No state can be written, or all are damaged.
        DivergedError: The loss is not finite any more.
        Stopped: SIGTERM or SIGINT was received, and a state saved.
    """
    console = console or Console(stderr=True)
    directory = RunDirectory(run)
    if directory.is_started() and not resume:
        raise InputError(
            f"{directory}: not empty; give --resume to go on with that run, or choose another --run"
        )
    # Before anything that starts TensorFlow: threads and devices are settled then.
    devices = open_devices(experiment.training)
    kind = detector_class(experiment.detector.name)
    if not kind.fitted:
        name = experiment.detector.name
        raise InputError(f"{name} is not trained; `dfd-tf {name}` makes it of trained runs")
    with progress_bar("opening records") if progress_bar else nullcontext() as progress:
        data = open_training_data(
            records,
            experiment,
            one_class=kind.is_one_class(experiment.detector),
            uses_unlabelled=kind.uses_unlabelled,
            needs_domains=kind.needs_domains,
            progress=progress,
        )
    with directory.opened():
        directory.remove_temporary_files()
        with stop_signals() as stop, naming_bad_records(records, data.skipped):
            _train(experiment, data, directory, devices, console, stop, resume=resume, force=force)
        if not directory.calibration.is_file():
            with progress_bar("calibrating") if progress_bar else nullcontext() as progress:
                calibrate_run(str(directory), records, progress)


def _train(
    experiment: Experiment,
    data: TrainingData,
    directory: RunDirectory,
    devices: Devices,
    console: Console,
    stop: StopRequest,
    *,
    resume: bool,
    force: bool,
) -> None:
    def note(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    identity: dict[str, Any] = {
        "config": experiment.model_dump(mode="json"),
        "records": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "skipped": [[bad.file, bad.index] for bad in data.skipped],
        },
        "machine": devices.facts(),
        "changed_settings": [],
    }
    state = newest_state(directory, note) if resume else None
    if state is not None:
        found = check_resume(state.meta, identity, note, force=force)
        newest = state
        identity["changed_settings"] += state.meta["changed_settings"]
        if found:
            identity["changed_settings"].append(change_record(state, found))
            state = adapted_state(state, experiment, found)
        if _finished(state, experiment):
            note(f"{directory}: training is finished, there is nothing to resume")
            return
    elif resume:
        note(f"{directory}: no state to resume from, training begins")
    selection = choose_selection(
        experiment.training,
        one_class=data.one_class,
        num_real=data.num_val_real,
        num_fake=data.num_val_fake,
        num_pseudo=data.num_val_pseudo,
    )
    set_seeds(experiment.seed)
    with number_format(devices.precision):
        with devices.distribution.scope():
            detector = build_detector(
                experiment.detector, data.num_domains, initial_weights=state is None
            )
        caveats = change_caveats(identity["changed_settings"])
        facts = _facts(experiment, data, devices, selection)
        # Not before: weights that are refused leave nothing behind, nor does a state that is.
        if state is None:
            directory.write_experiment(experiment)
            directory.write_json(directory.provenance, {**provenance(), **facts})
        elif found:
            check_fit(detector, state, found)
            state = adopted_state(directory, newest, state, identity)
        if caveats:
            record_changes(directory, experiment, facts, identity["changed_settings"])
        note(
            f"{experiment.detector.name} ({detector.pretrained}) on {data.name}: {data.num_train} "
            f"training images, {devices.strategy}, {devices.precision}, best epoch: "
            f"{selection.reason}"
        )
        for line in (*data.notes, *detector.caveats):
            note(line)
        for line in (*data.warnings, *caveats):
            console.print(f"[yellow]warning:[/] {escape(line)}", highlight=False, soft_wrap=True)
        detector.caveats += caveats
        PhaseLoop(
            experiment=experiment,
            detector=detector,
            data=data,
            directory=directory,
            devices=devices,
            selection=selection,
            identity=identity,
            console=console,
            stop=stop,
            changed=bool(caveats),
        ).run(state)


def _finished(state: StateFile, experiment: Experiment) -> bool:
    last = len(experiment.detector.phases) - 1
    return state.meta["phase_done"] and state.meta["position"]["phase"] == last


def _facts(
    experiment: Experiment, data: TrainingData, devices: Devices, selection: Selection
) -> dict[str, Any]:
    """What the provenance says of a training beside versions and machine."""
    return {
        "seed": experiment.seed,
        "selection": {"metric": selection.metric, "rule": selection.reason},
        "training": devices.facts(),
        "records": data.facts,
    }
