"""`predict` on many files against the bare traced network on the same batches, and where it goes.

    python -m benchmarks.predict --run RUN --images FOLDER
    python -m benchmarks.predict --count 1000

The limit is the network alone, on batches of the right size in memory. Ours is `predict_files`, as
the command line calls it, from files to results. The stages are timed one after the other on one
core; in `predict` reading and detecting overlap with the network on as many threads as there are
cores, so their sum is more than its wall time.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.untrained_run import write_untrained_run
from dfd_tf.inference.media_faces import list_files
from dfd_tf.inference.prediction import predict_files
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.faces.extract import extract_faces
from pipelines.faces.registry import open_detector
from pipelines.media.images import read_image
from pipelines.sources.synthetic import PHOTOS, SyntheticFaces


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", help="trained run; without one an untrained network is made")
    parser.add_argument("--backbone", default="squeezenet", help="of the untrained network")
    parser.add_argument("--image-size", type=int, default=128, help="of the untrained network")
    parser.add_argument("--images", type=Path, help="folder of images; rendered if not given")
    parser.add_argument("--count", type=int, default=1000, help="files")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as folder:
        run = options.run or _untrained(Path(folder, "run"), options.backbone, options.image_size)
        predictor = load_predictor(str(run))
        files = _files(options.images, options.count, Path(folder))
        _report(predictor, files, options.threads)


def _files(images: Path | None, count: int, folder: Path) -> list[str]:
    if images is None:
        identities = -(-count // (2 * PHOTOS))
        source = SyntheticFaces(f"synthetic:{identities}", domain=None, staging=folder / "media")
        return [item.path for item in source.items()][:count]
    return list_files([str(images)])[0][:count]


def _untrained(folder: Path, backbone: str, image_size: int) -> Path:
    changes = [f"detector.backbone={backbone}", f"detector.image_size={image_size}"]
    write_untrained_run(str(folder), "spatial_small", changes=changes)
    return folder


def _report(predictor: Predictor, files: list[str], threads: int) -> None:
    seconds, encoded = _stages(predictor, files)
    decode_seconds, pixels = _timed(lambda: predictor.decode(encoded))
    predictor.score(pixels[: predictor.batch_size])
    before, _ = _timed(lambda: predictor.score(pixels))
    list(predict_files(predictor, files[:16], None, threads))
    wall, results = _timed(lambda: list(predict_files(predictor, files, None, threads)))
    after, _ = _timed(lambda: predictor.score(pixels))
    network = (before + after) / 2
    num_cores = len(os.sched_getaffinity(0))
    table = Table(
        title=f"{len(files)} files, {len(encoded)} faces, {predictor.model.detector} at "
        f"{predictor.image_size} px, {threads} threads on {num_cores} cores"
    )
    for column in ("stage", "seconds", "per file, ms"):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = {
        "reading and decoding files (1 core)": seconds["read"],
        "detecting, cropping, encoding faces (1 core)": seconds["extract"],
        "decoding and resizing crops": decode_seconds,
        "network (the limit)": network,
        "predict, wall time (ours)": wall,
        "ours beyond the limit": wall - network,
    }
    for name, value in rows.items():
        table.add_row(name, f"{value:.2f}", f"{1000 * value / len(files):.2f}")
    console = Console()
    console.print(table)
    scored = sum(result.status == "ok" for result in results)
    console.print(f"{scored} files scored", highlight=False)
    work = seconds["read"] + seconds["extract"] + decode_seconds + num_cores * network
    console.print(
        f"ours {len(files) / wall:.1f} files/s, limit {len(files) / network:.1f} files/s, "
        f"ratio {network / wall:.3f}; all stages' work spread evenly over {num_cores} cores would "
        f"take {work / num_cores:.2f} s, ratio {work / num_cores / wall:.3f}",
        highlight=False,
        soft_wrap=True,
    )


def _stages(predictor: Predictor, files: list[str]) -> tuple[dict[str, float], list[bytes]]:
    settings = predictor.settings
    detector = open_detector(settings.faces)
    seconds = {"read": 0.0, "extract": 0.0}
    encoded: list[bytes] = []
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    for path in files:
        began = time.perf_counter()
        pixels: np.ndarray = read_image(path, settings.limits).pixels
        decoded = time.perf_counter()
        found = extract_faces(pixels, detector, settings.faces, settings.crop)
        encoded += [face.encoded for face in found.faces]
        seconds["read"] += decoded - began
        seconds["extract"] += time.perf_counter() - decoded
    cv2.setNumThreads(opencv_threads)
    return seconds, encoded


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    main()
