"""Photos to prepare, and what `prepare` makes of them."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.executors import LocalExecutor
from pipelines.prepare import prepare
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records
from pipelines.settings import CropSettings, FaceSettings, PrepareSettings
from pipelines.sources.registry import open_source

REPOSITORY = Path(__file__).resolve().parents[2]
WHOLE = PrepareSettings(
    faces=FaceSettings(detector="none"), crop=CropSettings(size=32, format="png")
)
NUM_IMAGES = 230


def draw(path: Path, seed: int, size: int = 32) -> None:
    """Writes a picture unlike that of any other seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC).save(path)


def sources(*locations: Path, staging: Path = Path("unused")):
    return [open_source("auto", str(place), domain=None, staging=staging) for place in locations]


def run(photos: Path, out: Path, settings=WHOLE, workers=1, **options):
    return prepare(sources(photos), out, settings, LocalExecutor(workers), **options)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a record folder but the lock."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def records(folder: Path):
    return [
        (shard.split, record)
        for shard in load_manifest(folder).shards
        for record in iter_records(folder / shard.file)
    ]


# Kills itself inside the nth call of a function, before (`-`) or after (`+`) its work.
KILLED = """
import importlib, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from prepare_samples import run
module, name, moment, number = sys.argv[4].split()
owner = importlib.import_module(module)
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
name = name.split(".")[-1]
original, calls = getattr(owner, name), 0

def killing(*args, **kwargs):
    global calls
    calls += 1
    if moment == "-" and calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if moment == "+" and calls == int(number):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, killing)
run(Path(sys.argv[2]), Path(sys.argv[3]))
"""
