"""How fast `prepare` is against a bare loop, how it scales to two workers, and its memory.

    python -m benchmarks.prepare [--images FOLDER] [--count 1000] [--large 10000]

Without --images it renders faces itself. The bare loop decodes (Pillow), detects (the same
detector), crops (a slice) and encodes (OpenCV, same quality) the same files in one process and
keeps nothing. Limits: at least 0.85 of the bare loop; two workers at least 1.7 times one; peak
memory at most 1 GB, and at --large images at most 100 MB above --count.

Run it on an idle machine: other processes take the second core first. Memory is the peak of the
parent plus that of its largest worker times their number, an upper bound: Linux counts the parent's
size for a worker just forked.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table

from pipelines.executors import LocalExecutor
from pipelines.faces.registry import open_detector
from pipelines.prepare import prepare
from pipelines.settings import PrepareSettings
from pipelines.sources.registry import open_source

SETTINGS = PrepareSettings()
MEGABYTE = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of images to use, any depth")
    parser.add_argument("--count", type=int, default=1_000, help="images timed")
    parser.add_argument("--large", type=int, default=10_000, help="images for the memory; 0: none")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        media, out, workers = arguments.worker
        _measure_prepare(Path(media), Path(out), int(workers))
        return
    console = Console()
    with tempfile.TemporaryDirectory() as scratch:
        table = _benchmark(Path(scratch), arguments, console)
    console.print(table)


def _benchmark(scratch: Path, arguments: argparse.Namespace, console: Console) -> Table:
    pictures = _pictures(arguments.images, scratch)
    small = _media(pictures, scratch / "small", arguments.count)
    with console.status(f"bare loop over {arguments.count:,} images"):
        bare = arguments.count / _bare_loop(small)
    with console.status("prepare, one worker"):
        one = _in_process(small, scratch / "one", 1)
    with console.status("prepare, two workers"):
        two = _in_process(small, scratch / "two", 2)
    rates = [arguments.count / run["seconds"] for run in (one, two)]

    table = Table(title=f"prepare: {arguments.count:,} images", title_justify="left")
    for column in ("what", "ours", "limit", "ratio", "wanted", ""):
        table.add_column(column, justify="left" if column == "what" else "right")
    _add(table, "1 worker against the bare loop, images/s", rates[0], bare, 0.85)
    _add(table, "2 workers against 1, images/s", rates[1], rates[0], 1.7)
    peak = one["megabytes"]
    _add_memory(table, f"peak at {arguments.count:,} images, 1 worker, MB", peak, 1024)
    if arguments.large:
        large = _media(pictures, scratch / "large", arguments.large)
        with console.status(f"prepare, {arguments.large:,} images"):
            many = _in_process(large, scratch / "many", 2)
        label = f"peak at {arguments.large:,} images, 2 workers, MB"
        _add_memory(table, label, many["megabytes"], 1024)
        # The same processes at both sizes: the parent's growth is what must stay flat.
        label = f"parent's growth from {arguments.count:,} images, 2 workers, MB"
        _add_memory(table, label, many["parent"] - two["parent"], 100)
    return table


def _add(table: Table, what: str, ours: float, limit: float, wanted: float) -> None:
    ratio = ours / limit
    verdict = "[green]held" if ratio >= wanted else "[red]missed"
    numbers = (f"{ours:.1f}", f"{limit:.1f}", f"{ratio:.2f}", f">= {wanted}")
    table.add_row(what, *numbers, verdict)


def _add_memory(table: Table, what: str, ours: float, limit: float) -> None:
    verdict = "[green]held" if ours <= limit else "[red]missed"
    table.add_row(what, f"{ours:.0f}", f"{limit:.0f}", f"{ours / limit:.2f}", "<= 1", verdict)


def _pictures(folder: Path | None, scratch: Path) -> list[Path]:
    if folder is None:
        source = open_source("synthetic", "synthetic:20:0", domain=None, staging=scratch / "faces")
        return [Path(item.path) for item in source.items()]
    found = [path for path in sorted(folder.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
    if not found:
        raise SystemExit(f"{folder}: no JPEG files there")
    return found


def _media(pictures: list[Path], folder: Path, count: int) -> Path:
    """A folder of `count` different files: repeats get a comment behind the picture's end."""
    for number in range(count):
        source = pictures[number % len(pictures)]
        target = folder / ("fake" if number % 2 else "real") / f"{number:06d}.jpg"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes() + number.to_bytes(8, "big"))
    return folder


def _bare_loop(folder: Path) -> float:
    """Seconds for decode, detect, crop, resize and encode, and nothing else."""
    cv2.setNumThreads(1)
    detector = open_detector(SETTINGS.faces)
    size, quality = SETTINGS.crop.size, SETTINGS.crop.quality
    how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
    paths = sorted(folder.rglob("*.jpg"))
    start = time.perf_counter()
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        for face in detector.detect(pixels):
            left, top, width, height = face.box
            margin = SETTINGS.faces.margin * width
            rows = slice(max(0, round(top - margin)), round(top + height + margin))
            columns = slice(max(0, round(left - margin)), round(left + width + margin))
            crop = cv2.resize(pixels[rows, columns], (size, size), interpolation=cv2.INTER_AREA)
            bgr = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
            cv2.imencode(".jpg", bgr, [*how, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
    return time.perf_counter() - start


def _in_process(media: Path, out: Path, workers: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.prepare", "--worker", str(media), str(out)]
    command.append(str(workers))
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _measure_prepare(media: Path, out: Path, workers: int) -> None:
    import resource

    start = time.perf_counter()
    source = open_source("folder", str(media), domain=None, staging=out)
    prepare([source], out, SETTINGS, LocalExecutor(workers))
    seconds = time.perf_counter() - start
    parent, child = (
        resource.getrusage(who).ru_maxrss * 1024 / MEGABYTE
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    total = parent + (child * workers if workers > 1 else 0)
    print(json.dumps({"seconds": seconds, "megabytes": total, "parent": parent}))


if __name__ == "__main__":
    main()
