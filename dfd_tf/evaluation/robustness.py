"""How scores and decisions change when the pictures are degraded.

The image of a record is decoded, perturbed at its own size, and then goes the way of every image:
the detector's own resize, the network. All runs see the same perturbed pictures, and both classes
are treated alike. What was measured is stored level by level, so that a second call goes on.
"""

import io
import os
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from etils import epath
from PIL import Image

from dfd_tf.evaluation.evaluate import counts, fill_interval, metric
from dfd_tf.evaluation.intervals import bootstrap_intervals
from dfd_tf.evaluation.metrics import decision_metrics, ranking_metrics
from dfd_tf.evaluation.perturbations import (
    PERTURBATIONS,
    Level,
    Perturbation,
    check_names,
    missing_codec,
)
from dfd_tf.evaluation.samples import ScoredSamples, image_level
from dfd_tf.evaluation.scoring import Progress, scored_records
from dfd_tf.evaluation.stored_figures import StoredRobustness, checked_json
from dfd_tf.inference.predictor import Predictor
from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest
from pipelines.records.schema import FaceRecord
from pipelines.records.shards import iter_kept

ROBUSTNESS_NAME = "robustness.json"
DEFAULT_IMAGES = 400
SCHEMA_VERSION = 1
_RATES = {"flip_rate": (REAL, FAKE), "fpr": (REAL,), "recall": (FAKE,)}


@dataclass(frozen=True)
class Sweep:
    """What is measured on which faces.

    Args:
        predictor: The run.
        records: Faces of labelled images, in record order.
        places: Their places in the split: the seeds of what is random.
        threshold: Above which an image is called fake; None: no decisions.
    """

    predictor: Predictor
    records: Sequence[FaceRecord]
    places: Sequence[int]
    threshold: float | None

    def samples(
        self, perturbation: Perturbation | None, level: Level, advance: Callable[[int], None]
    ) -> ScoredSamples:
        """Scores the faces under a perturbation, or as they are, at image level."""

        def degraded(number: int) -> bytes:
            image = decode_record(self.records[number])
            if perturbation is not None:
                name = f"{perturbation.name} {level}".encode()
                generator = np.random.default_rng([zlib.crc32(name), self.places[number]])
                image = perturbation.apply(image, level, generator)
            return _lossless(image)

        scores = []
        size = self.predictor.batch_size
        with ThreadPoolExecutor(len(os.sched_getaffinity(0)), "perturb") as pool:
            for start in range(0, len(self.records), size):
                encoded = [*pool.map(degraded, range(start, min(start + size, len(self.records))))]
                scores.append(self.predictor.score_encoded(encoded))
                advance(len(encoded))
        return image_level(scored_records(self.records, np.concatenate(scores)))


