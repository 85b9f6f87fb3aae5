"""Whether a training may go on from a state: same configuration, same data; which machine."""

from collections.abc import Callable, Mapping
from typing import Any

from dfd_tf.config.changes import Change, changes, listed, setting_changes
from pipelines.errors import InputError

_SKIPPED = "records.skipped"
"""Which records of the same dataset are left out: a setting's doing (`data.on_bad_record`)."""


def check_resume(
    stored: Mapping[str, Any],
    present: Mapping[str, Any],
    warn: Callable[[str], None],
    *,
    force: bool = False,
) -> list[Change]:
    """Compares the identity in a state with that of the resuming process.

    Args:
        stored: `config`, `records` and `machine` of the state.
        present: The same of this process.
        warn: Told when the machine differs: training goes on, but not bit for bit.
        force: Let the configuration differ, and the records left out.

    Returns:
        What changed of these; empty without `force`.

    Raises:
        InputError: Configuration (without `force`), detector, dataset or precision changed; all
            changes are listed.
    """
    config = setting_changes(stored["config"], present["config"])
    if config and not force:
        raise InputError(
            f"the configuration changed since the run began: {listed(config)}. Undo that to go on "
            "with --resume, add --force to go on with the new values all the same, or start a new "
            "run in another directory"
        )
    if other := [change for change in config if change.key == "detector.name"]:
        raise InputError(
            f"{other[0]}: a state of one detector cannot be continued as another, not even with "
            "--force; start a new run in another directory"
        )
    records = list(changes(stored["records"], present["records"], "records."))
    only_skipped = all(change.key == _SKIPPED for change in records)
    if records and not (force and only_skipped):
        remedy = "Add --force" if only_skipped else "Give --data the same records"
        raise InputError(
            f"the dataset changed since the run began: {listed(records)}. {remedy} to go on with "
            "--resume, or start a new run in another directory"
        )
    config += records
    machine = list(changes(stored["machine"], present["machine"]))
    if any(change.key == "precision" for change in machine):
        raise InputError(
            f"{listed(machine)}: a state of one precision cannot be continued in another; set "
            f"training.precision={stored['machine']['precision']}"
        )
    if machine:
        warn(
            f"the machine differs from the one the run began on ({listed(machine)}): the result "
            "will not be bit-identical to an uninterrupted run's"
        )
    return config
