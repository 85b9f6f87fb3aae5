"""The face detectors by name; a new one is a module and a line here."""

from collections.abc import Callable

from pipelines.errors import InputError
from pipelines.faces.base import FaceDetector
from pipelines.faces.haar import HaarDetector
from pipelines.faces.whole import WholeImage
from pipelines.faces.yunet import YuNetDetector
from pipelines.settings import FaceSettings

FACE_DETECTORS: dict[str, Callable[[FaceSettings], FaceDetector]] = {
    "haar": lambda settings: HaarDetector(settings.min_size, settings.eyes),
    "yunet": lambda settings: YuNetDetector(settings.model, settings.min_score),
    "none": lambda _: WholeImage(),
}


def open_detector(settings: FaceSettings) -> FaceDetector:
    """Returns the detector the settings name, ready to use.

    Raises:
        InputError: an unknown name, or a model file that is missing or not one.
    """
    if settings.detector not in FACE_DETECTORS:
        known = ", ".join(FACE_DETECTORS)
        raise InputError(f"faces.detector: got {settings.detector!r}, expected one of {known}")
    if settings.align and settings.detector == "haar" and not settings.eyes:
        raise InputError("faces.align with haar needs faces.eyes: it has no landmarks of its own")
    return FACE_DETECTORS[settings.detector](settings)
