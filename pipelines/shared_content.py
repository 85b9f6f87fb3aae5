"""What the media of a record folder share, found anew from the records: copies and near copies.

The split proof of the manifest is about the media as `prepare` saw them. This looks at what was
stored, so that it also holds for folders merged, edited or made elsewhere.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipelines.fingerprints import find_near_duplicates
from pipelines.media_item import FAKE, REAL
from pipelines.nuisances import MeasuredRecord
from pipelines.split_components import SplitItem, components

# Frames of a video resemble each other: a few tell whether another shows the same scene.
_PICTURES_PER_MEDIUM = 4


@dataclass(frozen=True, slots=True)
class AuditedMedium:
    """One media file: the medians of its records' nuisances, and where they lie.

    Args:
        path: Key of the medium.
        label: 0 real, 1 fake, -1 unknown.
        domain: Its domain.
        split: Its split.
        shard: Shard of its first record.
        cluster: Number of the component it belongs to: media that share a person, a video, bytes
            or a picture, which are no independent evidence.
        source_format: Its format.
        values: (nuisances,) medians over its faces and frames, NaN where none has a value.
    """

    path: str
    label: int
    domain: str
    split: str
    shard: str
    cluster: int
    source_format: str
    values: np.ndarray


@dataclass(frozen=True, slots=True)
class SharedContent:
    """Media that show the same.

    Args:
        kind: `exact` (equal bytes) or `near` (the same picture, re-encoded, resized or mirrored).
        media: Who, two or more.
    """

    kind: Literal["exact", "near"]
    media: tuple[AuditedMedium, ...]

    @property
    def crosses_splits(self) -> bool:
        """Whether a copy of what is trained on is tested on."""
        return len({medium.split for medium in self.media}) > 1

    @property
    def crosses_classes(self) -> bool:
        """Whether the same content is called real and fake."""
        return {REAL, FAKE} <= {medium.label for medium in self.media}


def find_shared_content(
    records: Sequence[MeasuredRecord],
) -> tuple[list[AuditedMedium], list[SharedContent]]:
    """Gathers records into media, ties those that share anything, and lists the copies.

    A medium whose records lie in two splits is two media here, with equal bytes.

    Args:
        records: All records of a folder, in any order.

    Returns:
        The media, by path and split; and copies, those that cross splits first.
    """
    faces: dict[tuple[str, str], list[MeasuredRecord]] = defaultdict(list)
    for record in records:
        faces[record.path, record.split].append(record)
    held = [faces[key] for key in sorted(faces)]
    pictures = [_spread(found) for found in held]
    owners = np.repeat(np.arange(len(held)), [len(chosen) for chosen in pictures])
    thumbnails = np.stack([record.thumbnail for chosen in pictures for record in chosen])
    near = find_near_duplicates(thumbnails, owners.tolist())
    cluster_of = {
        place: number
        for number, members in enumerate(components([_item(found[0]) for found in held], near))
        for place in members
    }
    media = [_medium(found, cluster_of[place]) for place, found in enumerate(held)]
    copies: dict[str, list[AuditedMedium]] = defaultdict(list)
    for found, medium in zip(held, media, strict=True):
        copies[found[0].sha256].append(medium)
    shared = [SharedContent("exact", tuple(same)) for same in copies.values() if len(same) > 1]
    shared += [
        SharedContent("near", (media[i], media[j]))
        for i, j in near.pairs
        if held[i][0].sha256 != held[j][0].sha256
    ]
    return media, sorted(shared, key=_severity)


def _severity(shared: SharedContent) -> tuple[bool, bool, str, list[str]]:
    return (
        not shared.crosses_splits,
        not shared.crosses_classes,
        shared.kind,
        [medium.path for medium in shared.media],
    )


def _spread(records: list[MeasuredRecord]) -> list[MeasuredRecord]:
    count = min(_PICTURES_PER_MEDIUM, len(records))
    return [records[i] for i in np.linspace(0, len(records) - 1, count).round().astype(int)]


def _item(record: MeasuredRecord) -> SplitItem:
    return SplitItem(
        key=f"{record.path}\n{record.split}",
        label=record.label,
        domain=record.domain,
        identity=record.identity,
        video=record.video,
        sha256=record.sha256,
        split=record.split,
    )


def _medium(records: list[MeasuredRecord], cluster: int) -> AuditedMedium:
    first = records[0]
    columns = zip(*(record.values for record in records), strict=True)
    return AuditedMedium(
        path=first.path,
        label=first.label,
        domain=first.domain,
        split=first.split,
        shard=first.shard,
        cluster=cluster,
        source_format=first.source_format,
        values=np.array([_median(column) for column in columns]),
    )


def _median(values: tuple[float, ...]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else math.nan
