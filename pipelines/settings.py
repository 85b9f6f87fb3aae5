"""How media become records: the settings of `prepare`, stored in every manifest."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class MediaLimits:
    """What a media file may be before it is decoded (RELIABILITY.md 1.2).

    Args:
        max_image_bytes: Largest image file, bytes.
        max_pixels: Largest width times height of an image or a video frame.
        min_side: Shortest side accepted, pixels.
        max_aspect: Longest side over shortest side.
        max_video_bytes: Largest video file, bytes.
        max_video_seconds: Longest video read, seconds; reading stops there and says so.
        max_video_frames: Most frames decoded from one video; likewise.
    """

    max_image_bytes: int = 32 * 2**20
    max_pixels: int = 40_000_000
    min_side: int = 8
    max_aspect: float = 20.0
    max_video_bytes: int = 4 * 2**30
    max_video_seconds: float = 3600.0
    max_video_frames: int = 200_000


@dataclass(frozen=True)
class FaceSettings:
    """How faces are found and cropped.

    Args:
        detector: `haar`, `yunet` or `none` (the image already is a face).
        model: Path of the ONNX file for `yunet`.
        min_size: Smallest face side kept, source pixels.
        min_score: Smallest detector confidence kept (YuNet).
        margin: Border added around the face box on each side, as a fraction of its side.
        align: Rotate so that the eyes are level, where eye positions are known.
        eyes: Let Haar look for eyes with OpenCV's eye cascade (needed by `align` with `haar`).
    """

    detector: str = "haar"
    model: str | None = None
    min_size: int = 40
    min_score: float = 0.7
    margin: float = 0.3
    align: bool = False
    eyes: bool = False


@dataclass(frozen=True)
class CarrierSettings:
    """What every crop is brought to before it is stored (`pipelines.harmonization`).

    Args:
        side: Side it is resampled to, pixels.
        quality: JPEG quality it is encoded with.
        bandwidth: Effective resolution it is blurred down to, radians per pixel.
    """

    side: int
    quality: int
    bandwidth: float


@dataclass(frozen=True)
class CropSettings:
    """What is stored: a square crop of `size` pixels, encoded as `format`.

    Args:
        size: Side of the stored crop, pixels.
        format: `jpeg` or `png`.
        quality: JPEG quality; chroma is not subsampled.
        carrier: What it is brought to before, measured by `prepare`; None: nothing.
    """

    size: int = 256
    format: str = "jpeg"
    quality: int = 95
    carrier: CarrierSettings | None = None


@dataclass(frozen=True)
class PrepareSettings:
    """Everything that decides the bytes of the records.

    Args:
        frames: Frames read from a video, evenly spaced by timestamp.
        splits: Fractions of train, val, test; or None to keep the splits the sources state.
        on_overlap: What happens to kept splits that share content: `report` keeps them and has
            `train` refuse the dataset, `drop` drops the items on the training side.
        seed: Seed of the split assignment.
        harmonize: Bring all faces to one carrier (`crop.carrier`), measured over all media.
        limits: What may be decoded.
        faces: How faces are found.
        crop: What is stored.
    """

    frames: int = 32
    splits: tuple[float, float, float] | None = (0.7, 0.15, 0.15)
    on_overlap: str = "report"
    seed: int = 0
    harmonize: bool = False
    limits: MediaLimits = field(default_factory=MediaLimits)
    faces: FaceSettings = field(default_factory=FaceSettings)
    crop: CropSettings = field(default_factory=CropSettings)


def prepare_settings(values: Mapping[str, Any]) -> PrepareSettings:
    """Rebuilds settings from the plain values a manifest holds (`dataclasses.asdict`).

    Raises:
        TypeError: A key is missing or unknown.
    """
    plain = dict(values)
    if plain["splits"] is not None:
        plain["splits"] = tuple(plain["splits"])
    crop = dict(plain["crop"])
    if crop.get("carrier") is not None:
        crop["carrier"] = CarrierSettings(**crop["carrier"])
    return PrepareSettings(
        **plain
        | {
            "limits": MediaLimits(**plain["limits"]),
            "faces": FaceSettings(**plain["faces"]),
            "crop": CropSettings(**crop),
        }
    )


@dataclass(frozen=True)
class AugmentSettings:
    """Label-blind random degradations; every probability is per example, 0 turns a step off.

    Args:
        flip: Probability of a left-right flip.
        crop_scale: Area range of a random resized crop, fraction of the image; (1, 1) is off.
        rotation: Largest rotation to either side, degrees.
        rotation_probability: Probability of a rotation.
        brightness: Largest additive shift to either side, fraction of the full range.
        contrast: Largest relative change of contrast to either side.
        saturation: Largest relative change of saturation to either side.
        hue: Largest shift of hue to either side, turns.
        jpeg: Probability of a JPEG round trip.
        jpeg_quality: Range of its quality, inclusive.
        blur: Probability of a Gaussian blur.
        blur_sigma: Range of its standard deviation, pixels.
        resize: Probability of down-scaling and back, each with a random interpolation.
        resize_scale: Range of the down-scaling factor.
        noise: Probability of additive Gaussian noise.
        noise_stddev: Range of its standard deviation, fraction of the full range.
        cutout: Probability of a grey square.
        cutout_size: Range of its side, fraction of the image side.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    flip: float = 0.5
    crop_scale: tuple[float, float] = (0.8, 1.0)
    rotation: float = 20.0
    rotation_probability: float = 0.5
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1
    hue: float = 0.02
    jpeg: float = 0.3
    jpeg_quality: tuple[int, int] = (40, 100)
    blur: float = 0.1
    blur_sigma: tuple[float, float] = (0.3, 1.5)
    resize: float = 0.1
    resize_scale: tuple[float, float] = (0.5, 1.0)
    noise: float = 0.1
    noise_stddev: tuple[float, float] = (0.0, 0.03)
    cutout: float = 0.1
    cutout_size: tuple[float, float] = (0.1, 0.3)


