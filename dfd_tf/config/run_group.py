"""A group of runs: one experiment trained with several seeds, or without each of its domains.

The folder holds `group.json`, one run directory a member, and reports on the whole in `reports/`.
"""

import re
from collections.abc import Sequence
from typing import Literal

from etils import epath
from pydantic import NonNegativeInt, ValidationError

from dfd_tf.config.changes import Change, listed, setting_changes
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.schema import Schema
from pipelines.errors import InputError, ModelFileError

GROUP_NAME = "group.json"
SEEDS: Literal["seeds"] = "seeds"
LEAVE_ONE_OUT: Literal["leave_one_domain_out"] = "leave_one_domain_out"


class GroupMember(Schema):
    """One run of a group: what differs from the group's experiment."""

    name: str
    """Its folder in that of the group."""
    seed: NonNegativeInt
    left_out: str | None = None
    """The domain it is kept away from."""

    def experiment(self, of_group: Experiment) -> Experiment:
        """Returns what this member trains."""
        data = of_group.data
        if self.left_out is not None:
            data = data.model_copy(update={"leave_out": self.left_out})
        return of_group.model_copy(update={"seed": self.seed, "data": data})


class RunGroup(Schema):
    """Content of `group.json`."""

    schema_version: Literal[1] = 1
    kind: Literal["seeds", "leave_one_domain_out"]
    experiment: Experiment
    """What all members have in common; its seed is that of the first."""
    records_fingerprint: str
    members: tuple[GroupMember, ...]


def seed_group(experiment: Experiment, fingerprint: str, num_seeds: int) -> RunGroup:
    """Plans trainings with the experiment's seed and those that follow it."""
    seeds = range(experiment.seed, experiment.seed + num_seeds)
    members = tuple(GroupMember(name=f"seed_{seed}", seed=seed) for seed in seeds)
    return RunGroup(
        kind=SEEDS, experiment=experiment, records_fingerprint=fingerprint, members=members
    )


def leave_one_out_group(
    experiment: Experiment, fingerprint: str, domains: Sequence[str]
) -> RunGroup:
    """Plans one training without each of the domains.

    Raises:
        InputError: The experiment leaves out one already, or there are fewer than two domains.
    """
    if experiment.data.leave_out is not None:
        raise InputError("data.leave_out: must be null; --leave-one-domain-out sets it by itself")
    if len(domains) < 2:
        raise InputError(
            f"--leave-one-domain-out needs two domains or more, found {', '.join(domains)}; give "
            "sources a domain each in `dfd-tf prepare`"
        )
    members: list[GroupMember] = []
    for domain in domains:
        name = "without_" + re.sub(r"[^\w.-]", "_", domain)
        if any(member.name == name for member in members):
            name += f"-{len(members) + 1}"
        members.append(GroupMember(name=name, seed=experiment.seed, left_out=domain))
    return RunGroup(
        kind=LEAVE_ONE_OUT,
        experiment=experiment,
        records_fingerprint=fingerprint,
        members=tuple(members),
    )


def experiment_changes(before: Experiment, now: Experiment) -> list[Change]:
    """Returns how two experiments differ, but for `FREE_SETTINGS`."""
    return setting_changes(before.model_dump(mode="json"), now.model_dump(mode="json"))


def check_members(path: str | epath.Path, group: RunGroup) -> None:
    """Refuses members that have begun and were not trained as the group plans it.

    Raises:
        InputError: Names each such member, and what differs.
    """
    odd: list[str] = []
    for member in group.members:
        run = RunDirectory(RunDirectory(path).path / member.name)
        if run.config.is_file():
            planned = member.experiment(group.experiment)
            trained = run.read_experiment()
            if found := experiment_changes(planned, trained):
                odd.append(f"{member.name} ({listed(found)})")
    if odd:
        raise InputError(
            f"{RunDirectory(path)}: not as planned: {', '.join(odd)}; the runs of a group share"
            " their settings: train a new group with those you want in another --run, or evaluate"
            " these runs one by one"
        )


def read_group(path: str | epath.Path) -> RunGroup | None:
    """Reads the group of a folder; None where it has no `group.json`.

    Raises:
        ModelFileError: The file is damaged.
    """
    directory = RunDirectory(path)
    file = directory.path / GROUP_NAME
    if not file.is_file():
        return None
    try:
        return RunGroup.model_validate(directory.read_json(file))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ModelFileError(f"{file}: {place}: {problem['msg']}") from None


def write_group(path: str | epath.Path, group: RunGroup) -> None:
    """Writes `group.json`, whole or not at all.

    Raises:
        CheckpointError: The disk is full, or the like.
    """
    directory = RunDirectory(path)
    directory.write_json(directory.path / GROUP_NAME, group.model_dump(mode="json"))
