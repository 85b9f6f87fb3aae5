"""Batches with pseudo-fakes beside those without, and beside the training step that uses them.

    python -m benchmarks.pseudo_fakes
    python -m benchmarks.pseudo_fakes spatial_small --data RECORDS --set detector.image_size=128

Images a second of the batches `train` iterates, read from records of real faces, with the shipped
augmentation: without pseudo-fakes, and with each family and all of them, where half of the images
of a batch are pseudo-fakes. `processor` is processor time an image, which says the same on a
machine that others use as well. The last line is the compiled training step on one batch in memory:
batches that come faster than that do not starve it, if the processor has cores to spare. All take
turns; the medians of the rounds are given.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from rich.console import Console
from rich.table import Table

from benchmarks.training_step import bare_step, make_records
from dfd_tf.config.loading import load_experiment
from pipelines.dataset import training_batches
from pipelines.records.manifest import load_manifest
from pipelines.settings import PSEUDO_FAKE_FAMILIES, BatchSettings, PseudoFakeSettings

SETTLING = 6
"""Batches or steps after each change of sides that are not timed: prefetched ones cost nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", nargs="?", default="spatial_small")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--data", type=Path, help="record folder; made up if not given")
    parser.add_argument("--steps", type=int, default=10, help="batches timed in a row")
    parser.add_argument("--rounds", type=int, default=3, help="times each side is timed")
    options = parser.parse_args()
    experiment = load_experiment(options.config, options.overrides)
    batch_size, side = experiment.data.batch_size, experiment.detector.image_size
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as folder:
        records = options.data or Path(folder) / "records"
        if options.data is None:
            make_records(records, 16 * batch_size, side)
        step = bare_step(experiment, records)
        plain = BatchSettings(
            image_size=side,
            batch_size=batch_size,
            labels="real",
            augment=experiment.data.augment,
            num_parallel=experiment.training.threads,
        )
        sides = {
            name: next_batch(records, replace(plain, pseudo_fakes=settings))
            for name, settings in cases().items()
        }
        sides["training step"] = step
        timings = measure(sides, batch_size, options.steps, options.rounds)
    table = Table(title=f"{options.config}: {side} pixels, batches of {batch_size}")
    for column in ("what", "images/s", "pseudo-fakes/s", "processor"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, (rate, processor) in timings.items():
        is_pseudo = name not in ("batches", "training step")
        fakes = f"{rate / 2:.0f}" if is_pseudo else ""
        table.add_row(name, f"{rate:.0f}", fakes, f"{1e3 * processor:.2f} ms")
    Console().print(table)


def cases() -> dict[str, PseudoFakeSettings | None]:
    """Pseudo-fakes by the name of the case."""
    return {
        "batches": None,
        **{
            f"batches, {family}": PseudoFakeSettings(
                **dict.fromkeys(PSEUDO_FAKE_FAMILIES, 0.0) | {family: 1.0}  # type: ignore[arg-type]
            )
            for family in PSEUDO_FAKE_FAMILIES
        },
        "batches, all three": PseudoFakeSettings(1.0, 1.0, 1.0),
    }


def next_batch(records: Path, settings: BatchSettings) -> Callable[[], Any]:
    """Returns a call that takes the next of endless training batches."""
    batches = iter(training_batches(records, load_manifest(records), settings).dataset)
    return lambda: next(batches)


def measure(
    sides: dict[str, Callable[[], Any]], batch_size: int, steps: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Returns images a second and processor seconds an image of each side."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, take in sides.items():
            for _ in range(SETTLING):
                take()
            began, used = time.perf_counter(), time.process_time()
            for _ in range(steps):
                take()
            images = steps * batch_size
            seconds, processor = time.perf_counter() - began, time.process_time() - used
            found[name].append((images / seconds, processor / images))
    return {
        name: (
            statistics.median(rate for rate, _ in values),
            statistics.median(processor for _, processor in values),
        )
        for name, values in found.items()
    }


if __name__ == "__main__":
    main()
