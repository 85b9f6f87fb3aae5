"""Did the adversary help? `dann` beside its twin with lambda = 0, on the same data and seeds.

    python -m benchmarks.domain_adversarial [--identities 60] [--seeds 1]
    python -m benchmarks.domain_adversarial --data RECORDS --config dann_small
    python -m benchmarks.domain_adversarial --data RECORDS --set data.leave_out=celebdf

Without --data it renders faces in two domains: `studio`, labelled, and `webcam`, the same renderer
behind another camera, other people, whose training images have no labels: what a detector meets in
the field. The test images of both are labelled. Both networks start from the same weights and see
the same batches; they differ in lambda only.

Read it so: with the adversary the AUC of the labelled domains should hold, that of the domain
without labels (or left out) rise, and the domain accuracy be near chance, that of the twin, whose
adversary only watches, being far above it. Accuracy far below chance is no success: the features
flee, and still hold the domain. What they do hold says the fresh probe: the balanced accuracy of a
logistic regression of the domain on the frozen features of the test images, cross-validated over
people. An adversary can be at chance while a probe is not. With few people the intervals are wide:
believe a difference only over several --seeds.
"""

import argparse
import csv
import io
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter
from rich.console import Console
from rich.table import Table
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dfd_tf.cli.console import formatted, results_console
from dfd_tf.config.detectors import DannDetector
from dfd_tf.config.experiment import Experiment
from dfd_tf.config.loading import load_experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.detectors.base import to_unit
from dfd_tf.evaluation.evaluate_run import evaluate_run
from dfd_tf.inference.predictor import Predictor, load_predictor
from dfd_tf.training.run import train
from pipelines.dataset import evaluation_batches
from pipelines.errors import MediaError
from pipelines.executors import LocalExecutor
from pipelines.media_item import UNKNOWN, MediaItem
from pipelines.prepare import prepare
from pipelines.records.manifest import load_manifest
from pipelines.settings import CropSettings, FaceSettings, PrepareSettings
from pipelines.sources.synthetic import FAMILY, SyntheticFaces

RENDERED = (
    "detector.image_size=64",
    "detector.backbone=resnet32",
    "detector.phases=[{name: all, epochs: 10, learning_rate: 0.001}]",
    "data.batch_size=16",
    "data.augment=null",
    "training.schedule.warmup_steps=20",
)
"""What makes dann_small learn rendered faces in minutes."""
_WEBCAM_SEED = 1_000
# Four families, 16 people, suffice to fill every split.
_SPLIT_OF_FAMILY = ("train", "test", "train", "val", *("train", "test", "train") * 2)
_WEBCAM_COLOURS = np.array([1.12, 1.0, 0.82])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="record folder; rendered if not given")
    parser.add_argument("--config", default="dann_small")
    parser.add_argument("--set", action="append", default=[], dest="overrides")
    parser.add_argument("--identities", type=int, default=60, help="people rendered in each domain")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each, seeds 0, 1, ...")
    parser.add_argument("--out", type=Path, help="keeps records and runs; else they are removed")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dfd-tf-") as scratch:
        out = options.out or Path(scratch)
        overrides = options.overrides
        if options.data is None:
            overrides = [*RENDERED, *overrides]
            render_domains(out / "records", options.identities)
        records = options.data or out / "records"
        results = []
        for seed in range(options.seeds):
            adversary = load_experiment(options.config, [*overrides, f"seed={seed}"])
            for experiment in (twin_of(adversary), adversary):
                run = out / f"run_lambda{peak_lambda(experiment):g}_seed{seed}"
                results.append(measure(experiment, records, run))
    results_console().print(results_table(results))


@dataclass(frozen=True)
class Result:
    """What one training came to.

    Args:
        peak_lambda: Largest strength asked for.
        seed: Seed of the training.
        auc: AUC of the label on the test split, by domain, with intervals.
        kept: Row of `history.csv` of the epoch whose weights were kept.
        last: Row of the last epoch.
        probe: `domain_probe` of the kept weights; None with fewer than two domains to test on.
        chance: `domain_chance` of the provenance.
        used: Domains trained on.
    """

    peak_lambda: float
    seed: int
    auc: Mapping[str, Any]
    kept: Mapping[str, str]
    last: Mapping[str, str]
    probe: float | None
    chance: Mapping[str, Any]
    used: Sequence[str]


def twin_of(experiment: Experiment) -> Experiment:
    """Returns the same experiment without an adversary: it watches and changes nothing."""
    detector = experiment.detector.model_copy(update={"peak_lambda": 0.0})
    return experiment.model_copy(update={"detector": detector})


def peak_lambda(experiment: Experiment) -> float:
    """Returns the largest strength an experiment asks for."""
    if not isinstance(experiment.detector, DannDetector):
        raise SystemExit(f"--config: {experiment.detector.name} has no adversary, dann has")
    return experiment.detector.peak_lambda


