"""What a source is: media files with labels, and an account of what it could not use."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipelines.errors import MediaError
from pipelines.media_item import LABEL_NAMES, MediaItem


class Source(Protocol):
    """Where media and labels come from.

    A source lists; it does not decode. `failures` and `skipped` are complete once `items` has
    returned.
    """

    @property
    def name(self) -> str:
        """Name of the dataset, for reports."""

    @property
    def failures(self) -> Sequence[MediaError]:
        """Entries that should have become items and could not."""

    @property
    def skipped(self) -> Mapping[str, int]:
        """Number of entries left out on purpose, by reason (`hidden`, `junk`, ...)."""

    def items(self) -> list[MediaItem]:
        """Returns all items sorted by key; raises InputError when the source is unusable."""


class SourceFactory(Protocol):
    """How a source is opened; every source class is one.

    Args:
        location: Path or address as the user gave it.
        domain: Domain of every item, or None to let the source name it.
        staging: Folder below which a source without files of its own writes them.
    """

    def __call__(self, location: str, *, domain: str | None, staging: Path) -> Source: ...


def video_key(dataset: str, method: str, label: int, video: str) -> str:
    """Returns the composite key of a video, `dataset/method/video`.

    The label's name stands in for the method of a real video, so that `real/001` and `fake/001`
    are two videos.
    """
    return f"{dataset}/{method or LABEL_NAMES[label]}/{video}"


def identity_key(dataset: str, identity: str) -> str:
    """Returns the composite key of a person, `dataset/identity`: labels and methods share it."""
    return f"{dataset}/{identity}"
