"""The faces of one media file, found and encoded exactly as `prepare` does.

Nothing here needs TensorFlow, and what is read can be pickled: processes that only read files stay
small.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
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
from pipelines.media.videos import VideoFrames, dense_frames, sample_frames
from pipelines.settings import PrepareSettings
from pipelines.sources.walking import walk

MOST_FRAMES = 3000
"""Frames looked at in one video at most, however they are chosen."""
MOST_CROPS = 6000
"""Crops kept of one video at most, about 200 MB; beyond, every second frame is let go."""

Progress = Callable[[int, int], None]
"""Called with the frames done and the frames planned; what it raises ends the reading."""
_Drops = list[tuple[Cause, str]]


@dataclass(frozen=True)
class FrameSampling:
    """Which frames of a video are looked at.

    Args:
        count: So many, evenly spaced in time; None: as many as in the training records.
        dense: Every frame instead, or every n-th of more than `most`.
        most: Frames looked at however they are chosen.

    Raises:
        ValueError: Both are given, or `count` is not between 1 and `MOST_FRAMES`.
    """

    count: int | None = None
    dense: bool = False
    most: int = MOST_FRAMES

    def __post_init__(self) -> None:
        if self.dense and self.count is not None:
            raise ValueError("frames: a number of them or every frame (dense), not both")
        if self.count is not None and not 1 <= self.count <= MOST_FRAMES:
            raise ValueError(f"frames: {self.count}, expected 1 to {MOST_FRAMES:,}")

    def most_frames(self, settings: PrepareSettings) -> int:
        """Returns how many frames of a video are looked at, at most."""
        return self.most if self.dense else min(self.count or settings.frames, self.most)

    def is_of_training(self, settings: PrepareSettings) -> bool:
        """Returns whether frames are chosen as `prepare` chooses them."""
        return not self.dense and self.most_frames(settings) == settings.frames

    def choose(self, path: str, settings: PrepareSettings) -> VideoFrames:
        """Returns the chosen frames of a video, not yet decoded.

        Raises:
            MediaError: It is not a video within the limits.
        """
        choose = dense_frames if self.dense else sample_frames
        return choose(path, self.most_frames(settings), settings.limits)


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


@dataclass(frozen=True)
class Clip:
    """What is known of a video as a whole.

    Args:
        duration_seconds: Time its frames are on display.
        num_frames: Frames the file holds, as far as it could be read.
        frames_expected: Frames it announces; `num_frames` where nothing is missing.
        sampling: Which of them were looked at, in words.
        frames: Number and time (seconds) of each frame looked at, with a face or without.
        compared_frames: How many of those, evenly spaced, are compared with one another over time:
            as many as the training records hold of a video, so that clips stay comparable.
        size: Width and height of an upright frame, pixels.
        sampled_as_trained: Whether they were chosen as the frames of the training records are.
        has_places: Whether places of faces may tell persons apart: not where crops are harmonised,
            whose records do not hold them.
    """

    duration_seconds: float
    num_frames: int
    frames_expected: int
    sampling: str
    frames: tuple[tuple[int, float], ...]
    compared_frames: int
    size: tuple[int, int]
    sampled_as_trained: bool = True
    has_places: bool = True


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
        clip: Facts of a video; None for images and where there is an error.
    """

    path: str
    kind: str | None = None
    faces: list[FoundFace] = field(default_factory=list)
    num_frames: int = 0
    truncated: bool = False
    notes: list[str] = field(default_factory=list)
    error: MediaError | None = None
    clip: Clip | None = None

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
        sampling: Which frames of videos are looked at.

    Raises:
        InputError: The face detector cannot be opened.
    """

    def __init__(
        self,
        settings: PrepareSettings,
        *,
        stability: bool = False,
        sampling: FrameSampling | None = None,
    ) -> None:
        self.settings = settings
        self.stability = stability
        self.sampling = sampling or FrameSampling()
        open_detector(settings.faces)  # a missing model shows here, not in a thread
        self._local = threading.local()

    def read(self, path: str, progress: Progress | None = None) -> MediaFaces:
        """Returns the file's faces, or why it cannot be used; never raises for bad media.

        Args:
            path: The file.
            progress: Called after each frame of a video.
        """
        result = MediaFaces(path)
        try:
            if media_kind(path) == "video":
                self._read_video(result, progress)
            else:
                self._read_image(result)
        except MediaError as error:
            # A score from the frames before the fault would pass for that of the whole file.
            result.faces.clear()
            result.error = error
        return result

    def _read_image(self, result: MediaFaces) -> None:
        image = read_image(result.path, self.settings.limits)
        result.kind = "image"
        result.notes += image.notes
        result.faces, drops = self._faces(image.pixels, 0, 0.0)
        result.num_frames = 1
        result.notes += _summary(drops, 1)

    def _read_video(self, result: MediaFaces, progress: Progress | None) -> None:
        result.kind = "video"
        video = self.sampling.choose(result.path, self.settings)
        result.truncated = video.truncated
        result.notes += video.notes
        looked_at: list[tuple[int, float]] = []
        drops: dict[int, _Drops] = {}
        every = 1
        for number, frame in enumerate(video):
            if number % every == 0:
                index, seconds = frame.index, frame.time_seconds
                looked_at.append((index, seconds))
                faces, drops[index] = self._faces(frame.pixels, index, seconds)
                result.faces += faces
                while len(looked_at) > 1 and self._num_crops(result) > MOST_CROPS:
                    every *= 2
                    looked_at = looked_at[::2]
                    kept = {frame for frame, _ in looked_at}
                    result.faces = [face for face in result.faces if face.frame in kept]
            if progress is not None:
                progress(number + 1, video.num_chosen)
        # Frames that turn out to be damaged are noted while they are decoded.
        result.notes += [note for note in video.notes if note not in result.notes]
        result.num_frames = len(looked_at)
        result.clip = Clip(
            duration_seconds=video.duration_seconds,
            num_frames=video.frames_read,
            frames_expected=video.frames_expected,
            sampling=_sampling(video, every, len(looked_at)),
            frames=tuple(looked_at),
            compared_frames=self.settings.frames,
            size=(video.facts.width, video.facts.height),
            sampled_as_trained=self.sampling.is_of_training(self.settings) and every == 1,
            has_places=self.settings.crop.carrier is None,
        )
        of_kept = [drop for frame, _ in looked_at for drop in drops[frame]]
        result.notes += _summary(of_kept, result.num_frames)
        if every > 1:
            result.notes.append(
                f"more than {MOST_CROPS:,} faces: {_ordinal(every)} of the chosen frames kept"
            )

    def _num_crops(self, result: MediaFaces) -> int:
        return len(result.faces) * (1 + len(REDELIVERIES) * self.stability)

    def _faces(
        self, pixels: np.ndarray, frame: int, seconds: float
    ) -> tuple[list[FoundFace], _Drops]:
        if not hasattr(self._local, "detector"):
            self._local.detector = open_detector(self.settings.faces)
        settings = self.settings
        found = extract_faces(pixels, self._local.detector, settings.faces, settings.crop)
        faces = [crop.face for crop in found.faces]
        again = self._redelivered(pixels, faces) if self.stability else [()] * len(faces)
        return [
            FoundFace(crop.encoded, crop.box_fractions, crop.index, frame, seconds, others)
            for crop, others in zip(found.faces, again, strict=True)
        ], found.drops

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


def _sampling(video: VideoFrames, every: int, num_frames: int) -> str:
    stride = video.stride * every
    if stride == 1:
        return "every frame"
    if stride:
        return f"{_ordinal(stride)} frame, {num_frames} in all"
    return f"{num_frames} evenly spaced frame{'s' if num_frames > 1 else ''}"


def _ordinal(number: int) -> str:
    """`every 2nd`, `every 23rd` and so on."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    ending = "th" if 10 <= number % 100 <= 20 else endings.get(number % 10, "th")
    return f"every {number}{ending}"


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
