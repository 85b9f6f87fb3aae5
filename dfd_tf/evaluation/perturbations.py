"""What happens to pictures on their way: recompression, resampling, noise, light, cropping.

Each perturbation is a pure function of an RGB image, uint8 (height, width, 3), a level and a random
generator, to uint8 (height, width, 3); only `crop` returns a smaller image. It knows no label.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import av
import cv2
import numpy as np
from PIL import Image

from pipelines.errors import InputError

Level = int | float
_Function = Callable[[np.ndarray, Level, np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Perturbation:
    """A perturbation with the levels it is measured at.

    Args:
        name: Name on the command line.
        meaning: What a level is, as the axis of a plot says it.
        levels: In the order of the axis.
        clean: Place on the axis, between the levels, of the picture as it is.
        apply: The function.
    """

    name: str
    meaning: str
    levels: tuple[Level, ...]
    clean: int
    apply: _Function


def jpeg(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001 - one signature for all
    """Encodes as JPEG of this quality, chroma halved (4:2:0) as most software does, and decodes."""
    return _round_trip(image, "JPEG", quality=int(level), subsampling="4:2:0")


def webp(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Encodes as lossy WebP of this quality and decodes."""
    return _round_trip(image, "WEBP", quality=int(level))


def h264(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Encodes as one intra-coded H.264 frame (libx264, 4:2:0) of this CRF and decodes.

    That is the key frame of a video. What motion compensation does to the frames between them is
    not imitated: a record holds single faces.
    """
    height, width = image.shape[:2]
    # 4:2:0 has one chroma sample for two pixels each way.
    even = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = even.shape[:2]
    encoder.pix_fmt, encoder.framerate = "yuv420p", Fraction(25)
    encoder.thread_count = 1  # more threads cut the picture into slices of their own
    encoder.options = {"crf": str(level), "preset": "medium", "x264-params": "log-level=none"}
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(even), format="rgb24")
    packets = [*encoder.encode(frame), *encoder.encode(None)]
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    (decoded,) = [*frames, *decoder.decode(None)]
    return decoded.to_ndarray(format="rgb24")[:height, :width]


def resize(resample: Image.Resampling) -> _Function:
    """Returns scaling to this share of the size and back up, both ways with one interpolation.

    Pillow's filters widen on the way down, so that nothing aliases but with `NEAREST`.
    """

    def apply(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
        height, width = image.shape[:2]
        small = (max(1, round(width * level)), max(1, round(height * level)))
        scaled = Image.fromarray(image).resize(small, resample)
        return np.asarray(scaled.resize((width, height), resample))

    return apply


def blur(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Blurs by a Gaussian of this standard deviation, in pixels."""
    return cv2.GaussianBlur(image, (0, 0), float(level), borderType=cv2.BORDER_REFLECT_101)


def noise(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:
    """Adds independent Gaussian noise of this standard deviation, in grey levels."""
    return _pixels(image + generator.normal(0.0, float(level), image.shape))


def brightness(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Adds this many grey levels."""
    return _pixels(image + float(level))


def contrast(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:  # noqa: ARG001
    """Multiplies the distance from the image's mean by this factor."""
    mean = image.mean()
    return _pixels(mean + float(level) * (image - mean))


def crop(image: np.ndarray, level: Level, generator: np.random.Generator) -> np.ndarray:
    """Keeps this share of each side, at a random place; the image is smaller then."""
    height, width = (max(1, round(side * level)) for side in image.shape[:2])
    top = int(generator.integers(image.shape[0] - height + 1))
    left = int(generator.integers(image.shape[1] - width + 1))
    return image[top : top + height, left : left + width]


_SHARES = (0.75, 0.5, 0.35, 0.25)
PERTURBATIONS = {
    one.name: one
    for one in (
        Perturbation("jpeg", "JPEG quality", (90, 70, 50, 30, 10), 0, jpeg),
        Perturbation("webp", "WebP quality", (90, 70, 50, 30, 10), 0, webp),
        Perturbation("h264", "H.264 key frame, CRF", (18, 23, 28, 35, 42), 0, h264),
        Perturbation(
            "resize_nearest", "scale, nearest", _SHARES, 0, resize(Image.Resampling.NEAREST)
        ),
        Perturbation(
            "resize_bilinear", "scale, bilinear", _SHARES, 0, resize(Image.Resampling.BILINEAR)
        ),
        Perturbation(
            "resize_bicubic", "scale, bicubic", _SHARES, 0, resize(Image.Resampling.BICUBIC)
        ),
        Perturbation(
            "resize_lanczos", "scale, Lanczos", _SHARES, 0, resize(Image.Resampling.LANCZOS)
        ),
        Perturbation("blur", "Gaussian blur, sigma in pixels", (0.5, 1.0, 1.5, 2.0, 3.0), 0, blur),
        Perturbation("noise", "Gaussian noise, sigma in grey levels", (2, 5, 10, 15, 25), 0, noise),
        Perturbation("brightness", "grey levels added", (-75, -50, -25, 25, 50, 75), 3, brightness),
        Perturbation("contrast", "contrast factor", (0.4, 0.6, 0.8, 1.25, 1.6, 2.0), 3, contrast),
        Perturbation("crop", "share of each side kept", (0.95, 0.9, 0.8, 0.7), 0, crop),
    )
}


def check_names(names: Sequence[str]) -> None:
    """Checks that perturbations are known.

    Raises:
        InputError: One is not.
    """
    if unknown := sorted(set(names) - set(PERTURBATIONS)):
        raise InputError(
            f"--perturbation: no {', '.join(unknown)} (there are {', '.join(PERTURBATIONS)})"
        )


def missing_codec(name: str) -> str | None:
    """Says why a perturbation cannot be applied on this machine; None where it can."""
    if name == "h264" and "libx264" not in av.codecs_available:
        return "this build of PyAV has no libx264"
    return None


def _round_trip(image: np.ndarray, container: str, **options: int | str) -> np.ndarray:
    data = io.BytesIO()
    Image.fromarray(image).save(data, container, **options)
    with Image.open(data) as decoded:
        return np.asarray(decoded.convert("RGB"))


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)