PSEUDO_FAKE_FAMILIES = ("self_blend", "splice", "resample")
"""In the order of the targets' `family`: 1 is the first, 0 an image of the dataset."""


@dataclass(frozen=True)
class PseudoFakeSettings:
    """Fakes made of real images while training (`pipelines.blending`).

    Args:
        self_blend: Weight of the family: a face blended over itself.
        splice: Likewise: a part of another face of the batch.
        resample: Likewise: traces of resampling and of generators' upsampling.
        share: Records that hold fakes: probability that one is replaced by a pseudo-fake.
        strength: Factor on the change of colours and detail; 1 is that of the paper.
        change_real: Self-blends: probability that the change of colours and detail falls on the
            pair's real image, with the face pasted into it unchanged.
        parts: Share of masks that cover eyes, nose and mouth in any combination.
        border: Range of the width of the masks' borders, eye distances.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - read by pydantic, not a field

    self_blend: float = 1.0
    splice: float = 0.0
    resample: float = 0.0
    share: float = 0.5
    strength: float = 1.0
    change_real: float = 0.5
    parts: float = 0.4
    border: tuple[float, float] = (0.04, 0.5)

    def __post_init__(self) -> None:
        weights = (self.self_blend, self.splice, self.resample)
        if min(weights) < 0.0 or sum(weights) <= 0.0:
            raise ValueError("pseudo-fakes: weights are not negative, and one is above zero")
        if not all(0.0 <= value <= 1.0 for value in (self.share, self.change_real, self.parts)):
            raise ValueError("pseudo-fakes: share, change_real and parts lie in [0, 1]")
        if not 0.0 < self.strength <= 2.0:
            raise ValueError(f"pseudo-fakes: strength {self.strength}, expected above 0, up to 2")
        if not 0.0 < self.border[0] <= self.border[1]:
            raise ValueError(f"pseudo-fakes: border {self.border}, expected 0 < low <= high")


@dataclass(frozen=True)
class BatchSettings:
    """How shards become training batches.

    Args:
        image_size: Side of the images in a batch, pixels.
        batch_size: Global batch size.
        labels: `all`, `labelled` (real and fake) or `real` (one-class training).
        balance: `none`, `class` (equal shares of the labels) or `class_domain` (equal shares of
            the domains, and of the labels within each domain).
        shuffle_buffer: Records held for shuffling, on top of shuffling the shards.
        seed: Seed of order and augmentation.
        augment: Degradations of the training images, None for none.
        pseudo_fakes: Fakes to make of the real images, None for none.
        num_parallel: Parallel decoders; None: one a core.
    """

    image_size: int
    batch_size: int
    labels: str = "labelled"
    balance: str = "none"
    shuffle_buffer: int = 2048
    seed: int = 0
    augment: AugmentSettings | None = None
    pseudo_fakes: PseudoFakeSettings | None = None
    num_parallel: int | None = None
