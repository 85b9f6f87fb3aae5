"""Which items go into which shard: a pure function of the items, their splits and the settings."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from pipelines.media_item import SPLITS, MediaItem
from pipelines.records.manifest import shard_name
from pipelines.records.schema import SCHEMA_VERSION
from pipelines.settings import PrepareSettings

RECORDS_PER_SHARD = 64
MOST_SHARDS = 128


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """A media file that could be read, with what the index pass learned.

    Args:
        item: The medium.
        kind: `image` or `video`.
        sha256: Of the file's bytes, hexadecimal.
    """

    item: MediaItem
    kind: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ShardTask:
    """One shard to write: the unit of work.

    Args:
        file: Its name.
        split: Its split.
        items: What it holds, in order.
        fingerprint: Identifies everything that decides its bytes.
    """

    file: str
    split: str
    items: tuple[PlannedItem, ...]
    fingerprint: str


def plan_shards(
    items: Sequence[PlannedItem], splits: Sequence[str | None], settings: PrepareSettings
) -> list[ShardTask]:
    """Deals the items of each split onto its shards.

    The order is drawn by hashing the seed with the key: every shard mixes labels and domains, and
    neither the order of the items nor an item more or less reorders the others.

    Args:
        items: All readable items.
        splits: Split of each; None leaves it out.
        settings: Frames a video, seed and everything that decides a record.
    """
    basis = settings_identity(settings)
    tasks: list[ShardTask] = []
    for split in SPLITS:
        members = [item for item, held in zip(items, splits, strict=True) if held == split]
        members.sort(key=lambda planned: _draw(settings.seed, planned.item.key))
        records = sum(settings.frames if m.kind == "video" else 1 for m in members)
        wanted = math.ceil(records / RECORDS_PER_SHARD)
        count = min(wanted, MOST_SHARDS, len(members))
        for index in range(count):
            start, stop = (len(members) * i // count for i in (index, index + 1))
            file, held = shard_name(split, index, count), tuple(members[start:stop])
            content = [SCHEMA_VERSION, basis, file, [item_identity(m) for m in held]]
            tasks.append(ShardTask(file, split, held, digest(content)))
    return tasks


def item_identity(planned: PlannedItem) -> list[Any]:
    """What of an item decides its records: all but the place it lies at."""
    known = [getattr(planned.item, f.name) for f in fields(MediaItem) if f.name != "path"]
    return [*known, planned.kind, planned.sha256]


def settings_identity(settings: PrepareSettings) -> dict[str, Any]:
    """The settings as JSON values, a detector's model file by its content."""
    values = plain_settings(settings)
    model = settings.faces.model
    if model is not None and Path(model).is_file():
        with Path(model).open("rb") as file:
            values["faces"]["model"] = hashlib.file_digest(file, "sha256").hexdigest()
    return values


def plain_settings(settings: PrepareSettings) -> dict[str, Any]:
    """The settings as a manifest stores them: JSON values.

    Harmonisation is named only where it was asked for: without it, records, manifests and notes
    are those of programs that did not know it.
    """
    values = json.loads(json.dumps(asdict(settings)))
    if not values["harmonize"]:
        del values["harmonize"]
    if values["crop"]["carrier"] is None:
        del values["crop"]["carrier"]
    return values


def digest(content: Any) -> str:
    """The sha256 of JSON values, hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _draw(seed: int, key: str) -> tuple[bytes, str]:
    data = f"{seed}:{key}".encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).digest(), key
