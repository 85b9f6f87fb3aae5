"""What the HTTP interface takes and gives, as the OpenAPI document states it."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from dfd_tf.inference.media_faces import MOST_FRAMES


class _Values(BaseModel):
    # "model_" is a protected prefix of pydantic's own methods; none of them is shadowed here.
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class PredictQuery(_Values):
    """What may be asked of an image."""

    model: list[str] = Field([], description="Names of models; none: all that are loaded.")
    operating_point: Annotated[str, Field(min_length=1)] | None = Field(
        None, description="Name of a threshold of the models; none: the server's default."
    )
    explain: bool = Field(False, description="Add pictures of where the scores come from.")
    stability: bool = Field(
        False, description="Score every face after light re-delivery as well: three times the work."
    )


class JobQuery(PredictQuery):
    """What may be asked of a video."""

    frames: Annotated[int, Field(ge=1, le=MOST_FRAMES)] | None = Field(
        None, description="Evenly spaced frames; none: as many as in the model's training records."
    )
    dense: bool = Field(False, description="Every frame, or every n-th of a long video.")


class ErrorBody(_Values):
    error: str = Field(description="One line: what was found, what was expected.")


class Status(_Values):
    status: str


class OperatingPoint(_Values):
    name: str
    threshold: float
    target_fpr: float | None
    target_miss: float | None
    num_real: int
    observed_fpr: float
    rule: str


class ClipCounts(_Values):
    num_real: int
    num_fake: int


class CalibrationFacts(_Values):
    dataset: str
    num_real: int
    num_fake: int
    dataset_fingerprint: str
    video: ClipCounts | None = Field(description="Clips calibrated on; null: none.")


class Model(_Values):
    name: str
    detector: str
    model: str = Field(description="First 16 digits of the weights' sha256.")
    image_size: int
    pretrained: str
    caveats: list[str]
    calibrated: bool
    calibration: CalibrationFacts | None
    operating_points: list[OperatingPoint]
    default_operating_point: str | None
    faces: str = Field(description="How faces are found: haar, yunet, or none (whole image).")


class Limits(_Values):
    max_image_bytes: int
    max_video_bytes: int
    max_video_seconds: float
    max_pixels: int
    frames: int = Field(description="Frames of a video looked at unless asked otherwise.")
    max_frames: int


class ModelList(_Values):
    models: list[Model]
    limits: Limits
    version: str


class Size(_Values):
    width: int
    height: int


class VideoFacts(Size):
    duration_seconds: float


class Explanation(_Values):
    face: int = Field(description="Index into `faces`.")
    crop: str = Field(description="The face as the network saw it, a data URI.")
    heat: str = Field(description="Where the score comes from, a transparent PNG, a data URI.")
    reconstruction: str | None
    difference: str | None


class Result(_Values):
    """What one model says: the row of `dfd-tf predict`, without a path."""

    model_name: str
    detector: str
    model: str
    pretrained: str
    caveats: list[str]
    operating_point: str = Field(description="`uncalibrated` or `not set` where there is none.")
    promised_fpr: float | None
    promised_miss: float | None
    status: Literal["ok", "no_face"]
    kind: Literal["image", "video"]
    verdict: Literal["real", "fake", "inconclusive", "no face"] | None
    reason: str
    label: Literal["real", "fake"] | None
    score: float | None = Field(description="Higher = more likely fake; comparable per model only.")
    probability: float | None
    p_value: float | None
    p_value_fake: float | None
    threshold: float | None
    redelivered: dict[str, float] | None
    faces: list[dict[str, Any]]
    video: dict[str, Any] | None
    persons: list[dict[str, Any]]
    num_frames: int
    truncated: bool
    notes: list[str]
    error: None
    explanations: list[Explanation]


class ImageAnswer(_Values):
    kind: Literal["image"]
    sha256: str = Field(description="Of the file's bytes that were judged, hexadecimal.")
    image: Size
    results: list[Result]


class Job(_Values):
    id: str
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    stage: Literal["reading", "scoring", "explaining"]
    done: int
    total: int
    results: list[Result] | None
    kind: Literal["image", "video"] | None
    sha256: str = Field(description="Of the file's bytes, hexadecimal.")
    image: Size | None
    video: VideoFacts | None
    error: str | None


class JobAnswer(_Values):
    job: Job
