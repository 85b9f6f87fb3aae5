"""Small record folders for the tests; run as a program it writes `tfrecords/sample`."""

import hashlib
import io
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.records.manifest import Manifest, load_manifest, save_manifest, shard_name
from pipelines.records.schema import FaceRecord
from pipelines.records.tfds_metadata import write_tfds_metadata
from pipelines.records.writer import ShardWriter

SIDE = 24
SIZES = (("train", 6), ("train", 5), ("val", 4), ("test", 3))


def noise(number, side=SIDE):
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), np.uint8)


def encode(pixels, image_format="png"):
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "jpeg" else {}
    Image.fromarray(pixels).save(file, image_format, **options)
    return file.getvalue()


def sample_record(number, pixels=None, image_format="png", **changes):
    """A good record that no other number gives; `changes` replace values."""
    encoded = encode(noise(number) if pixels is None else pixels, image_format)
    record = FaceRecord(
        encoded=encoded,
        format=image_format,
        height=SIDE if pixels is None else pixels.shape[0],
        width=SIDE if pixels is None else pixels.shape[1],
        sha256=hashlib.sha256(f"media {number}".encode()).hexdigest(),
        label=number % 2,
        domain=("here", "there")[number // 2 % 2],
        dataset="sample",
        method="swap" if number % 2 else "",
        identity=f"sample/person {number}",
        path=f"{number:03}.{image_format}",
        face_box=(0.25, 0.25, 0.5, 0.5),
        face_score=1.5,
        source_format=image_format,
        source_bytes=len(encoded),
        source_width=2 * SIDE,
        source_height=2 * SIDE,
    )
    return replace(record, **changes)


def write_folder(folder, sizes=SIZES, records=None, **changes):
    """Writes shards of the given splits and sizes, and their manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    records = iter(records or map(sample_record, range(1000)))
    splits = [split for split, _ in sizes]
    shards = []
    for position, (split, size) in enumerate(sizes):
        name = shard_name(split, splits[:position].count(split), splits.count(split))
        with ShardWriter(folder / name, split) as writer:
            for _ in range(size):
                writer.write(next(records))
        shards.append(writer.info)
    manifest = Manifest(
        name=folder.name,
        settings={},
        shards=tuple(shards),
        domains=("here", "there"),
        split_proof={"leak_free": True},
    )
    save_manifest(folder, replace(manifest, **changes))
    return load_manifest(folder)


def write_sample(folder):
    """Writes the sample of the repository: gradients and noise, JPEG and PNG."""
    shutil.rmtree(folder, ignore_errors=True)
    rows, columns = np.mgrid[0:64, 0:64].astype(np.float64)
    records = []
    for number in range(8):
        planes = [rows * 3, columns * 3, (rows + columns + 30 * number) % 256]
        grain = np.random.default_rng(number).normal(0, 4 * (number % 3), (64, 64, 3))
        pixels = np.clip(np.stack(planes, -1) + grain, 0, 255).astype(np.uint8)
        records.append(sample_record(number, pixels, "png" if number == 3 else "jpeg"))
    manifest = write_folder(folder, (("train", 4), ("val", 2), ("test", 2)), records)
    write_tfds_metadata(folder, manifest)


if __name__ == "__main__":
    write_sample(Path(__file__).resolve().parents[3] / "tfrecords" / "sample")
