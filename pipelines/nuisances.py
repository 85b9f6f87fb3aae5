"""Nuisances: what tells classes apart without a look at the faces, for the shortcut audit.

Of every record the facts of its source file, and of its stored picture the statistics that
compression, scaling, cameras and cropping leave behind. A detector that can live on them learns
them and is worth nothing elsewhere; the audit asks how well they alone tell real from fake.
Free of TensorFlow. Pictures are uint8 RGB (height, width, 3).
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from pipelines.borders import border_widths, without_border
from pipelines.errors import DatasetError
from pipelines.faces.haar import HaarDetector
from pipelines.fingerprints import SIDE
from pipelines.records.manifest import ShardInfo
from pipelines.records.schema import FaceRecord
from pipelines.records.shards import iter_records

FORMAT = "format"
"""The one nuisance that is a name; its value is `MeasuredRecord.source_format`."""

_REENCODE = "re-encode both classes alike: prepare with --harmonize"
_RESAMPLE = "bring both classes to one resolution: prepare with --harmonize"
_RECROP = "crop both classes with the same face detector and margin: prepare with --faces haar"
COLLECT = "collect both classes from the same sources"


@dataclass(frozen=True, slots=True)
class Nuisance:
    """One thing that should not tell the classes apart.

    Args:
        name: Key in the audit.
        label: For people, with the unit.
        cure: What would remove the shortcut.
    """

    name: str
    label: str
    cure: str


NUISANCES = (
    Nuisance(FORMAT, "file format", _REENCODE),
    Nuisance("jpeg_quality", "JPEG quality of the file", _REENCODE),
    Nuisance("bytes", "file size, log10 bytes", _REENCODE),
    Nuisance("width", "image width, pixels", _RESAMPLE),
    Nuisance("height", "image height, pixels", _RESAMPLE),
    Nuisance("aspect", "image width / height", _RECROP),
    Nuisance("face_size", "face side, source pixels", _RESAMPLE),
    Nuisance("frame_rate", "frames per second", COLLECT),
    Nuisance("sharpness", "sharpness, log10 of the Laplacian's variance", _RESAMPLE),
    Nuisance("noise", "noise level, grey levels", _RESAMPLE),
    Nuisance("blockiness", "blockiness, log of grid over other edges", _REENCODE),
    Nuisance("colourfulness", "colourfulness", COLLECT),
    Nuisance(
        "border", "uniform border, share of the side", "crop borders: prepare with --harmonize"
    ),
    Nuisance("face_share", "face side / picture side", _RECROP),
    Nuisance("face_offset", "face off the middle, share of the side", _RECROP),
    Nuisance("face_height", "face above the middle, share of the side", _RECROP),
)
NUMERIC = tuple(nuisance.name for nuisance in NUISANCES if nuisance.name != FORMAT)

_GRID = 8
# Where whole images were taken for faces, a face in them is not a small one.
_SMALLEST_SHARE = 0.2
_HAAR_WINDOW = 24


@dataclass(frozen=True, slots=True)
class MeasuredRecord:
    """The nuisances of one record, and what it may share with others.

    Args:
        shard: File it lies in.
        split: Its split.
        path: Key of its medium.
        label: 0 real, 1 fake, -1 unknown.
        domain: Its domain.
        video: Composite key, empty for a still.
        identity: Composite key, empty where unknown.
        sha256: Of the media file.
        source_format: Format of the media file.
        values: The `NUMERIC` nuisances, NaN where it has none.
        thumbnail: uint8 grey (32, 32) of the stored picture.
    """

    shard: str
    split: str
    path: str
    label: int
    domain: str
    video: str
    identity: str
    sha256: str
    source_format: str
    values: tuple[float, ...]
    thumbnail: np.ndarray


def measure_shard(shard: ShardInfo, folder: Path, *, find_faces: bool) -> list[MeasuredRecord]:
    """Measures every record of a shard.

    Args:
        shard: Which.
        folder: The record folder.
        find_faces: Look for the face in the stored picture: where `prepare` took whole images for
            faces, how they were framed is a nuisance too. Crops of a detector are framed alike.

    Raises:
        DatasetError: The shard is damaged.
    """
    return [
        _measure(record, shard, folder / shard.file, find_faces)
        for record in iter_records(folder / shard.file)
    ]


def _measure(record: FaceRecord, shard: ShardInfo, path: Path, find_faces: bool) -> MeasuredRecord:
    bgr = cv2.imdecode(np.frombuffer(record.encoded, np.uint8), cv2.IMREAD_COLOR)
    if bgr is None:
        raise DatasetError(f"{path}: the picture of {record.path} cannot be decoded")
    pixels = cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)
    values = source_nuisances(record) | picture_nuisances(pixels)
    if find_faces:
        values |= framing_nuisances(pixels)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return MeasuredRecord(
        shard=shard.file,
        split=shard.split,
        path=record.path,
        label=record.label,
        domain=record.domain,
        video=record.video,
        identity=record.identity,
        sha256=record.sha256,
        source_format=record.source_format,
        values=tuple(values.get(name, math.nan) for name in NUMERIC),
        thumbnail=cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA),
    )


def source_nuisances(record: FaceRecord) -> dict[str, float]:
    """What the file says, in the units of `NUISANCES`; without a JPEG or a video, less."""
    width, height = record.source_width, record.source_height
    values = {
        "bytes": math.log10(max(1, record.source_bytes)),
        "width": float(width),
        "height": float(height),
        "aspect": width / height,
        "face_size": max(record.face_box[2] * width, record.face_box[3] * height),
    }
    if record.source_jpeg_quality > 0:
        values["jpeg_quality"] = float(record.source_jpeg_quality)
    if record.time_seconds > 0:
        # Frame and time of any frame but the first give the mean rate up to there.
        values["frame_rate"] = record.frame / record.time_seconds
    return values


def picture_nuisances(pixels: np.ndarray) -> dict[str, float]:
    """Statistics of a picture that say nothing about whose face it shows.

    sharpness: log10 of the variance of the Laplacian (Pech-Pacheco et al., ICPR 2000).
    noise: Immerkaer, "Fast noise variance estimation", CVIU 1996.
    blockiness: log of the mean step over the strongest 8-pixel grid over the mean of the other
        steps (after Wang, Bovik & Evans, ICIP 2000), rows and columns together.
    colourfulness: Hasler & Suesstrunk, SPIE 2003.
    border: rows and columns of one colour along the edges, together, as a share of both sides. The
        others are measured within it, or its edge would drown them.
    """
    inside, _ = without_border(pixels)
    grey = cv2.cvtColor(inside, cv2.COLOR_RGB2GRAY).astype(np.float32)
    return {
        "sharpness": sharpness(grey),
        "noise": _noise(grey),
        "blockiness": (_grid_strength(grey) + _grid_strength(grey.T)) / 2,
        "colourfulness": colourfulness(inside),
        "border": float(np.mean(border_widths(pixels) / np.repeat(pixels.shape[:2], 2))),
    }


def framing_nuisances(pixels: np.ndarray) -> dict[str, float]:
    """How large and where the surest face in a picture is; empty where Haar finds none."""
    side = max(pixels.shape[:2])
    faces = _face_finder(max(_HAAR_WINDOW, round(_SMALLEST_SHARE * side))).detect(pixels)
    if not faces:
        return {}
    left, top, width, height = faces[0].box
    x = (left + width / 2 - pixels.shape[1] / 2) / side
    y = (top + height / 2 - pixels.shape[0] / 2) / side
    return {
        "face_share": max(width, height) / side,
        "face_offset": math.hypot(x, y),
        "face_height": -y,
    }


def _noise(grey: np.ndarray) -> float:
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(grey, cv2.CV_32F, kernel)[1:-1, 1:-1]
    return float(math.sqrt(math.pi / 2) / 6 * np.abs(response).mean())


def _grid_strength(grey: np.ndarray) -> float:
    steps = np.abs(np.diff(grey, axis=1)).mean(axis=0)
    # Smooth shading has steps everywhere; only what stands out from the neighbours is a grid.
    phases = np.array([steps[phase::_GRID].mean() for phase in range(_GRID)])
    strongest = int(np.argmax(phases))
    others = np.delete(phases, strongest).mean()
    return math.log((phases[strongest] + 0.1) / (others + 0.1))


def sharpness(grey: np.ndarray) -> float:
    """log10 of the variance of the Laplacian of grey levels, float32 (height, width)."""
    return math.log10(float(cv2.Laplacian(grey, cv2.CV_32F).var()) + 1e-3)


def colourfulness(pixels: np.ndarray) -> float:
    """Colourfulness of a picture, uint8 RGB (height, width, 3): Hasler & Suesstrunk, SPIE 2003."""
    red, green, blue = (pixels[..., channel].astype(np.float32) for channel in range(3))
    opponents = (red - green, (red + green) / 2 - blue)
    spread = math.hypot(*(float(channel.std()) for channel in opponents))
    mean = math.hypot(*(float(channel.mean()) for channel in opponents))
    return spread + 0.3 * mean


@lru_cache(maxsize=1)
def _face_finder(smallest: int) -> HaarDetector:
    return HaarDetector(smallest)
