"""The faces behind the figures: most wrong, borderline and clearest, with their heat maps."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from dfd_tf.detectors.base import to_unit
from dfd_tf.evaluation import plots
from dfd_tf.evaluation.report_files import Report
from dfd_tf.evaluation.samples import ScoredSamples
from dfd_tf.inference.calibration import CalibrationFile
from dfd_tf.inference.explanations import heat_overlay
from dfd_tf.inference.predictor import Predictor
from pipelines.errors import printable
from pipelines.media_item import FAKE, LABEL_NAMES, REAL
from pipelines.records.manifest import Manifest
from pipelines.records.shards import iter_kept

CASES_NAME = "cases.json"
NUM_CASES = 4
"""Most faces shown of each kind."""
PICTURE_SIDE = 160
"""Largest side of a stored picture, pixels."""
_OVERVIEW = ("false_negatives", "false_positives", "low_fakes", "high_reals", "borderline")


@dataclass(frozen=True)
class CaseGroup:
    """Faces of one kind.

    Args:
        name: The kind, such as `false_negatives`.
        count: How many images are of this kind; None where it is a matter of order, not of kind.
        places: Places of those shown among the scored faces, the most telling first.
    """

    name: str
    count: int | None
    places: tuple[int, ...]


def choose_cases(faces: ScoredSamples, threshold: float | None) -> list[CaseGroup]:
    """Chooses faces to look at; no image is shown twice.

    An image is represented by its face of the highest score, which decides for the image.

    Args:
        faces: Scores of a split.
        threshold: An image is called fake above it; None: there are no decisions, and so no errors.
    """
    deciding = _deciding_faces(faces)
    scores, labels = faces.scores[deciding], faces.labels[deciding]
    fake, real = labels == FAKE, labels == REAL
    kinds: list[tuple[str, np.ndarray, np.ndarray, bool]]
    if threshold is None:
        middle = np.abs(scores - np.median(scores))
        kinds = [
            ("low_fakes", fake, scores, False),
            ("high_reals", real, -scores, False),
            ("borderline", np.full(len(scores), True), middle, False),
            ("high_fakes", fake, -scores, False),
            ("low_reals", real, scores, False),
        ]
    else:
        called = scores > threshold
        kinds = [
            ("false_negatives", fake & ~called, scores, True),
            ("false_positives", real & called, -scores, True),
            ("borderline", np.full(len(scores), True), np.abs(scores - threshold), False),
            ("true_positives", fake & called, -scores, True),
            ("true_negatives", real & ~called, scores, True),
        ]
    kinds.append(("unlabelled", labels < 0, -scores, True))
    shown: set[int] = set()
    groups = []
    for name, mask, order, counted in kinds:
        candidates = np.flatnonzero(mask)
        ranked = candidates[np.argsort(order[candidates], kind="stable")].tolist()
        chosen = [place for place in ranked if place not in shown][:NUM_CASES]
        shown.update(chosen)
        places = tuple(int(deciding[place]) for place in chosen)
        groups.append(CaseGroup(name, int(mask.sum()) if counted else None, places))
    return groups


def write_cases(
    report: Report,
    predictor: Predictor,
    records: Path,
    manifest: Manifest,
    split: str,
    faces: ScoredSamples,
    operating_point: str,
    domains: Sequence[str] = (),
) -> None:
    """Writes cases.json, a picture of each case, and an overview of the errors, cases.png.

    Args:
        report: Where to.
        predictor: The run.
        records: Record folder.
        manifest: Its manifest.
        split: The split that was scored.
        faces: Its scores, in record order.
        operating_point: The threshold whose errors are shown.
        domains: The domains scored; empty: all.
    """
    threshold = _threshold(predictor.calibration, operating_point)
    groups = choose_cases(faces, threshold)
    places = [place for group in groups for place in group.places]
    encoded = _encoded(records, manifest, split, domains, places)
    pictures = _pictures(predictor, predictor.decode(encoded))
    row_of = {place: row for row, place in enumerate(places)}
    report.remove("cases/*.jpg")
    listed = []
    for group in groups:
        cases = []
        for number, place in enumerate(group.places, 1):
            files = {}
            for kind, images in pictures.items():
                files[kind] = f"cases/{group.name}_{number}_{kind.replace(' ', '_')}.jpg"
                report.add(files[kind], _jpeg(images[row_of[place]]))
            cases.append(_facts(faces, place, predictor.calibration) | {"pictures": files})
        listed.append({"name": group.name, "count": group.count, "cases": cases})
    content = {"operating_point": operating_point, "threshold": threshold, "groups": listed}
    report.add(CASES_NAME, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())
    overview = [(group.name, p) for group in groups for p in group.places]
    overview = [(name, place) for name, place in overview if name in _OVERVIEW] or overview
    rows = [row_of[place] for _, place in overview]
    captions = [
        f"{name.removesuffix('s').replace('_', ' ')}\n{LABEL_NAMES[int(faces.labels[place])]}"
        f" {faces.scores[place]:.4g}"
        for name, place in overview
    ]
    shown = [(kind, images[rows]) for kind, images in pictures.items()]
    title = report.context.title("Errors and borderline cases", faces)
    report.add("cases.png", plots.png_bytes(plots.picture_grid(shown, captions, title)))


def _deciding_faces(faces: ScoredSamples) -> np.ndarray:
    """Places of the highest-scored face of each image, in record order."""
    order = np.lexsort((-faces.scores, faces.keys))
    keys = faces.keys[order]
    first = np.append(True, keys[1:] != keys[:-1])
    return np.sort(order[first])


def _threshold(calibration: CalibrationFile | None, operating_point: str) -> float | None:
    for threshold in calibration.thresholds if calibration else ():
        if threshold.name == operating_point:
            return threshold.value
    return None


def _facts(faces: ScoredSamples, place: int, calibration: CalibrationFile | None) -> dict[str, Any]:
    probability = None
    if calibration is not None and calibration.probability is not None:
        probability = float(calibration.probability.apply(faces.scores[place : place + 1])[0])
    return {
        "key": printable(str(faces.keys[place])),
        "label": LABEL_NAMES[int(faces.labels[place])],
        "score": float(faces.scores[place]),
        "probability": probability,
        "domain": printable(str(faces.domains[place])),
        "method": printable(str(faces.methods[place])),
    }


def _pictures(predictor: Predictor, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What is seen of faces (n, h, w, 3) uint8: kind -> (n, h, w, 3) float in [0, 1]."""
    images = np.asarray(to_unit(pixels))
    pictures = {"face": images, "heat map": heat_overlay(images, predictor.explain(pixels))}
    reconstructions = predictor.reconstruct(pixels)
    if reconstructions is not None:
        pictures["reconstruction"] = reconstructions
    return pictures


def _jpeg(image: np.ndarray) -> bytes:
    picture = Image.fromarray(np.round(image * 255).astype(np.uint8))
    picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE))
    file = io.BytesIO()
    picture.save(file, format="JPEG", quality=88)
    return file.getvalue()


def _encoded(
    records: Path, manifest: Manifest, split: str, domains: Sequence[str], chosen: list[int]
) -> list[bytes]:
    """The face crops at some places among those of a split and its domains, in that order."""
    wanted = set(chosen)
    found: dict[int, bytes] = {}
    start = 0
    for shard in manifest.split_shards(split):
        number = sum(
            count
            for key, count in shard.counts.items()
            if not domains or key.partition("|")[2] in domains
        )
        if wanted.intersection(range(start, start + number)):
            kept = (
                record
                for record in iter_kept(records, manifest, shard)
                if not domains or record.domain in domains
            )
            for index, record in enumerate(kept, start):
                if index in wanted:
                    found[index] = record.encoded
        start += number
    return [found[index] for index in chosen]
