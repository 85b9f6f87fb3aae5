"""One experiment trained several times: over seeds, or with each domain left out once."""

from pathlib import Path
from typing import Any

import keras
from rich.console import Console
from rich.markup import escape

from dfd_tf.config.changes import listed
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.run_group import (
    RunGroup,
    check_members,
    experiment_changes,
    leave_one_out_group,
    read_group,
    seed_group,
    write_group,
)
from dfd_tf.detectors.registry import detector_class
from dfd_tf.training.run import ProgressBar, train
from pipelines.errors import InputError
from pipelines.records.verification import verify_records


def plan_group(experiment: Experiment, records: Path, num_seeds: int | None) -> RunGroup:
    """Plans a group on a record folder: over seeds, or without one domain after the other.

    Args:
        experiment: What to train.
        records: Record folder.
        num_seeds: Trainings with other seeds; None: leave out domains.

    Raises:
        InputError: There are too few domains, for groups or for this detector.
        DatasetError: The records are damaged.
    """
    manifest = verify_records(records, deep=False)
    if num_seeds is not None:
        return seed_group(experiment, manifest.fingerprint(), num_seeds)
    domains = experiment.data.used_domains(manifest.domains)
    group = leave_one_out_group(experiment, manifest.fingerprint(), domains)
    name = experiment.detector.name
    if detector_class(name).needs_domains and len(domains) < 3:
        raise InputError(
            f"{records}: {name} is trained against domains, so --leave-one-domain-out needs three"
            f" domains or more, found {len(domains)} ({', '.join(domains)}); give sources a domain"
            " each in `dfd-tf prepare`, or choose a detector that needs no domains"
        )
    return group


def train_group(
    group: RunGroup,
    records: Path,
    folder: str,
    *,
    resume: bool,
    console: Console,
    progress_bar: ProgressBar | None = None,
) -> None:
    """Trains the members of a group one after the other, each exactly as it would be alone.

    Args:
        group: The plan.
        records: Record folder.
        folder: Where; it must be new unless `resume`.
        resume: Leave finished members as they are, go on with the one that was stopped. The plan
            may have more members than before.
        console: Where progress and notes go.
        progress_bar: Shows how far it is with what precedes and follows each training.

    Raises:
        InputError: The folder holds something else, a group of another plan, or a member that was
            trained otherwise.
        DfdError: What a training raises.
    """
    directory = RunDirectory(folder)
    if directory.is_started():
        _check_resume(directory, group, resume=resume)
    try:
        directory.path.mkdir(parents=True, exist_ok=True)
        write_group(folder, group)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None
    for number, member in enumerate(group.members, 1):
        place = directory.path / member.name
        started = RunDirectory(place).is_started()
        console.print(
            escape(f"[{number}/{len(group.members)}] {member.name}"), highlight=False, style="bold"
        )
        # Names of layers, which weights files hold, begin anew, as in a process of its own.
        keras.utils.clear_session()
        train(
            member.experiment(group.experiment),
            records,
            place,
            resume=started,
            console=console,
            progress_bar=progress_bar,
        )


def _check_resume(directory: RunDirectory, group: RunGroup, *, resume: bool) -> None:
    """Refuses a folder that is not what a group of this plan left.

    Raises:
        InputError: It is not.
    """
    if not resume:
        raise InputError(
            f"{directory}: not empty; give --resume to go on with that group, or choose another"
            " --run"
        )
    before = read_group(directory.path)
    if before is None:
        raise InputError(f"{directory}: holds no group of runs; choose another --run")
    if before.kind != group.kind:
        raise InputError(f"{directory}: was planned as {before.kind}, not as {group.kind}")
    if found := experiment_changes(before.experiment, group.experiment):
        raise InputError(
            f"{directory}: its settings changed since it was planned: {listed(found)}; undo that"
            " to go on with --resume, or choose another --run"
        )
    if before.records_fingerprint != group.records_fingerprint:
        raise InputError(f"{directory}: its records were others; choose another --run")
    if not set(before.members) <= set(group.members):
        raise InputError(
            f"{directory}: has {len(before.members)} members, {len(group.members)} were asked for;"
            " a group can grow, not shrink"
        )
    check_members(directory.path, group)


def validation_figures(group: RunGroup, folder: str) -> list[dict[str, Any]]:
    """Returns what each member was selected by on its validation split: name, value, epoch."""
    figures = []
    for member in group.members:
        model = RunDirectory(RunDirectory(folder).path / member.name).read_model()
        figures.append(
            {
                "name": member.name,
                "selection": model.selection,
                "value": model.value,
                "epoch": model.epoch,
            }
        )
    return figures
