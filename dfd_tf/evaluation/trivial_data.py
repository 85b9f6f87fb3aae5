"""Whether calibration images are too easy: noise, one colour, or told apart by one number.

Thresholds and probabilities from such images hold for such images. A detector that was calibrated
on random noise as its fakes has a perfect calibration file and no use.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from pipelines.media_item import FAKE, REAL
from pipelines.nuisances import colourfulness, sharpness
from pipelines.records.manifest import Manifest
from pipelines.records.shards import iter_kept

MOST_LOOKED_AT = 500
"""Images of a class that are looked at, drawn by the hash of their content."""
FEWEST_COMPARED = 10
"""Images of either class below which a perfect separation may be chance."""
_SIDE = 32
_NOISE_CORRELATION = 0.4
_ONE_COLOUR_DEVIATION = 2.0
_TELLING_SHARE = 0.05
_TELLING_AUC = 0.99

STATISTICS = ("brightness", "contrast", "colourfulness", "sharpness", "neighbour correlation")


@dataclass(frozen=True)
class PictureStatistics:
    """Numbers anyone could tell classes apart by.

    Args:
        labels: (n,) int64; 0 real, 1 fake.
        values: (n, 5) float64, in the order of `STATISTICS`.
        trivial: (n,) bool; noise, or one colour.
    """

    labels: np.ndarray
    values: np.ndarray
    trivial: np.ndarray


def picture_statistics(
    records: Path, manifest: Manifest, split: str, domains: Sequence[str] = ()
) -> PictureStatistics:
    """Measures labelled records of a split, of some domains or all, up to 500 a class.

    Raises:
        DatasetError: A shard is damaged.
    """
    counts = {REAL: 0, FAKE: 0}
    for key, count in manifest.counts()[split].items():
        label, _, domain = key.partition("|")
        if int(label) in counts and (not domains or domain in domains):
            counts[int(label)] += count
    labels, values = [], []
    for shard in manifest.split_shards(split):
        for record in iter_kept(records, manifest, shard):
            total = counts.get(record.label, 0)
            if not total or (domains and record.domain not in domains):
                continue
            # The hash draws the same images whatever the order of the shards.
            if int(record.sha256[:8], 16) / 2**32 < MOST_LOOKED_AT / total:
                with Image.open(io.BytesIO(record.encoded)) as picture:
                    values.append(picture_numbers(np.asarray(picture.convert("RGB"))))
                labels.append(record.label)
    table = np.array(values, np.float64).reshape(-1, len(STATISTICS))
    return PictureStatistics(np.array(labels, np.int64), table, is_trivial(table))


def picture_numbers(pixels: np.ndarray) -> tuple[float, ...]:
    """Returns the `STATISTICS` of one picture, uint8 RGB (height, width, 3).

    Contrast (standard deviation) and the correlation of neighbouring pixels are those of the
    picture averaged down to 32 x 32: enlarged noise has smooth neighbours, but not at that size,
    where photos of faces have correlations from 0.7 up and noise has hardly any. Colourfulness and
    sharpness are those of the audit (`pipelines.nuisances`), of the whole picture.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float64)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    centred = small - small.mean()
    variance = float(np.mean(np.square(centred)))
    neighbours = np.mean(centred[:, 1:] * centred[:, :-1]) + np.mean(centred[1:] * centred[:-1])
    return (
        float(grey.mean()),
        variance**0.5,
        colourfulness(pixels),
        sharpness(grey.astype(np.float32)),
        float(neighbours / 2 / variance) if variance > 1e-9 else 0.0,
    )


def is_trivial(values: np.ndarray) -> np.ndarray:
    """Whether pictures of these statistics (n, 5) are noise or one colour: (n,) bool."""
    contrast, correlation = values[:, 1], values[:, 4]
    return (contrast < _ONE_COLOUR_DEVIATION) | (correlation < _NOISE_CORRELATION)


def trivial_data_caveats(statistics: PictureStatistics) -> list[str]:
    """Says what makes the images too easy to calibrate on; empty where nothing does."""
    found = []
    for label, name in ((REAL, "real"), (FAKE, "fake")):
        trivial = statistics.trivial[statistics.labels == label]
        if len(trivial) and trivial.mean() >= _TELLING_SHARE:
            found.append(
                f"trivial calibration data: {trivial.sum()} of {len(trivial)} {name} images looked"
                " at are noise or one colour; what rests on them does not hold for faces"
            )
    if min(np.sum(statistics.labels == label) for label in (REAL, FAKE)) < FEWEST_COMPARED:
        return found
    aucs = [roc_auc_score(statistics.labels, column) for column in statistics.values.T]
    telling = [
        f"{name} (AUC {max(auc, 1 - auc):.3f})"
        for name, auc in zip(STATISTICS, aucs, strict=True)
        if max(auc, 1 - auc) >= _TELLING_AUC
    ]
    if telling:
        found.append(
            f"trivial calibration data: {', '.join(telling)} alone tells the fakes from the reals;"
            " rates and probabilities may be those of this shortcut"
        )
    return found