def measure(experiment: Experiment, records: Path, run: Path) -> Result:
    """Trains and judges one network on the test split."""
    keras.utils.clear_session()
    train(experiment, records, run, resume=run.exists(), console=Console(file=io.StringIO()))
    predictor = load_predictor(str(run))
    evaluation, _ = evaluate_run(predictor, records, "test", "balanced")
    directory = RunDirectory(run)
    rows = list(csv.DictReader(io.StringIO(directory.history.read_text())))
    facts = directory.read_json(directory.provenance)["records"]
    level = evaluation.figures["levels"]["image"]
    return Result(
        peak_lambda=peak_lambda(experiment),
        seed=experiment.seed,
        auc={name: group["auc"] for name, group in level["by_domain"].items()},
        kept=rows[predictor.model.epoch - 1],
        last=rows[-1],
        probe=domain_probe(predictor, records, facts["used_domains"]),
        chance=facts["domain_chance"],
        used=facts["used_domains"],
    )


def domain_probe(predictor: Predictor, records: Path, domains: Sequence[str]) -> float | None:
    """Returns how well a linear model, trained anew, tells the domains by the frozen features.

    Args:
        predictor: A trained `dann`.
        records: Record folder; its test split is used, images of one person never on both sides.
        domains: Names of the domains told apart.

    Returns:
        Balanced accuracy; None where the test split has images of one domain only.
    """
    manifest = load_manifest(records)
    batches = evaluation_batches(
        records, manifest, "test", predictor.image_size, 32, domains=domains, with_meta=True
    )
    embed = tf.function(lambda pixels: predictor.detector.embed(to_unit(pixels)))
    features, found, people = [], [], []
    for images, targets, meta in batches.dataset:
        features.append(embed(images).numpy())
        found.extend(targets["domain"].numpy())
        names = zip(meta["media/identity"].numpy(), meta["media/path"].numpy(), strict=True)
        people.extend(identity or path for identity, path in names)
    if len(set(found)) < 2:
        return None
    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced")
    )
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    inputs = np.concatenate(features)
    scores = cross_val_score(
        probe, inputs, found, groups=people, cv=folds, scoring="balanced_accuracy"
    )
    return float(scores.mean())


def results_table(results: Sequence[Result]) -> Table:
    """One row a training."""
    first = results[0]
    table = Table(
        title=f"domain accuracy by chance: {first.chance['uniform']:.3f} uniform, always the most "
        f"frequent {first.chance['majority']['train']:.3f} train, "
        f"{first.chance['majority']['val']:.3f} val"
    )
    table.add_column("peak lambda")
    table.add_column("seed")
    for name in first.auc:
        table.add_column(f"test AUC [95 %] {name}{'' if name in first.used else ' (left out)'}")
    for heading in ("domain accuracy, kept epoch: train", "val", "last epoch: train", "val"):
        table.add_column(heading)
    table.add_column("fresh probe")
    for result in results:
        table.add_row(
            f"{result.peak_lambda:g}",
            str(result.seed),
            *(formatted(result.auc[name]) for name in first.auc),
            *(
                f"{float(row[column]):.3f}"
                for row in (result.kept, result.last)
                for column in ("domain_accuracy", "val_domain_accuracy")
            ),
            "none" if result.probe is None else f"{result.probe:.3f}",
        )
    return table


def render_domains(out: Path, identities: int) -> None:
    """Renders the two domains and prepares them as one record folder."""
    if (out / "manifest.json").is_file():
        return
    media = out.parent / "media"
    settings = PrepareSettings(
        splits=None,
        faces=FaceSettings(margin=0.05),
        crop=CropSettings(size=64),
    )
    sources = [
        RenderedDomain(f"synthetic:{identities}", domain="studio", staging=media),
        RenderedDomain(f"synthetic:{identities}:{_WEBCAM_SEED}", domain="webcam", staging=media),
    ]
    executor = LocalExecutor(len(os.sched_getaffinity(0)))
    list(executor.run(RenderedDomain.items, sources))  # Both at once; then the files are there.
    prepare(sources, out, settings, executor)


class RenderedDomain:
    """Rendered faces with splits by family; those of `webcam` look it, and lack training labels."""

    failures: Sequence[MediaError] = ()
    skipped: Mapping[str, int] = {}

    def __init__(self, location: str, *, domain: str, staging: Path) -> None:
        self.name = domain
        self._faces = SyntheticFaces(location, domain=domain, staging=staging)

    def items(self) -> list[MediaItem]:
        return [self._finished(item) for item in self._faces.items()]

    def _finished(self, item: MediaItem) -> MediaItem:
        family = int(item.identity.rpartition("_")[2]) // FAMILY
        split = _SPLIT_OF_FAMILY[family % len(_SPLIT_OF_FAMILY)]
        if self.name != "webcam":
            return replace(item, split=split)
        path = Path(item.path).with_suffix(".webcam.jpg")
        if not path.exists():
            take_with_webcam(Path(item.path), path)
        label = item.label if split == "test" else UNKNOWN
        return replace(item, path=str(path), split=split, label=label)


def take_with_webcam(source: Path, target: Path) -> None:
    """Writes a picture as a poor camera would: soft, small, warm, flat, in coarse JPEG."""
    picture = Image.open(source).convert("RGB")
    small = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.BILINEAR)
    soft = small.resize(picture.size, Image.Resampling.BICUBIC).filter(ImageFilter.GaussianBlur(1))
    pixels = (np.asarray(soft, "float64") * 0.75 + 40) * _WEBCAM_COLOURS
    Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(target, "JPEG", quality=60)


if __name__ == "__main__":
    main()