def measure_robustness(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    operating_point: str,
    folder: epath.Path,
    *,
    perturbations: Sequence[str] = (),
    num_images: int = DEFAULT_IMAGES,
    domains: Sequence[str] = (),
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures what is not in the folder's robustness.json yet, and writes it there.

    Args:
        predictor: The run.
        records: Record folder.
        manifest: Its manifest.
        split: Its split.
        operating_point: Whose decisions may flip.
        folder: Report folder, which is there.
        perturbations: Names; empty: all.
        num_images: Images used at most, half of them of each class, spread over the split.
        domains: The domains judged; empty: all.
        progress: Told how many faces have been scored, of how many.

    Returns:
        Content of robustness.json.

    Raises:
        InputError: A perturbation of no such name, or no labelled images.
        DatasetError: A shard is damaged.
    """
    check_names(perturbations)
    sweep, total = _choose(
        predictor, records, manifest, split, operating_point, domains, num_images
    )
    figures: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "run": str(predictor.run),
        "weights_sha256": predictor.model.sha256,
        "dataset": manifest.name,
        "dataset_fingerprint": manifest.fingerprint(),
        "split": split,
        "domains": sorted(set(domains)),
        "level": "image",
        "operating_point": operating_point,
        "threshold": sweep.threshold,
        "seed": predictor.experiment.seed,
        "num_images_of_split": total,
        "interval": "95 % percentile bootstrap over persons, videos or images; rates of 0 and 1:"
        " Wilson over the same; auc_change is paired with the clean images",
        **counts(image_level(scored_records(sweep.records, np.zeros(len(sweep.records))))),
    }
    measured = _measured_before(folder, figures)
    names = [name for name in PERTURBATIONS if not perturbations or name in perturbations]
    wanted = [
        (PERTURBATIONS[name], level)
        for name in names
        if missing_codec(name) is None
        for level in PERTURBATIONS[name].levels
    ]
    missing = [one for one in wanted if _find(measured, *one) is None]
    figures["not_measured"] = {
        name: reason for name in names if (reason := missing_codec(name)) is not None
    }
    figures["clean"] = measured.get("clean")
    figures["perturbations"] = measured.get("perturbations", {})
    if missing or figures["clean"] is None:
        _measure(sweep, missing, figures, folder, progress)
    figures["worst"] = worst_cases(figures)
    _write(sweep, folder, figures)
    return figures


def _measure(
    sweep: Sweep,
    missing: Sequence[tuple[Perturbation, Level]],
    figures: dict[str, Any],
    folder: epath.Path,
    progress: Progress | None,
) -> None:
    """Measures levels and stores each as soon as it is known."""
    total = len(sweep.records) * (len(missing) + 1)
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress is not None:
            progress(done, total)

    clean = sweep.samples(None, 0, advance)
    seed = figures["seed"]
    unchanged = level_figures(clean, clean, sweep.threshold, seed)
    # No sampling error: nothing flips where nothing is done.
    unchanged["flip_rate"] |= {"low": None, "high": None}
    figures["clean"] = unchanged
    for perturbation, level in missing:
        found = level_figures(
            clean, sweep.samples(perturbation, level, advance), sweep.threshold, seed
        )
        entry = figures["perturbations"].setdefault(
            perturbation.name, {"meaning": perturbation.meaning, "levels": []}
        )
        entry["levels"].append({"level": level, **found})
        entry["levels"].sort(key=lambda one, axis=perturbation.levels: axis.index(one["level"]))
        _write(sweep, folder, figures)


def level_figures(
    clean: ScoredSamples, perturbed: ScoredSamples, threshold: float | None, seed: int
) -> dict[str, Any]:
    """Compares scores of perturbed images with those of the same images as they were.

    Args:
        clean: Image level, labelled.
        perturbed: The same images in the same order.
        threshold: Above which an image is called fake; None: no decisions.
        seed: Seed of the bootstrap.

    Returns:
        `auc`, `auc_change` (perturbed less clean), `flip_rate` (share of the images whose decision
        changes), `fpr` and `recall`, each with its interval; undefined ones hold None.
    """
    labels = clean.labels

    def metrics(weights: np.ndarray) -> dict[str, np.ndarray]:
        auc = ranking_metrics(labels, perturbed.scores, weights)["auc"]
        before = ranking_metrics(labels, clean.scores, weights)["auc"]
        found = {"auc": auc, "auc_change": auc - before}
        if threshold is not None:
            called = perturbed.scores > threshold
            flipped = called != (clean.scores > threshold)
            decisions = decision_metrics(labels, called, weights)
            found["flip_rate"] = weights @ flipped.astype(np.float64) / weights.sum(axis=1)
            found |= {name: decisions[name] for name in ("fpr", "recall")}
        return found

    values = metrics(np.ones((1, len(labels))))
    intervals = bootstrap_intervals(metrics, clean.clusters, labels, seed)
    undefined = dict.fromkeys(_RATES, np.array([np.nan]))
    figures = {
        name: metric(value[0], intervals.get(name)) for name, value in (undefined | values).items()
    }
    for name, of_labels in _RATES.items():
        fill_interval(figures[name], clean.clusters[np.isin(labels, of_labels)])
    return figures


def worst_cases(figures: dict[str, Any]) -> dict[str, Any]:
    """Names the levels of lowest AUC and of highest flip rate; None where that is undefined."""
    rows = [
        {"perturbation": name, "level": found["level"], "auc": found["auc"]["value"],
         "flip_rate": found["flip_rate"]["value"]}
        for name, entry in figures["perturbations"].items()
        for found in entry["levels"]
    ]  # fmt: skip
    ranked = [row for row in rows if row["auc"] is not None]
    flipped = [row for row in rows if row["flip_rate"] is not None]
    return {
        "auc": min(ranked, key=lambda row: row["auc"], default=None),
        "flip_rate": max(flipped, key=lambda row: row["flip_rate"], default=None),
    }


def decode_record(record: FaceRecord) -> np.ndarray:
    """Decodes the face crop of a record at its own size: (height, width, 3) uint8 RGB."""
    with Image.open(io.BytesIO(record.encoded)) as picture:
        return np.asarray(picture.convert("RGB"))


def _choose(
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    operating_point: str,
    domains: Sequence[str],
    num_images: int,
) -> tuple[Sweep, int]:
    """Takes images evenly from the split; returns them and the number there are."""
    labels: dict[tuple[str, int], int] = {}
    for _, record in _labelled(records, manifest, split, domains):
        labels.setdefault((record.path, record.frame), record.label)
    if not labels:
        raise InputError(f"{records}: its {split} split has no labelled images")
    classes = sorted(set(labels.values()))
    chosen: set[tuple[str, int]] = set()
    for label in classes:
        keys = [key for key, found in labels.items() if found == label]
        places = np.linspace(0, len(keys) - 1, min(len(keys), max(1, num_images // len(classes))))
        chosen |= {keys[place] for place in places.round().astype(int).tolist()}
    kept = [
        (place, record)
        for place, record in _labelled(records, manifest, split, domains)
        if (record.path, record.frame) in chosen
    ]
    threshold = None
    calibration = predictor.calibration
    if calibration is not None and operating_point not in calibration.missing:
        threshold = calibration.threshold(operating_point).value
    sweep = Sweep(
        predictor, [record for _, record in kept], [place for place, _ in kept], threshold
    )
    return sweep, len(labels)


def _labelled(
    records: Path, manifest: Manifest, split: str, domains: Sequence[str]
) -> Iterator[tuple[int, FaceRecord]]:
    place = 0
    for shard in manifest.split_shards(split):
        for record in iter_kept(records, manifest, shard):
            if record.label in (REAL, FAKE) and (not domains or record.domain in domains):
                yield place, record
            place += 1


def _measured_before(folder: epath.Path, figures: dict[str, Any]) -> dict[str, Any]:
    """Returns the folder's robustness.json if weights, images and settings are these."""
    try:
        found = checked_json((folder / ROBUSTNESS_NAME).read_bytes(), StoredRobustness)
        same = all(found.get(key) == value for key, value in figures.items() if key != "run")
        return found if same else {}
    except (OSError, ValueError):
        return {}


def _find(measured: dict[str, Any], perturbation: Perturbation, level: Level) -> Any:
    entry = measured.get("perturbations", {}).get(perturbation.name, {"levels": []})
    return next((found for found in entry["levels"] if found["level"] == level), None)


def _write(sweep: Sweep, folder: epath.Path, figures: dict[str, Any]) -> None:
    sweep.predictor.run.write_json(folder / ROBUSTNESS_NAME, figures)


def _lossless(image: np.ndarray) -> bytes:
    """Encodes without compression: nothing but the detector's own way is left to go."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 0])
    if not done:
        raise ValueError("PNG encoding failed")
    return data.tobytes()
