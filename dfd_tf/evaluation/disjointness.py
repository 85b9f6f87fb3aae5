"""Whether the images of another dataset are new to a run, by the sha256 of their media files.

By bytes alone: a copy that was saved, scaled or cropped anew is another file, and is not found.
(Within one dataset `prepare` looks for near copies too.)
"""

from collections.abc import Iterable
from pathlib import Path

from pipelines.errors import DfdError
from pipelines.records.manifest import Manifest, load_manifest
from pipelines.records.shards import iter_records


def media_digests(records: Path, manifest: Manifest, splits: Iterable[str]) -> set[str]:
    """Returns the sha256 of every media file with a record in these splits.

    Raises:
        DatasetError: A shard is damaged.
    """
    shards = [shard for split in splits for shard in manifest.split_shards(split)]
    return {record.sha256 for shard in shards for record in iter_records(records / shard.file)}


def num_seen(
    records: Path, manifest: Manifest, split: str, other: Path, seen_splits: Iterable[str]
) -> int | None:
    """Counts the media files of a split that are in some splits of other records as well.

    Within one dataset the manifest's split proof answers that.

    Returns:
        The number; None where the other records are not there any more to be looked at.
    """
    try:
        known = load_manifest(other)
    except DfdError:
        return None
    seen = media_digests(other, known, seen_splits)
    return len(seen & media_digests(records, manifest, [split]))
