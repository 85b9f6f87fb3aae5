"""Whether a training may go on from a state: same configuration, same data; which machine."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError

_FREE_KEYS = frozenset({"training.strategy", "training.threads", "training.checkpoint_steps"})
"""Settings that change no rule of the training; what they change is told as a difference of the
machine."""
_SKIPPED = "records.skipped"
"""Which records of the same dataset are left out: a setting's doing (`data.on_bad_record`)."""


@dataclass(frozen=True)
class Change:
    """A value that differs.

    Args:
        key: Its path, `training.optimizer.name`.
        before: The value in the state.
        now: The value of the resuming process.
    """

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before!r} -> {self.now!r}"


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
    config = [
        change
        for change in changes(stored["config"], present["config"])
        if change.key not in _FREE_KEYS
    ]
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


def listed(found: list[Change]) -> str:
    """Returns changes in one line."""
    return "; ".join(map(str, found))


def changes(
    before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = ""
) -> Iterator[Change]:
    """Yields all leaves of two nested mappings that differ; lists of mappings are nested too."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        old_children, new_children = _children(old), _children(new)
        if old_children is not None and new_children is not None:
            yield from changes(old_children, new_children, f"{prefix}{key}.")
        elif old != new:
            yield Change(f"{prefix}{key}", old, new)


def _children(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return {str(index): one for index, one in enumerate(value)}
    return None
