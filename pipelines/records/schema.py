"""The TFRecord format, told once: fields, their types and what they may hold. Free of TensorFlow.

Writer, parsers, TFDS metadata, `tfrecords/schema.json` and the table of `tfrecords/README.md` are
all made from `FIELDS`.
"""

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.media_item import LABEL_NAMES

SCHEMA_VERSION = 1
DATASET_NAME = "faces"
IMAGE_FORMATS = ("jpeg", "png")

_SHA256 = re.compile("[0-9a-f]{64}")
# Box fractions are stored as float32, so left + width may pass 1 by a rounding error.
_BOX_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Field:
    """One feature of a record.

    Args:
        name: Key in the tf.train.Example.
        attribute: Attribute of `FaceRecord` that holds it.
        kind: `text` is UTF-8 in a bytes list.
        length: Number of values; a field of length 1 is a scalar.
        doc: Meaning, unit and range, for the README.
    """

    name: str
    attribute: str
    kind: Literal["bytes", "text", "int64", "float"]
    length: int
    doc: str


FIELDS: tuple[Field, ...] = (
    Field("image/encoded", "encoded", "bytes", 1, "the square face crop, RGB, as JPEG or PNG"),
    Field("image/format", "format", "text", 1, "`jpeg` or `png`"),
    Field("image/height", "height", "int64", 1, "height of the crop, pixels"),
    Field("image/width", "width", "int64", 1, "width of the crop, pixels"),
    Field("image/key/sha256", "sha256", "text", 1, "SHA-256 of the source media file, hex"),
    Field("image/class/label", "label", "int64", 1, "0 real, 1 fake, -1 unknown"),
    Field("image/class/text", "text", "text", 1, "`real`, `fake` or `unknown`"),
    Field("media/domain", "domain", "text", 1, "domain; its id is its place in the manifest"),
    Field("media/dataset", "dataset", "text", 1, "dataset"),
    Field("media/method", "method", "text", 1, "manipulation or generator; empty if none"),
    Field("media/video", "video", "text", 1, "`dataset/method/video`; empty for a still"),
    Field("media/identity", "identity", "text", 1, "`dataset/identity`; empty if unknown"),
    Field("media/path", "path", "text", 1, "path of the media file within its source"),
    Field("media/frame", "frame", "int64", 1, "frame number in the video; 0 for a still"),
    Field("media/time_seconds", "time_seconds", "float", 1, "time in the video; 0 for a still"),
    Field("face/index", "face_index", "int64", 1, "rank of the face in its image, surest first"),
    Field("face/box", "face_box", "float", 4, "left, top, width, height: fractions of the image"),
    Field("face/score", "face_score", "float", 1, "confidence, on the detector's own scale"),
    Field("source/format", "source_format", "text", 1, "format of the media file"),
    Field("source/bytes", "source_bytes", "int64", 1, "size of the media file"),
    Field("source/jpeg_quality", "source_jpeg_quality", "int64", 1, "its quality; -1 unknown"),
    Field("source/width", "source_width", "int64", 1, "width of the source image, pixels"),
    Field("source/height", "source_height", "int64", 1, "height of the source image, pixels"),
    Field("schema_version", "schema_version", "int64", 1, "version of this table"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceRecord:
    """One face crop with everything known about where it came from; `FIELDS` says what is what.

    Texts are str; bytes of a path that are no UTF-8 are kept as surrogate escapes.
    """

    encoded: bytes
    format: str
    height: int
    width: int
    sha256: str
    label: int
    domain: str
    dataset: str = ""
    method: str = ""
    video: str = ""
    identity: str = ""
    path: str
    frame: int = 0
    time_seconds: float = 0.0
    face_index: int = 0
    face_box: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    face_score: float = 1.0
    source_format: str
    source_bytes: int
    source_jpeg_quality: int = -1
    source_width: int
    source_height: int

    @property
    def text(self) -> str:
        """Name of the label."""
        return LABEL_NAMES[self.label]

    @property
    def schema_version(self) -> int:
        """Version of the format this code writes."""
        return SCHEMA_VERSION

    @property
    def count_key(self) -> str:
        """Key of the record in the counts of a shard: `label|domain`, such as `1|stylegan2`."""
        return f"{self.label}|{self.domain}"


def record_fault(record: FaceRecord) -> str | None:
    """Returns the first value a record may not hold, and why; None for a good record.

    The picture itself is `pictures.picture_fault`'s affair.
    """
    if record.label not in LABEL_NAMES:
        return f"image/class/label is {record.label}, expected one of {[*LABEL_NAMES]}"
    if record.format not in IMAGE_FORMATS:
        return f"image/format is {record.format!r}, expected one of {IMAGE_FORMATS}"
    if not _SHA256.fullmatch(record.sha256):
        return f"image/key/sha256 is {record.sha256!r}, expected 64 hexadecimal digits"
    if not record.domain:
        return "media/domain is empty"
    for name in ("frame", "face_index", "source_bytes"):
        if getattr(record, name) < 0:
            return f"{_name(name)} is {getattr(record, name)}, expected 0 or more"
    for name in ("height", "width", "source_width", "source_height"):
        if getattr(record, name) < 1:
            return f"{_name(name)} is {getattr(record, name)}, expected 1 or more"
    if not (math.isfinite(record.time_seconds) and record.time_seconds >= 0):
        return f"media/time_seconds is {record.time_seconds}, expected 0 or more"
    if not math.isfinite(record.face_score):
        return f"face/score is {record.face_score}, expected a finite number"
    return _box_fault(record.face_box)


def schema_json() -> str:
    """Returns the text of `tfrecords/schema.json`."""
    fields: list[dict[str, Any]] = [
        {
            "name": field.name,
            "type": "bytes" if field.kind == "text" else field.kind,
            "encoding": "utf-8" if field.kind == "text" else None,
            "shape": [] if field.length == 1 else [field.length],
            "doc": field.doc,
        }
        for field in FIELDS
    ]
    return json.dumps({"schema_version": SCHEMA_VERSION, "fields": fields}, indent=2) + "\n"


def field_table() -> str:
    """Returns the field table of `tfrecords/README.md`."""
    rows = ["| field | type | holds |", "|---|---|---|"]
    for field in FIELDS:
        kind = "bytes (UTF-8)" if field.kind == "text" else field.kind
        length = "" if field.length == 1 else f" x {field.length}"
        rows.append(f"| `{field.name}` | {kind}{length} | {field.doc} |")
    return "\n".join(rows) + "\n"


def _box_fault(box: tuple[float, ...]) -> str | None:
    inside = (
        len(box) == 4
        and all(math.isfinite(value) and value >= 0 for value in box)
        and box[0] + box[2] <= 1 + _BOX_TOLERANCE
        and box[1] + box[3] <= 1 + _BOX_TOLERANCE
    )
    if inside:
        return None
    return f"face/box is {box}, expected left, top, width, height within the image, as fractions"


def _name(attribute: str) -> str:
    return next(field.name for field in FIELDS if field.attribute == attribute)
