"""The index pass: one look at every medium before anything is decided.

What it keeps of a medium are some kilobytes, so memory does not grow with the pictures.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipelines.errors import MediaError
from pipelines.fingerprints import SIDE
from pipelines.media.files import open_regular
from pipelines.media.images import read_bytes
from pipelines.media.kinds import media_kind
from pipelines.media.thumbnails import decode_thumbnail, video_thumbnails
from pipelines.media_item import MediaItem
from pipelines.records.manifest import Failure
from pipelines.settings import MediaLimits
from pipelines.shard_plan import PlannedItem

# Enough to tell that two videos show the same scene, few enough to cost little.
THUMBNAILS_PER_VIDEO = 4


@dataclass(frozen=True, slots=True)
class Indexed:
    """What one look at a medium tells.

    Args:
        planned: The medium, None when it cannot be read.
        thumbnails: uint8 grey (n, 32, 32) for the near-duplicate search.
        failure: Why it cannot be read, else None.
    """

    planned: PlannedItem | None
    thumbnails: np.ndarray
    failure: Failure | None


def index_items(items: Sequence[MediaItem], limits: MediaLimits) -> list[Indexed]:
    """Looks at each medium once: its kind, its digest, small pictures of it, or what is wrong."""
    return [_index(item, limits) for item in items]


def _index(item: MediaItem, limits: MediaLimits) -> Indexed:
    try:
        if media_kind(item.path) == "video":
            kind = "video"
            thumbnails = video_thumbnails(item.path, THUMBNAILS_PER_VIDEO, SIDE, limits)
            with open_regular(item.path) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        else:
            kind = "image"
            data = read_bytes(item.path, limits)
            thumbnails = decode_thumbnail(data, item.path, SIDE, limits)[None]
            sha256 = hashlib.sha256(data).hexdigest()
    except MediaError as error:
        failure = Failure(item.key, error.cause.value, error.reason)
        return Indexed(None, np.empty((0, SIDE, SIDE), np.uint8), failure)
    return Indexed(PlannedItem(item, kind, sha256), thumbnails, None)
