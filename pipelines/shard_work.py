"""The shards: what a worker does to turn planned items into records.

Free of TensorFlow, so that a worker starts in half a second. Images are uint8 RGB
(height, width, 3).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import cv2

from pipelines.errors import Cause, InputError, MediaError, printable
from pipelines.faces.base import Box, FaceDetector
from pipelines.faces.extract import FaceCrop, extract_faces
from pipelines.faces.registry import open_detector
from pipelines.harmonization import CarrierFacts
from pipelines.media.images import SourceFacts, read_image
from pipelines.media.videos import VideoFrame, VideoFrames, sample_frames
from pipelines.output_folder import write_json
from pipelines.records.manifest import Failure, ShardInfo
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.settings import FaceSettings, PrepareSettings
from pipelines.shard_plan import PlannedItem, ShardTask
from pipelines.sources.base import video_key


@dataclass(frozen=True, slots=True)
class ShardResult:
    """A finished shard.

    Args:
        info: What was written.
        recorded: Keys of the items with at least one record.
        failures: Items without one, and faces and frames that were left out.
        skipped: It was there already.
    """

    info: ShardInfo
    recorded: tuple[str, ...]
    failures: tuple[Failure, ...]
    skipped: bool = False


def write_shard(
    task: ShardTask, out: Path, sidecars: Path, settings: PrepareSettings
) -> ShardResult:
    """Writes one shard and the note beside it that says so; skips what is done and intact.

    Args:
        task: What to write.
        out: Folder of the shards.
        sidecars: Folder of the notes: `<shard>.json`, written after the shard.
        settings: How faces are found and stored.

    Raises:
        InputError: a medium changed since the index pass, or the detector cannot be opened.
        DatasetError: the disk is full, or the like.
    """
    note = sidecars / f"{task.file}.json"
    done = _finished(task, out, note)
    if done is not None:
        return done
    failures: list[Failure] = []
    recorded: list[str] = []
    with one_opencv_thread(), ShardWriter(out / task.file, task.split) as writer:
        detector = shared_detector(settings.faces)
        for planned in task.items:
            written = 0
            for record in _records(planned, settings, detector, failures):
                writer.write(record)
                written += 1
            if written:
                recorded.append(planned.item.key)
    result = ShardResult(writer.info, tuple(recorded), tuple(failures))
    _save_note(note, task, result)
    return result


def _records(
    planned: PlannedItem,
    settings: PrepareSettings,
    detector: FaceDetector,
    failures: list[Failure],
) -> Iterator[FaceRecord]:
    """Yields the records of one medium; appends everything that could not be one to `failures`."""
    item = planned.item
    drops: list[tuple[Cause, str]] = []
    num_frames = 0
    try:
        facts, frames = open_frames(planned, settings)
        if facts.sha256 != planned.sha256:
            raise InputError(f"{printable(item.path)}: changed while it was read; prepare it again")
        for frame in frames:
            num_frames += 1
            found = extract_faces(frame.pixels, detector, settings.faces, settings.crop)
            drops += found.drops
            for crop in found.faces:
                yield _record(planned, settings, facts, frame, crop)
        if isinstance(frames, VideoFrames) and frames.truncated:
            drops.append((Cause.TRUNCATED, "; ".join(frames.notes)))
    except MediaError as error:
        drops.append((error.cause, error.reason))
    if planned.kind == "video":
        drops = _one_a_cause(drops, num_frames)
    failures += [Failure(item.key, cause.value, reason) for cause, reason in drops]


def open_frames(
    planned: PlannedItem, settings: PrepareSettings
) -> tuple[SourceFacts, Iterable[VideoFrame]]:
    """Returns the facts of a medium and its frames; of an image the only one.

    Raises:
        MediaError: It cannot be read.
    """
    if planned.kind == "video":
        video = sample_frames(planned.item.path, settings.frames, settings.limits)
        return video.facts, video
    image = read_image(planned.item.path, settings.limits)
    return image.facts, [VideoFrame(0, 0.0, image.pixels)]


def _one_a_cause(drops: list[tuple[Cause, str]], num_frames: int) -> list[tuple[Cause, str]]:
    """One line a cause for a video; an entry a frame would drown the others."""
    number = Counter(cause for cause, _ in drops)
    first = dict(reversed(drops))
    per_frame = (Cause.NO_FACE, Cause.FACE_TOO_SMALL)
    return [
        (
            cause,
            f"{first[cause]} ({n} in {num_frames} frames)" if cause in per_frame else first[cause],
        )
        for cause, n in number.items()
    ]


def _record(
    planned: PlannedItem,
    settings: PrepareSettings,
    facts: SourceFacts,
    frame: VideoFrame,
    crop: FaceCrop,
) -> FaceRecord:
    item = planned.item
    box = crop.box_fractions
    if crop.carrier is not None:
        # The carrier is the source now: the audit must see what a detector could see.
        facts, box = _carrier_facts(facts, crop.carrier), _box_in_crop(settings.faces)
    video = item.video
    if planned.kind == "video" and not video:
        video = video_key(item.dataset, item.method, item.label, item.key)
    return FaceRecord(
        encoded=crop.encoded,
        format=settings.crop.format,
        height=settings.crop.size,
        width=settings.crop.size,
        sha256=facts.sha256,
        label=item.label,
        domain=item.domain,
        dataset=item.dataset,
        method=item.method,
        video=video,
        identity=item.identity,
        path=item.key,
        frame=frame.index,
        time_seconds=frame.time_seconds,
        face_index=crop.index,
        face_box=box,
        face_score=crop.face.score,
        source_format=facts.format,
        source_bytes=facts.bytes,
        source_jpeg_quality=facts.jpeg_quality,
        source_width=facts.width,
        source_height=facts.height,
    )


def _carrier_facts(facts: SourceFacts, carrier: CarrierFacts) -> SourceFacts:
    return replace(
        facts,
        format="JPEG",
        bytes=carrier.bytes,
        width=carrier.side,
        height=carrier.side,
        jpeg_quality=carrier.quality,
    )


def _box_in_crop(settings: FaceSettings) -> Box:
    """Where a face lies in the square cut out around it: in the middle, within the margin."""
    margin = 0.0 if settings.detector == "none" else settings.margin
    side = 1 / (1 + 2 * margin)
    return (margin * side, margin * side, side, side)


def _finished(task: ShardTask, out: Path, note: Path) -> ShardResult | None:
    """The result of an earlier run, if the shard still is what that run wrote."""
    try:
        content = json.loads(note.read_text(encoding="utf-8"))
        if content["fingerprint"] != task.fingerprint:
            return None
        info = ShardInfo(**content["info"])
        failures = tuple(Failure(**failure) for failure in content["failures"])
        recorded = tuple(content["recorded"])
        with (out / task.file).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if found != info.sha256:
        return None
    return ShardResult(info, recorded, failures, skipped=True)


def _save_note(note: Path, task: ShardTask, result: ShardResult) -> None:
    content = {
        "fingerprint": task.fingerprint,
        "info": asdict(result.info),
        "recorded": result.recorded,
        "failures": [asdict(failure) for failure in result.failures],
    }
    write_json(note, content)


@lru_cache(maxsize=1)
def shared_detector(settings: FaceSettings) -> FaceDetector:
    """Returns this process's detector; tasks share it, for opening one takes a while."""
    return open_detector(settings)


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Processes share the cores already; OpenCV's own threads would only get in their way."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
