"""The faces of one media file, found and encoded exactly as `prepare` does."""

import os
import stat
import threading
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import Cause, MediaError
from pipelines.faces.base import FaceDetector
from pipelines.faces.extract import extract_faces
from pipelines.faces.registry import open_detector
from pipelines.media.images import read_image
from pipelines.media.kinds import media_kind
from pipelines.media.videos import sample_frames
from pipelines.settings import PrepareSettings


@dataclass(frozen=True)
class FoundFace:
    """One face crop.

    Args:
        encoded: The crop as records hold it.
        box: Left, top, width, height as fractions of the image or frame.
        index: Number of the face in its image or frame.
        frame: Number of the frame, 0 for an image.
        time_seconds: Time of the frame, 0 for an image.
    """

    encoded: bytes
    box: tuple[float, float, float, float]
    index: int
    frame: int
    time_seconds: float


@dataclass
class MediaFaces:
    """What one file holds; `error` is set where it cannot be used."""

    path: str
    kind: str | None = None
    faces: list[FoundFace] = field(default_factory=list)
    num_frames: int = 0
    notes: list[str] = field(default_factory=list)
    error: MediaError | None = None


class FaceReader:
    """Reads the faces of files, from any thread; each thread has a face detector of its own."""

    def __init__(self, settings: PrepareSettings) -> None:
        self.settings = settings
        self._local = threading.local()

    def read(self, path: str) -> MediaFaces:
        """Returns the file's faces, or why it cannot be used; never raises for bad media."""
        result = MediaFaces(path)
        try:
            self._read(result)
        except MediaError as error:
            result.error = error
        return result

    def _detector(self) -> FaceDetector:
        if not hasattr(self._local, "detector"):
            self._local.detector = open_detector(self.settings.faces)
        return self._local.detector

    def _read(self, result: MediaFaces) -> None:
        _check_regular(result.path)
        result.kind = media_kind(result.path)
        if result.kind == "video":
            self._read_video(result)
        else:
            image = read_image(result.path, self.settings.limits)
            result.kind = "image"
            result.notes += image.notes
            result.num_frames = 1
            self._add(result, image.pixels, 0, 0.0)

    def _read_video(self, result: MediaFaces) -> None:
        video = sample_frames(result.path, self.settings.frames, self.settings.limits)
        for frame in video:
            result.num_frames += 1
            self._add(result, frame.pixels, frame.index, frame.time_seconds)
        result.notes += video.notes

    def _add(self, result: MediaFaces, pixels: object, frame: int, seconds: float) -> None:
        extraction = extract_faces(
            pixels, self._detector(), self.settings.faces, self.settings.crop
        )
        result.faces += [
            FoundFace(crop.encoded, crop.box_fractions, crop.index, frame, seconds)
            for crop in extraction.faces
        ]
        result.notes += [f"{cause}: {detail}" for cause, detail in extraction.drops]


def _check_regular(path: str) -> None:
    try:
        mode = Path(path).stat().st_mode
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise MediaError(path, Cause.MISSING, f"cannot be opened ({reason})") from None
    if not stat.S_ISREG(mode):
        raise MediaError(path, Cause.NOT_A_FILE, "not a regular file")


def list_files(paths: tuple[str, ...]) -> tuple[list[str], bool]:
    """Expands folders to the files below them, sorted; hidden entries are left out.

    Returns:
        The files, in the order given, and whether they are a batch (several, or a folder).
    """
    files: list[str] = []
    is_batch = len(paths) > 1
    for path in paths:
        if not Path(path).is_dir():
            files.append(path)
            continue
        is_batch = True
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            files += [str(Path(folder, n)) for n in sorted(names) if not n.startswith(".")]
    return files, is_batch
