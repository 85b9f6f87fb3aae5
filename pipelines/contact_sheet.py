"""A picture of what a record folder holds: some faces of every split, label and domain."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pipelines.errors import DatasetError
from pipelines.media_item import LABEL_NAMES, SPLITS
from pipelines.records.manifest import Manifest, ShardInfo
from pipelines.records.reader import iter_records
from pipelines.records.schema import FaceRecord

TILE = 96
COLUMNS = 10
CAPTION = 18


def write_contact_sheet(records: Path, manifest: Manifest, path: Path) -> None:
    """Draws up to `COLUMNS` faces, spread over the shards, of each split, domain and label.

    Args:
        records: Record folder.
        manifest: Its manifest.
        path: PNG file to write.
    """
    rows = list(_rows(records, manifest))
    sheet = np.full((len(rows) * (TILE + CAPTION), COLUMNS * TILE, 3), 255, np.uint8)
    for row, (caption, faces) in enumerate(rows):
        top = row * (TILE + CAPTION)
        cv2.putText(
            sheet, caption, (4, top + CAPTION - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1,
            cv2.LINE_AA,
        )  # fmt: skip
        for column, face in enumerate(faces):
            left = column * TILE
            sheet[top + CAPTION : top + CAPTION + TILE, left : left + TILE] = face
    _, encoded = cv2.imencode(".png", sheet)
    path.write_bytes(encoded.tobytes())


def _rows(records: Path, manifest: Manifest) -> Iterator[tuple[str, list[np.ndarray]]]:
    for split in SPLITS:
        shards = [shard for shard in manifest.shards if shard.split == split]
        totals: dict[str, int] = {}
        for shard in shards:
            for key, number in shard.counts.items():
                totals[key] = totals.get(key, 0) + number
        for key in sorted(totals):
            label, domain = key.split("|", 1)
            holding = [shard for shard in shards if shard.counts.get(key)]
            files = [records / shard.file for shard in _spread(holding)]
            share = -(-COLUMNS // len(files))
            found = [face for file in files for face in _faces(file, int(label), domain, share)]
            caption = f"{split} / {domain} / {LABEL_NAMES[int(label)]}: {totals[key]}"
            yield caption, found[:COLUMNS]


def _spread(items: list[ShardInfo]) -> list[ShardInfo]:
    chosen = np.linspace(0, len(items) - 1, min(COLUMNS, len(items))).round().astype(int)
    return [items[index] for index in chosen]


def _faces(file: Path, label: int, domain: str, count: int) -> Iterator[np.ndarray]:
    for record in iter_records(file):
        if count == 0:
            return
        if record.label == label and record.domain == domain:
            yield _tile(record)
            count -= 1


def _tile(record: FaceRecord) -> np.ndarray:
    pixels = cv2.imdecode(np.frombuffer(record.encoded, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise DatasetError(f"{record.path}: the picture in its record cannot be decoded")
    return cv2.resize(pixels, (TILE, TILE), interpolation=cv2.INTER_AREA)
