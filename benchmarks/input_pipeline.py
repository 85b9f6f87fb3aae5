"""Records to training batches, against a bare libjpeg-turbo decoder on as many threads.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --images FOLDER --sizes 128 224 256 --threads 2 --batch 32

The limit decodes the same JPEG bytes, held in memory, in a loop on each thread and throws the
pixels away: the fastest of OpenCV, Pillow and tf.io at the accurate DCT. Ours are the batches
`train` iterates: read, shuffled, parsed, decoded, float32 in [0, 1]. Both take turns and the median
of the rounds' ratios is given, because a shared machine drifts. The ratio of processor time says
the same without what other processes take away.
"""

import argparse
import io
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
import tensorflow as tf
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.dataset import training_batches
from pipelines.faces.encode import encode_crop
from pipelines.records.manifest import Manifest, save_manifest, shard_name
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.settings import AugmentSettings, BatchSettings, CropSettings
from pipelines.sources.registry import open_source

WANTED = 0.9
NUM_SHARDS = 4
LOOP = 16
SETTLING = 8
"""Batches after each change of sides that are not timed: decoded in advance, they cost nothing."""

Timing = tuple[float, float]  # images a second, processor seconds an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--images", type=Path, help="folder of images; synthetic faces if not given"
    )
    parser.add_argument("--sizes", type=int, nargs="+", default=[128, 224, 256])
    parser.add_argument("--resize", type=int, default=224, help="image size of the resizing case")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--records", type=int, default=4096, help="records in an epoch")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each timing")
    options = parser.parse_args()
    table = Table(title=f"{options.threads} threads, batches of {options.batch}")
    for column in ("what", "images/s", "limit", "ratio", "processor", "wanted"):
        table.add_column(column, justify="left" if column == "what" else "right")
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as scratch:
        pictures = load_pictures(options.images, Path(scratch))
        for size in options.sizes:
            measure_size(table, pictures, size, Path(scratch) / f"records{size}", options)
    Console().print(table)


def measure_size(
    table: Table, pictures: list[Image.Image], size: int, folder: Path, options: argparse.Namespace
) -> None:
    encoded = [
        encode_crop(np.asarray(picture.resize((size, size))), CropSettings(size=size))
        for picture in pictures
    ]
    manifest = write_records(folder, encoded, size, options.records)
    name, decode = fastest_decoder(encoded, options.threads)
    cases = {"plain": (size, None), "augmented": (size, AugmentSettings())}
    if size > options.resize:
        cases[f"resized to {options.resize}"] = (options.resize, None)
    iterators = {}
    for case, (image_size, augment) in cases.items():
        settings = BatchSettings(
            image_size, options.batch, augment=augment, num_parallel=options.threads
        )
        iterators[case] = iter(training_batches(folder, manifest, settings).dataset)
        time_batches(iterators[case], 2 * options.seconds)  # DESIGN.md, trap 22
    timings: dict[str, list[tuple[Timing, Timing]]] = {case: [] for case in cases}
    for _ in range(options.rounds):
        limit = time_decoder(decode, encoded, options.threads, options.seconds)
        for case, iterator in iterators.items():
            timings[case].append((time_batches(iterator, options.seconds), limit))
    for case, rounds in timings.items():
        rates = [statistics.median(sides[side][0] for sides in rounds) for side in (0, 1)]
        ratio = statistics.median(ours[0] / limit[0] for ours, limit in rounds)
        processor = statistics.median(limit[1] / ours[1] for ours, limit in rounds)
        verdict = f">= {WANTED}: {'held' if ratio >= WANTED else 'missed'}"
        table.add_row(
            f"{size} px, {case}; limit: {name}",
            f"{rates[0]:.0f}",
            f"{rates[1]:.0f}",
            f"{ratio:.2f}",
            f"{processor:.2f}",
            verdict if case == "plain" else "report",
        )


def load_pictures(folder: Path | None, scratch: Path) -> list[Image.Image]:
    """At most 500 square pictures."""
    if folder is None:
        source = open_source("synthetic", "synthetic:8:0", domain=None, staging=scratch)
        paths = [Path(item.path) for item in source.items()]
    else:
        suffixes = {".jpg", ".jpeg", ".png"}
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in suffixes]
    pictures = []
    for path in paths[:: max(1, len(paths) // 500)][:500]:
        with Image.open(path) as image:
            side = min(image.size)
            pictures.append(image.convert("RGB").crop((0, 0, side, side)))
    if not pictures:
        raise SystemExit(f"{folder}: no JPEG or PNG files there")
    return pictures


def write_records(folder: Path, encoded: list[bytes], size: int, count: int) -> Manifest:
    folder.mkdir()
    infos = []
    for index in range(NUM_SHARDS):
        with ShardWriter(folder / shard_name("train", index, NUM_SHARDS), "train") as writer:
            for number in range(index, count, NUM_SHARDS):
                data = encoded[number % len(encoded)]
                writer.write(
                    FaceRecord(
                        encoded=data,
                        format="jpeg",
                        height=size,
                        width=size,
                        sha256="0" * 64,
                        label=number % 2,
                        domain="benchmark",
                        path=f"{number:06d}.jpg",
                        source_format="jpeg",
                        source_bytes=len(data),
                        source_width=size,
                        source_height=size,
                    )
                )
        infos.append(writer.info)
    manifest = Manifest(name="benchmark", settings={}, shards=tuple(infos), domains=("benchmark",))
    save_manifest(folder, manifest)
    return manifest


def decode_opencv(data: bytes) -> None:
    cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


def decode_pillow(data: bytes) -> None:
    Image.open(io.BytesIO(data)).load()


def decode_tensorflow(data: bytes) -> None:
    tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")


def fastest_decoder(encoded: list[bytes], threads: int) -> tuple[str, Callable[[bytes], None]]:
    cv2.setNumThreads(1)
    decoders = {"OpenCV": decode_opencv, "Pillow": decode_pillow, "tf.io": decode_tensorflow}
    rates = {
        name: max(time_decoder(decode, encoded, threads, 0.5)[0] for _ in range(3))
        for name, decode in decoders.items()
    }
    name = max(rates, key=rates.__getitem__)
    return name, decoders[name]


def time_decoder(
    decode: Callable[[bytes], None], encoded: list[bytes], threads: int, seconds: float
) -> Timing:
    done = [0] * threads
    start, processor = time.perf_counter(), time.process_time()

    def work(index: int) -> None:
        position = index * len(encoded) // threads
        while time.perf_counter() - start < seconds:
            for _ in range(LOOP):
                decode(encoded[position % len(encoded)])
                position += 1
            done[index] += LOOP

    workers = [threading.Thread(target=work, args=(index,)) for index in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    images = sum(done)
    elapsed = time.perf_counter() - start
    return images / elapsed, (time.process_time() - processor) / images


def time_batches(iterator: Iterator[tuple[tf.Tensor, object]], seconds: float) -> Timing:
    for _ in range(SETTLING):
        next(iterator)
    images = 0
    start, processor = time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        images += int(next(iterator)[0].shape[0])
    elapsed = time.perf_counter() - start
    timing = images / elapsed, (time.process_time() - processor) / images
    wait_until_idle()
    return timing


def wait_until_idle() -> None:
    """Lets background threads fill their buffers, so that they do not work in the other's time."""
    while True:
        processor = time.process_time()
        time.sleep(0.02)
        if time.process_time() - processor < 0.001:
            return


if __name__ == "__main__":
    main()
