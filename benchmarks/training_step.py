"""Images a second of `train` against the bare compiled training step on one batch in memory.

    python benchmarks/training_step.py spatial_small --set detector.image_size=128
    python benchmarks/training_step.py residual_ae_small --data RECORDS

The limit is `tf.function(detector.train_step)` called in a loop: no input pipeline, no callbacks.
Ours is `dfd_tf.training.run.train` as the command line calls it, from records, timed within its
first epoch. After a warm-up of both (DESIGN.md, trap 22) they take turns, because a shared machine
drifts by more than what is to be measured.
"""

import argparse
import contextlib
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf
from PIL import Image
from rich.console import Console

from dfd_tf.config.experiment import Experiment
from dfd_tf.config.loading import load_experiment
from dfd_tf.detectors.registry import build_detector, detector_class
from dfd_tf.training import run as run_module
from dfd_tf.training.data import open_training_data
from dfd_tf.training.devices import number_format, open_devices, set_seeds
from dfd_tf.training.optimizers import build_optimizer, build_rate
from dfd_tf.training.step_callbacks import Clock
from pipelines.records.manifest import Manifest, save_manifest
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.settings import PrepareSettings

SETTLING = 4
"""Steps after each change of sides that are not timed: prefetched batches are used up in them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--data", type=Path, help="record folder; made up if not given")
    parser.add_argument("--size", type=int, default=256, help="side of made-up records, pixels")
    parser.add_argument("--warmup", type=int, default=24, help="steps before timing")
    parser.add_argument("--steps", type=int, default=10, help="steps timed in a row")
    parser.add_argument("--rounds", type=int, default=6, help="times each side is timed")
    options = parser.parse_args()
    experiment = load_experiment(options.config, options.overrides)
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as folder:
        records = options.data or Path(folder) / "records"
        if options.data is None:
            steps = options.warmup + options.rounds * (SETTLING + options.steps)
            make_records(records, steps * experiment.data.batch_size, options.size)
        bare = bare_step(experiment, records)
        watch = Watch(bare, options.warmup, options.steps, options.rounds)
        patch = mock.patch.object(Clock, "on_train_batch_end", watch.on_train_batch_end)
        with patch, contextlib.suppress(_Measured):
            console = Console(file=io.StringIO())
            run_module.train(experiment, records, Path(folder) / "run", console=console)
    images = options.steps * experiment.data.batch_size
    ours, limit = np.array(watch.ours), np.array(watch.limit)
    if not len(ours):
        raise SystemExit("too few records for one epoch of that many steps; lower --rounds")
    print(
        f"{options.config} {' '.join(options.overrides)}: "
        f"ours {np.median(images / ours):.1f} images/s, limit {np.median(images / limit):.1f}, "
        f"ratio {limit.sum() / ours.sum():.3f} "
        f"(by round {', '.join(f'{ratio:.2f}' for ratio in limit / ours)})"
    )


def bare_step(experiment: Experiment, records: Path) -> Callable[[], Any]:
    """Returns a call that runs one compiled training step on one batch in memory."""
    devices = open_devices(experiment.training)
    one_class = detector_class(experiment.detector.name).is_one_class(experiment.detector)
    data = open_training_data(records, experiment, one_class=one_class)
    phase = experiment.detector.phases[0]
    set_seeds(experiment.seed)
    with number_format(devices.precision):
        detector = build_detector(experiment.detector, data.num_domains)
        detector.begin_phase(phase)
        rate = build_rate(phase, experiment.training.schedule, data.steps_per_epoch)
        detector.compile(optimizer=build_optimizer(experiment.training.optimizer, rate))
        detector.optimizer.build(detector.trainable_variables)
        batch = next(iter(data.batches(0, 0).dataset))
        step = tf.function(detector.train_step, jit_compile=detector.jit_compile)
        step(batch)
    return lambda: step(batch)


class _Measured(BaseException):
    """Ends the training once enough steps are timed."""


class Watch:
    """Times the training in turn with the bare step, within the training's first epoch."""

    def __init__(self, bare: Callable[[], Any], warmup: int, steps: int, rounds: int) -> None:
        self.bare = bare
        self.warmup = warmup
        self.steps = steps
        self.rounds = rounds
        self.ours: list[float] = []
        self.limit: list[float] = []
        self._began = 0.0

        def on_train_batch_end(clock: Clock, _: int, logs: dict[str, Any]) -> None:
            clock.position.end_step()
            self._after_step(clock.position.total_steps - warmup, logs)

        self.on_train_batch_end = on_train_batch_end

    def _after_step(self, step: int, logs: dict[str, Any]) -> None:
        if step == 0:
            self._run_bare(self.warmup)
        if step <= 0:
            return
        place = (step - 1) % (SETTLING + self.steps) + 1
        if place == SETTLING:
            float(logs["loss"])  # a GPU has done all steps up to here
            self._began = time.perf_counter()
        elif place == SETTLING + self.steps:
            float(logs["loss"])
            self.ours.append(time.perf_counter() - self._began)
            self._run_bare(SETTLING)
            self.limit.append(self._run_bare(self.steps))
            if len(self.ours) == self.rounds:
                raise _Measured

    def _run_bare(self, steps: int) -> float:
        began = time.perf_counter()
        for _ in range(steps):
            logs = self.bare()
        float(logs["loss"])
        return time.perf_counter() - began


def make_records(folder: Path, count: int, size: int) -> None:
    """Writes records of smooth random pictures with grain, which decode like photographs."""
    folder.mkdir(parents=True)
    shards = []
    for split, number in (("train", count), ("val", 16)):
        path = folder / f"faces-{split}.tfrecord-00000-of-00001"
        with ShardWriter(path, split) as writer:
            for index in range(number):
                writer.write(_record(f"{split}/{index}", index % 2, size))
        shards.append(writer.info)
    manifest = Manifest(
        name="benchmark",
        settings=asdict(PrepareSettings()),
        domains=("made-up",),
        shards=tuple(shards),
        split_proof={"leak_free": True},
    )
    save_manifest(folder, manifest)


def _record(key: str, label: int, size: int) -> FaceRecord:
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "little")
    generator = np.random.default_rng(seed)
    coarse = Image.fromarray(generator.integers(0, 256, (8, 8, 3), dtype="uint8"))
    smooth = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), "float32")
    noisy = smooth + generator.normal(0, 4, smooth.shape)
    buffer = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype("uint8")).save(
        buffer, "JPEG", quality=95, subsampling=0
    )
    encoded = buffer.getvalue()
    return FaceRecord(
        encoded=encoded,
        format="jpeg",
        height=size,
        width=size,
        sha256=hashlib.sha256(encoded).hexdigest(),
        label=label,
        domain="made-up",
        path=key,
        source_format="jpeg",
        source_bytes=len(encoded),
        source_width=size,
        source_height=size,
    )


if __name__ == "__main__":
    main()
