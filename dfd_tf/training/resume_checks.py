"""Whether a training may go on from a state: same configuration, same data; which machine."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pipelines.errors import InputError

_FREE_KEYS = frozenset({"training.strategy", "training.threads", "training.checkpoint_steps"})
"""Settings that change no rule of the training; what they change is told as a difference of the
machine."""


def check_resume(
    stored: Mapping[str, Any], present: Mapping[str, Any], warn: Callable[[str], None]
) -> None:
    """Compares the identity in a state with that of the resuming process.

    Args:
        stored: `config`, `records` and `machine` of the state.
        present: The same of this process.
        warn: Told when the machine differs: training goes on, but not bit for bit.

    Raises:
        InputError: Configuration, dataset or precision changed; all changes are listed.
    """
    config = [
        change
        for change in changes(stored["config"], present["config"])
        if change.partition(":")[0] not in _FREE_KEYS
    ]
    if config:
        raise InputError(
            f"the configuration changed since the run began: {'; '.join(config)}. Undo that to go "
            "on with --resume, or start a new run in another directory"
        )
    records = list(changes(stored["records"], present["records"], "records."))
    if records:
        raise InputError(
            f"the dataset changed since the run began: {'; '.join(records)}. Give --data the same "
            "records to go on with --resume, or start a new run in another directory"
        )
    machine = list(changes(stored["machine"], present["machine"]))
    if any(change.startswith("precision:") for change in machine):
        raise InputError(
            f"{'; '.join(machine)}: a state of one precision cannot be continued in another; set "
            f"training.precision={stored['machine']['precision']}"
        )
    if machine:
        warn(
            f"the machine differs from the one the run began on ({'; '.join(machine)}): the result "
            "will not be bit-identical to an uninterrupted run's"
        )


def changes(before: Mapping[str, Any], now: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields `key: before -> now` for all leaves of two nested mappings that differ."""
    for key in dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changes(old, new, f"{prefix}{key}.")
        elif old != new:
            yield f"{prefix}{key}: {old!r} -> {new!r}"
