"""From pixels to encoded faces: the one way `prepare` and `predict` both take."""

from dataclasses import dataclass

import numpy as np

from pipelines.borders import without_border
from pipelines.errors import Cause
from pipelines.faces.base import Box, Face, FaceDetector
from pipelines.faces.crop import crop_face, resized
from pipelines.faces.encode import encode_crop
from pipelines.harmonization import CarrierFacts, harmonize
from pipelines.settings import CropSettings, FaceSettings


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """A face ready to be stored or scored.

    Args:
        face: Where it was found.
        box_fractions: Its box within the image: left, top, width, height, fractions of the
            image's width and height in [0, 1].
        index: Rank among the faces kept of this image, from 0, surest first.
        encoded: The crop as JPEG or PNG.
        carrier: The carrier it was brought to, None where crops are not harmonised.
    """

    face: Face
    box_fractions: Box
    index: int
    encoded: bytes
    carrier: CarrierFacts | None = None


@dataclass(frozen=True, slots=True)
class Extraction:
    """Every face of one image: those kept, and why others were not.

    Args:
        faces: The crops, surest first.
        drops: Cause and one line of detail for each face that was dropped; a lone `NO_FACE` when
            none was found.
    """

    faces: list[FaceCrop]
    drops: list[tuple[Cause, str]]


def extract_faces(
    image: np.ndarray,
    detector: FaceDetector,
    face_settings: FaceSettings,
    crop_settings: CropSettings,
) -> Extraction:
    """Finds, crops and encodes every face of an image, uint8 RGB (height, width, 3).

    Where the whole image is the face (`none`), the smallest size does not apply. Harmonised crops
    (`crop_settings.carrier`) come from the image without its uniform border.
    """
    whole, (left, top) = image, (0, 0)
    if crop_settings.carrier is not None:
        image, (left, top) = without_border(whole)
    found = detector.detect(image)
    if not found:
        return Extraction([], [(Cause.NO_FACE, f"no face found ({face_settings.detector})")])
    smallest = 0 if face_settings.detector == "none" else face_settings.min_size
    faces: list[FaceCrop] = []
    drops: list[tuple[Cause, str]] = []
    for face in found:
        side = max(face.box[2], face.box[3])
        if side < smallest:
            reason = f"face of {side:.0f} pixels, smallest kept is {smallest}"
            drops.append((Cause.FACE_TOO_SMALL, reason))
            continue
        encoded, carrier = encode_face(image, face, face_settings, crop_settings)
        box = (face.box[0] + left, face.box[1] + top, face.box[2], face.box[3])
        fractions = _fractions(box, whole.shape[1], whole.shape[0])
        faces.append(FaceCrop(face, fractions, len(faces), encoded, carrier))
    return Extraction(faces, drops)


def encode_face(
    image: np.ndarray, face: Face, face_settings: FaceSettings, crop_settings: CropSettings
) -> tuple[bytes, CarrierFacts | None]:
    """Crops one face and encodes it as records hold it; `image` is without its border already."""
    carrier, size = crop_settings.carrier, crop_settings.size
    if carrier is None:
        pixels = crop_face(image, face, face_settings, size)
        return encode_crop(pixels, crop_settings), None
    crop = crop_face(image, face, face_settings, carrier.side)
    pixels, facts = harmonize(crop, carrier)
    return encode_crop(resized(pixels, size), crop_settings), facts


def _fractions(box: Box, width: int, height: int) -> Box:
    left, right = max(0.0, box[0]), min(float(width), box[0] + box[2])
    top, bottom = max(0.0, box[1]), min(float(height), box[1] + box[3])
    return (
        left / width,
        top / height,
        max(0.0, right - left) / width,
        max(0.0, bottom - top) / height,
    )
