"""Harmonisation: every face through the same carrier, so that what tells classes apart is content.

A carrier is a size, a sharpness and a JPEG quality that (nearly) every face of both classes can be
brought down to. Uniform borders are cut off the picture before faces are looked for; each crop is
then resampled to the carrier's side, blurred by just as much as brings its effective resolution
down to the carrier's, and encoded with the carrier's quality. What was finer is lost, in all
classes alike; that is the price, and the point. Nothing can be added to what is coarser than the
carrier, so the carrier is chosen from the low tail of the coarser class.

The treatment of a face depends on its pixels alone, never on its label. The choice of the carrier
looks at the classes' sizes only to keep a rare class from hiding in the tail of a frequent one.

Effective resolution is the root mean square frequency of the gradient field, sqrt(E|laplacian|^2 /
E|gradient|^2): a second-moment bandwidth, free of contrast, that any blur or enlargement lowers.
Pictures are uint8 RGB (height, width, 3).
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from PIL import Image

from pipelines.settings import CarrierSettings, PrepareSettings

TAIL = 0.05
"""Share of a class that may lie below the carrier; what it does not reach stays as it is."""

_STEPS_PER_OCTAVE = 4
_SMALLEST_SIDE = 16
_NUM_HALVINGS = 12


@dataclass(frozen=True, slots=True)
class CarrierFacts:
    """The file a face was brought to, in place of the one it came from.

    Args:
        bytes: Size of the carrier's JPEG file.
        side: Its width and height, pixels.
        quality: Its IJG quality.
    """

    bytes: int
    side: int
    quality: int


def bandwidth(grey: np.ndarray) -> float:
    """Effective resolution of float32 grey (height, width), radians per pixel; 0 where flat."""
    across = (grey[1:-1, 2:] - grey[1:-1, :-2]) / 2
    down = (grey[2:, 1:-1] - grey[:-2, 1:-1]) / 2
    gradient = float(np.mean(across**2 + down**2))
    # The outermost pixels have neighbours on one side only: what a filter sees there is its own.
    laplacian = float(np.mean(cv2.Laplacian(grey, cv2.CV_32F)[1:-1, 1:-1] ** 2))
    return float(np.sqrt(laplacian / gradient)) if gradient > 1e-6 else 0.0


def harmonize(pixels: np.ndarray, carrier: CarrierSettings) -> tuple[np.ndarray, CarrierFacts]:
    """Brings a face crop of the carrier's side to its sharpness and quality.

    Args:
        pixels: uint8 RGB (carrier.side, carrier.side, 3).
        carrier: What to bring it to.

    Returns:
        The decoded crop, of the same size, and the facts of the file it was in. Chroma is halved
        (4:2:0): most cameras' and all videos' already is.
    """
    blurred = _blurred(pixels, carrier.bandwidth)
    data = io.BytesIO()
    Image.fromarray(blurred).save(data, "JPEG", quality=carrier.quality, subsampling=2)
    with Image.open(data) as image:
        decoded = np.asarray(image.convert("RGB"))
    return decoded, CarrierFacts(data.getbuffer().nbytes, carrier.side, carrier.quality)


def _blurred(pixels: np.ndarray, wanted: float) -> np.ndarray:
    """Blurs a crop by the least Gaussian that brings its bandwidth down to the wanted one."""
    if bandwidth(grey_levels(pixels)) <= wanted:
        return pixels
    exact = pixels.astype(np.float32)
    grey = grey_levels(pixels)
    low, high = 0.0, pixels.shape[0] / 8
    for _ in range(_NUM_HALVINGS):
        middle = (low + high) / 2
        if bandwidth(cv2.GaussianBlur(grey, (0, 0), middle)) > wanted:
            low = middle
        else:
            high = middle
    return np.clip(np.rint(cv2.GaussianBlur(exact, (0, 0), high)), 0, 255).astype(np.uint8)


def grey_levels(pixels: np.ndarray) -> np.ndarray:
    """Returns float32 grey (height, width), 0 to 255, of uint8 RGB."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)


def carrier_sides(size: int) -> list[int]:
    """Sides a carrier may have, falling: a quarter of an octave apart, none above `size`."""
    sides = [size]
    while (side := round(size * 2 ** (-len(sides) / _STEPS_PER_OCTAVE))) >= _SMALLEST_SIDE:
        sides.append(side)
    return sides


@dataclass(frozen=True, slots=True)
class MeasuredFace:
    """What the choice of a carrier needs to know of a face.

    Args:
        label: Label of its medium.
        format: Format of its medium.
        quality: JPEG quality of its medium; -1 where it has none.
        side: Side of its crop, source pixels.
        bandwidths: Effective resolution at each of `carrier_sides`, radians per pixel.
    """

    label: int
    format: str
    quality: int
    side: int
    bandwidths: tuple[float, ...]


def choose_carrier(faces: Sequence[MeasuredFace], size: int, quality: int) -> CarrierSettings:
    """Chooses the best carrier that all but a tail of each class can be brought to.

    Each value is the lowest of the classes' own `TAIL` quantiles. One quantile over all would
    leave a class that is rarer than the tail, and much of one that is not, as coarse as it is.

    Args:
        faces: At least one.
        size: Side of the stored crop: no carrier is larger.
        quality: JPEG quality where no medium is a JPEG.
    """
    sides = carrier_sides(size)
    smallest = _lowest_tail([(face.label, face.side) for face in faces])
    rung = next((i for i, side in enumerate(sides) if side <= smallest), len(sides) - 1)
    known = [(face.label, face.quality) for face in faces if face.quality > 0]
    return CarrierSettings(
        side=sides[rung],
        quality=int(_lowest_tail(known)) if known else quality,
        bandwidth=_lowest_tail([(face.label, face.bandwidths[rung]) for face in faces]),
    )


def with_carrier(settings: PrepareSettings, report: Mapping[str, Any]) -> PrepareSettings:
    """Fills in the carrier that a survey chose; as they are where there was no face to measure."""
    if not report:
        return settings
    carrier = CarrierSettings(**report["carrier"])
    return replace(settings, crop=replace(settings.crop, carrier=carrier))


def _lowest_tail(values: Sequence[tuple[int, float]]) -> float:
    # A value that occurs, not one between two: qualities and sides are whole numbers.
    return min(
        float(np.quantile([v for held, v in values if held == label], TAIL, method="lower"))
        for label in {label for label, _ in values}
    )
