"""What differs between two configurations, or other nested mappings of JSON types."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

FREE_SETTINGS = frozenset({"training.strategy", "training.threads", "training.checkpoint_steps"})
"""Settings that change no rule of the training; what they change is told as a difference of the
machine."""


@dataclass(frozen=True)
class Change:
    """A value that differs.

    Args:
        key: Its path, `training.optimizer.name`.
        before: The older value.
        now: The newer one.
    """

    key: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.key}: {self.before!r} -> {self.now!r}"


def setting_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[Change]:
    """Returns how two dumped experiments differ, but for `FREE_SETTINGS`."""
    return [change for change in changes(before, now) if change.key not in FREE_SETTINGS]


def listed(found: Iterable[Change]) -> str:
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
