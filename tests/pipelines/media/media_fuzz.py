"""Run as a script by test_media_fuzz: mutates good files, or decodes bombs, and prints JSON.

A process of its own shows crashes of native code and makes peak memory measurable.

    python media_fuzz.py mutate COUNT SEED FOLDER
    python media_fuzz.py decode PATH...
"""

import json
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

import media_samples as samples
import numpy as np

from pipelines.errors import MediaError
from pipelines.media.images import read_image
from pipelines.media.kinds import media_kind
from pipelines.media.thumbnails import read_thumbnail
from pipelines.media.videos import sample_frames
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()


def good_files(folder):
    """Six formats, in the variants that take different paths through the decoders."""
    pixels = samples.picture(160, 120)
    alpha = np.dstack([pixels, pixels[..., :1]])
    exif = b"Exif\0\0" + samples.exif_block(6)
    films = [
        samples.film(folder / "x.mp4", "mp4", "libx264", num_frames=20),
        samples.film(folder / "y.mp4", "mp4", "mpeg4", num_frames=20, options={"bf": "2"}),
        samples.film(folder / "x.avi", "avi", "mjpeg", num_frames=20, pixel_format="yuvj420p"),
    ]
    return [
        samples.with_segment(samples.encode(pixels, quality=85), exif),
        samples.encode(pixels, quality=85, progressive=True),
        samples.encode(alpha, "PNG"),
        samples.encode(pixels, "WEBP", exif=exif),
        samples.animation("GIF", 1),
        samples.encode(pixels, "BMP"),
        *(film.read_bytes() for film in films),
    ]


def mutated(rng, files):
    data = bytearray(files[rng.integers(len(files))])
    kind = rng.integers(4)
    # Half of the mutations go to the first bytes, where the structure is.
    reach = len(data) if rng.integers(2) else min(len(data), 600)
    where = int(rng.integers(reach))
    if kind == 0:
        for position in rng.integers(reach, size=rng.integers(1, 12)):
            data[position] = rng.integers(256)
    elif kind == 1:
        del data[where:]
    elif kind == 2:
        other = files[rng.integers(len(files))]
        start = int(rng.integers(len(other)))
        data[where:where] = other[start : start + int(rng.integers(1, 400))]
    else:
        del data[where : where + int(rng.integers(1, 400))]
    return bytes(data)


def use(path):
    """Decodes a file every way there is; returns `ok` or the cause."""
    verdict = "ok"
    try:
        if media_kind(path) == "video":
            list(sample_frames(path, 4, LIMITS))
        else:
            read_image(path, LIMITS)
    except MediaError as error:
        verdict = error.cause
        assert str(error).isprintable()
    try:
        if media_kind(path) == "image":
            read_thumbnail(path, 32, LIMITS)
            sample_frames(path, 2, LIMITS)
    except MediaError:
        pass
    return verdict


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(paths_of_cases, folder):
    for data in good_files(folder):  # warm up: libraries and their tables
        (folder / "good").write_bytes(data)
        assert use(folder / "good") == "ok"
    before, started = peak_bytes(), time.process_time()
    verdicts, failures, slowest = Counter(), [], 0.0
    for path in paths_of_cases:
        case_started = time.process_time()
        try:
            verdicts[use(path)] += 1
        except BaseException:
            failures.append(traceback.format_exc())
        slowest = max(slowest, time.process_time() - case_started)
    return {
        "verdicts": verdicts,
        "failures": failures[:3],
        "num_failures": len(failures),
        "growth": peak_bytes() - before,
        "seconds": time.process_time() - started,
        "slowest": slowest,
    }


def mutations(count, seed, folder):
    rng = np.random.default_rng(seed)
    files = good_files(folder)
    path = folder / "mutated"
    for _ in range(count):
        path.write_bytes(mutated(rng, files))
        yield path


def main():
    warnings.simplefilter("error")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if sys.argv[1] == "mutate":
            cases = mutations(int(sys.argv[2]), int(sys.argv[3]), folder)
        else:
            cases = map(Path, sys.argv[2:])
        print(json.dumps(run(cases, folder)))


if __name__ == "__main__":
    main()
