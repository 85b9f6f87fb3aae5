"""One training, from an experiment and a record folder to a run directory."""

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
from dfd_tf.training.phases import PhaseLoop
from dfd_tf.training.resume_checks import check_resume
from dfd_tf.training.selection import Selection, choose_selection
from dfd_tf.training.state_file import StateFile
from dfd_tf.training.state_keeper import newest_state
from dfd_tf.training.stop_signals import StopRequest, stop_signals
from pipelines.dataset import naming_bad_records
from pipelines.errors import InputError


def train(
    experiment: Experiment,
    records: Path,
    run: str | Path,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> None:
    """Trains a detector into a run directory and calibrates it.

    Whatever ends it before its time, `resume=True` goes on from the last state, and on a CPU the
    result is bit for bit that of an uninterrupted training.

    Args:
        experiment: What to train.
        records: Folder of records with `train` and `val` splits.
        run: The run directory; it must be new unless `resume`.
        resume: Go on with the run; a finished one is left as it is.
        console: Where progress and notes go; standard error if None.

    Raises:
        InputError: A detector that is not trained, unsuitable data, an existing run without
            `resume`, a changed configuration or dataset with it, a directory that is locked or
            cannot be written.
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
    data = open_training_data(
        records,
        experiment,
        one_class=kind.is_one_class(experiment.detector),
        uses_unlabelled=kind.uses_unlabelled,
        needs_domains=kind.needs_domains,
    )
    with directory.opened():
        directory.remove_temporary_files()
        with stop_signals() as stop, naming_bad_records(records):
            _train(experiment, data, directory, devices, console, stop, resume=resume)
        if not directory.calibration.is_file():
            calibrate_run(str(directory), records)


def _train(
    experiment: Experiment,
    data: TrainingData,
    directory: RunDirectory,
    devices: Devices,
    console: Console,
    stop: StopRequest,
    *,
    resume: bool,
) -> None:
    def note(text: str) -> None:
        console.print(escape(text), highlight=False, soft_wrap=True)

    identity = {
        "config": experiment.model_dump(mode="json"),
        "records": {"name": data.name, "fingerprint": data.fingerprint},
        "machine": devices.facts(),
    }
    state = newest_state(directory, note) if resume else None
    if state is not None:
        check_resume(state.meta, identity, note)
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
        # Not before: weights that are refused leave nothing behind.
        if state is None:
            _describe(directory, experiment, data, devices, selection)
        note(
            f"{experiment.detector.name} ({detector.pretrained}) on {data.name}: {data.num_train} "
            f"training images, {devices.strategy}, {devices.precision}, best epoch: "
            f"{selection.reason}"
        )
        for line in (*data.notes, *detector.caveats):
            note(line)
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
        ).run(state)


def _finished(state: StateFile, experiment: Experiment) -> bool:
    last = len(experiment.detector.phases) - 1
    return state.meta["phase_done"] and state.meta["position"]["phase"] == last


def _describe(
    directory: RunDirectory,
    experiment: Experiment,
    data: TrainingData,
    devices: Devices,
    selection: Selection,
) -> None:
    facts: dict[str, Any] = {
        **provenance(),
        "seed": experiment.seed,
        "selection": {"metric": selection.metric, "rule": selection.reason},
        "training": devices.facts(),
        "records": data.facts,
    }
    directory.write_experiment(experiment)
    directory.write_json(directory.provenance, facts)
