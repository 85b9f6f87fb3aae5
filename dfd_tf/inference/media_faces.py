"""The faces of one media file, found and encoded exactly as `prepare` does."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dfd_tf.inference.redelivery import REDELIVERIES, moved_face
from pipelines.borders import without_border
from pipelines.errors import Cause, MediaError
from pipelines.faces.base import Box, Face
from pipelines.faces.extract import encode_face, extract_faces
from pipelines.faces.registry import open_detector
from pipelines.media.images import read_image
from pipelines.media.kinds import media_kind
from pipelines.media.videos import sample_frames
from pipelines.settings import PrepareSettings
from pipelines.sources.walking import walk


@dataclass(frozen=True)
class FoundFace:
    """One face crop.

    Args:
        encoded: The crop as records hold it.
        box: Left, top, width, height as fractions of the image or frame.
        index: Number of the face in its image or frame.
        frame: Number of the frame, 0 for an image.
        time_seconds: Time of the frame, 0 for an image.
        redelivered: The same crop out of re-delivered copies of the image or frame, encoded
            likewise, in the order of `REDELIVERIES`; empty unless they were asked for.
    """

    encoded: bytes
    box: Box
    index: int
    frame: int
    time_seconds: float
    redelivered: tuple[bytes, ...] = ()


@dataclass
class MediaFaces:
    """What one file holds.

    Args:
        path: The file.
        kind: `image` or `video`, None where it is neither.
        faces: Its face crops, frame by frame, surest first; none where there is an error.
        num_frames: Frames looked at.
        truncated: Whether frames are missing: a cut video, or one over a limit.
        notes: What was converted, left out or cut short, one line each.
        error: Why it cannot be used.
    """

    path: str
    kind: str | None = None
    faces: list[FoundFace] = field(default_factory=list)
    num_frames: int = 0
    truncated: bool = False
    notes: list[str] = field(default_factory=list)
    error: MediaError | None = None

    @property
    def crops(self) -> list[bytes]:
        """What is scored: all faces, then all of them after each re-delivery."""
        redelivered = zip(*(face.redelivered for face in self.faces), strict=True)
        return [face.encoded for face in self.faces] + [one for row in redelivered for one in row]


class FaceReader:
    """Reads the faces of files, from any thread; each thread has a face detector of its own.

    Args:
        settings: How faces were found and cropped in the training records.
        stability: Cut the faces out of re-delivered copies as well.

    Raises:
        InputError: The face detector cannot be opened.
    """

    def __init__(self, settings: PrepareSettings, *, stability: bool = False) -> None:
        self.settings = settings
        self.stability = stability
        open_detector(settings.faces)  # a missing model shows here, not in a thread
        self._local = threading.local()

    def read(self, path: str) -> MediaFaces:
        """Returns the file's faces, or why it cannot be used; never raises for bad media."""
        result = MediaFaces(path)
        try:
            self._read(result)
        except MediaError as error:
            # A score from the frames before the fault would pass for that of the whole file.
            result.faces.clear()
            result.error = error
        return result

    def _read(self, result: MediaFaces) -> None:
        drops: list[tuple[Cause, str]] = []
        if media_kind(result.path) == "video":
            result.kind = "video"
            video = sample_frames(result.path, self.settings.frames, self.settings.limits)
            result.truncated = video.truncated
            result.notes += video.notes
            for frame in video:
                drops += self._add(result, frame.pixels, frame.index, frame.time_seconds)
        else:
            image = read_image(result.path, self.settings.limits)
            result.kind = "image"
            result.notes += image.notes
            drops += self._add(result, image.pixels, 0, 0.0)
        result.notes += _summary(drops, result.num_frames)

    def _add(
        self, result: MediaFaces, pixels: np.ndarray, frame: int, seconds: float
    ) -> list[tuple[Cause, str]]:
        if not hasattr(self._local, "detector"):
            self._local.detector = open_detector(self.settings.faces)
        settings = self.settings
        found = extract_faces(pixels, self._local.detector, settings.faces, settings.crop)
        result.num_frames += 1
        faces = [crop.face for crop in found.faces]
        again = self._redelivered(pixels, faces) if self.stability else [()] * len(faces)
        result.faces += [
            FoundFace(crop.encoded, crop.box_fractions, crop.index, frame, seconds, others)
            for crop, others in zip(found.faces, again, strict=True)
        ]
        return found.drops

    def _redelivered(self, pixels: np.ndarray, faces: list[Face]) -> list[tuple[bytes, ...]]:
        """Returns the crops of each face in the re-delivered copies."""
        if not faces:
            return []
        settings = self.settings
        if settings.crop.carrier is not None:
            pixels, _ = without_border(pixels)  # where `extract_faces` has found them
        rows = []
        for redeliver in REDELIVERIES.values():
            copy = redeliver(pixels)
            moved = [moved_face(face, pixels, copy) for face in faces]
            rows.append([encode_face(copy, f, settings.faces, settings.crop)[0] for f in moved])
        return list(zip(*rows, strict=True))


def _summary(drops: Sequence[tuple[Cause, str]], num_frames: int) -> list[str]:
    """One line a cause; a line a frame would drown the others."""
    number = Counter(cause for cause, _ in drops)
    first = dict(reversed(drops))
    return [
        f"{cause}: {first[cause]}" + (f" ({n} in {num_frames} frames)" if num_frames > 1 else "")
        for cause, n in number.items()
    ]


def list_files(paths: Sequence[str]) -> tuple[list[str], bool]:
    """Expands folders to what lies below them, sorted; hidden entries and junk are left out.

    Entries that cannot be read are listed as well: each becomes a result that says why.

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
        below = walk(Path(path))
        names = sorted([*below.files, *(failure.path for failure in below.failures)])
        files += [str(Path(path, name)) for name in names]
    return files, is_batch
