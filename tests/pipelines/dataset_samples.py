"""Small record folders whose pictures tell their numbers."""

import hashlib
import io

from PIL import Image

from pipelines.dataset import training_batches
from pipelines.records.manifest import (
    Manifest,
    load_manifest,
    save_manifest,
    shard_name,
)
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.settings import BatchSettings

SIZE = 16
BATCH = 8
PLAIN = BatchSettings(image_size=SIZE, batch_size=BATCH, shuffle_buffer=20)


def picture(number, size=SIZE, image_format="jpeg"):
    file = io.BytesIO()
    options = {"quality": 95, "subsampling": 0} if image_format == "jpeg" else {}
    Image.new("RGB", (size, size), (number,) * 3).save(file, image_format, **options)
    return file.getvalue()


def sample(number, label=0, domain="a", encoded=None, size=SIZE, image_format="jpeg"):
    encoded = encoded or picture(number, size, image_format)
    return FaceRecord(
        encoded=encoded,
        format=image_format,
        height=size,
        width=size,
        sha256=hashlib.sha256(encoded).hexdigest(),
        label=label,
        domain=domain,
        path=f"{number:03}.jpg",
        video=f"video{number // 10}",
        source_format="jpeg",
        source_bytes=len(encoded),
        source_width=size,
        source_height=size,
    )


def write_folder(folder, shards, split="train"):
    """Writes one shard for each list of records, and the manifest."""
    infos = []
    for index, records in enumerate(shards):
        with ShardWriter(folder / shard_name(split, index, len(shards)), split) as writer:
            for record in records:
                writer.write(record)
        infos.append(writer.info)
    domains = tuple(sorted({record.domain for records in shards for record in records}))
    manifest = Manifest(name="sample", settings={}, shards=tuple(infos), domains=domains)
    save_manifest(folder, manifest)
    return load_manifest(folder)


def numbers_of(images):
    return images.numpy()[:, 0, 0, 0].tolist()


def read(batches, steps):
    """Returns the first batches: record numbers, images and targets, one entry a batch."""
    found = [(numbers_of(x), x.numpy(), y) for x, y in batches.dataset.take(steps)]
    return [list(column) for column in zip(*found, strict=True)]


def joined(batches):
    return [number for batch in batches for number in batch]


def order(folder, manifest, settings=PLAIN, epochs=1, **options):
    """Returns the record numbers of whole epochs, one list an epoch."""
    batches = training_batches(folder, manifest, settings, **options)
    steps = batches.steps_per_epoch
    per_batch = read(batches, epochs * steps)[0]
    return [joined(per_batch[e * steps : (e + 1) * steps]) for e in range(epochs)]
