"""The persons of a clip, frame by frame and as a whole, and what decides about the clip."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfd_tf.inference.calibration import (
    CalibrationFile,
    Threshold,
    VideoCalibration,
    aggregation_of,
)
from dfd_tf.inference.evidence import FaceEvidence
from dfd_tf.inference.judgement import UNSET, judgement
from dfd_tf.inference.media_faces import Clip, MediaFaces
from dfd_tf.inference.temporal import Series, compared_frames, opinion
from dfd_tf.inference.tracks import track_persons
from dfd_tf.inference.verdicts import Limits, limits_of
from dfd_tf.inference.video_scores import (
    PersonScore,
    clip_score,
    least_frames,
    person_scores,
)

FEW_CLIPS_OF_SEVERAL = 19
"""Real calibration clips of several persons below which a clip of several is warned of."""
NO_REFERENCE = "no real clips in the calibration"


@dataclass(frozen=True)
class ClipPrediction:
    """What is said of a clip that has faces.

    Args:
        score: The clip's.
        redelivered: The same after light re-delivery, by its name; None unless asked for.
        num_frames: Frames the deciding person is seen in.
        video: See `FilePrediction`.
        persons: Likewise.
        person_of_face: (n,) int64, number of each face's person.
        notes: What else is to be known.
    """

    score: float
    redelivered: dict[str, float] | None
    num_frames: int
    video: dict[str, Any]
    persons: tuple[dict[str, Any], ...]
    person_of_face: np.ndarray
    notes: tuple[str, ...]


def predict_clip(
    media: MediaFaces,
    evidence: FaceEvidence,
    scores: np.ndarray,
    redelivered: dict[str, np.ndarray] | None,
    calibration: CalibrationFile | None,
    threshold: Threshold | None,
    unset: str = UNSET,
) -> ClipPrediction:
    """Tells the persons of a clip apart, scores and judges each, and the clip by the worst.

    Args:
        media: A video with faces.
        evidence: Of its faces.
        scores: (n,) of the faces.
        redelivered: (n,) of the faces after each re-delivery, by its name.
        calibration: The run's.
        threshold: The operating point.
        unset: Why there is none.
    """
    assert media.clip is not None
    assert evidence.descriptors is not None
    frames = np.array([face.frame for face in media.faces])
    seconds = np.array([face.time_seconds for face in media.faces])
    boxes = np.array([face.box for face in media.faces]) if media.clip.has_places else None
    numbers = track_persons(frames, seconds, boxes, evidence.descriptors)
    aggregation, _ = aggregation_of(calibration)
    found = person_scores(numbers, frames.tolist(), scores, aggregation)
    again = {
        name: person_scores(numbers, frames.tolist(), others, aggregation)
        for name, others in (redelivered or {}).items()
    }
    compared = np.isin(frames, [*compared_frames(media.clip)])
    persons = []
    num_with_face = len(np.unique(frames))
    for one in found:
        own = numbers == one.person
        others = {
            name: next(other.score for other in rows if other.person == one.person)
            for name, rows in again.items()
        }
        row = _person(one, seconds[own], num_with_face)
        if one.counted:
            judged = judgement(
                one.score, calibration, threshold, "person", others,
                unset=unset, num_frames=one.num_frames,
            )  # fmt: skip
            row |= {name: getattr(judged, name) for name in _JUDGED}
        row["temporal"] = _temporal(own & compared, seconds, scores, evidence, calibration)
        persons.append(row)
    counted = [one for one in found if one.counted]
    is_counted = np.isin(numbers, [one.person for one in counted])
    limits = None
    if calibration is not None and threshold is not None:
        limits = limits_of(calibration, threshold, "video", counted[0].num_frames)
    return ClipPrediction(
        score=clip_score(found),
        redelivered={name: clip_score(rows) for name, rows in again.items()} or None,
        num_frames=counted[0].num_frames,
        video=clip_facts(media, calibration, scores, is_counted),
        persons=tuple(persons),
        person_of_face=numbers,
        notes=tuple(_notes(found, num_with_face, media.clip, limits)),
    )


_JUDGED = ("probability", "label", "verdict", "reason", "p_value")


def _notes(
    found: Sequence[PersonScore],
    num_with_face: int,
    clip: Clip,
    limits: Limits | None,
) -> Iterator[str]:
    """Says where the rule for persons does not apply, and what limits of clips hardly cover."""
    if max(one.num_frames for one in found) < least_frames(num_with_face):
        yield f"no person is seen in {least_frames(num_with_face)} frames: all are counted"
    if limits is None or not isinstance(limits.scores, VideoCalibration):
        return
    video, counted = limits.scores, [one for one in found if one.counted]
    if not limits.are_own:
        assert video.frames_of_persons is not None
        least, most = video.frames_of_persons
        yield (
            f"the person that decides is seen in {counted[0].num_frames} of the frames looked at,"
            f" in the real clips of the calibration in {least} to {most}: no rate is promised"
        )
        return
    if not clip.sampled_as_trained:
        yield (
            f"limits rest on clips looked at in {clip.compared_frames} evenly spaced frames, as in"
            f" training, and here it was {clip.sampling}: promised rates hold less surely"
        )
    num_counted = len(counted)
    if num_counted > 1 and video.num_clips_of_several < FEW_CLIPS_OF_SEVERAL:
        yield (
            f"{num_counted} persons count, and {video.num_clips_of_several} of {video.num_real}"
            " real clips of the calibration show several: the highest of several scores is above"
            " the limit more often than promised"
        )


def _person(one: PersonScore, seconds: np.ndarray, num_with_face: int) -> dict[str, Any]:
    reason = (
        f"not counted: seen in {one.num_frames} of {num_with_face} frames with a face,"
        f" {least_frames(num_with_face)} are needed"
    )
    return {
        "person": one.person,
        "counted": one.counted,
        "num_frames": one.num_frames,
        "first_seconds": round(float(seconds.min()), 3),
        "last_seconds": round(float(seconds.max()), 3),
        "score": one.score,
        **dict.fromkeys(_JUDGED),
        "reason": reason,
    }


def _temporal(
    mask: np.ndarray,
    seconds: np.ndarray,
    scores: np.ndarray,
    evidence: FaceEvidence,
    calibration: CalibrationFile | None,
) -> dict[str, Any]:
    assert evidence.latents is not None
    order = np.flatnonzero(mask)
    order = order[np.argsort(seconds[order], kind="stable")]
    series = Series(seconds[order], scores[order], evidence.latents[order])
    video = calibration.video if calibration else None
    missing = NO_REFERENCE if video is None else video.temporal_missing
    return opinion(series, video.temporal if video else None, missing)


def clip_facts(
    media: MediaFaces,
    calibration: CalibrationFile | None,
    scores: np.ndarray,
    counted: np.ndarray,
) -> dict[str, Any]:
    """Returns what goes into `FilePrediction.video`.

    Args:
        media: A video that could be read.
        calibration: The run's.
        scores: (n,) of its faces; n may be 0.
        counted: (n,) bool, whether each face's person counts.
    """
    clip: Clip | None = media.clip
    assert clip is not None
    aggregation, reason = aggregation_of(calibration)
    num_faces: dict[int, int] = {}
    highest: dict[int, float] = {}
    for face, score, counts in zip(media.faces, scores.tolist(), counted, strict=True):
        num_faces[face.frame] = num_faces.get(face.frame, 0) + 1
        if counts:
            highest[face.frame] = max(score, highest.get(face.frame, score))
    return {
        "duration_seconds": round(clip.duration_seconds, 3),
        "num_frames": clip.num_frames,
        "frames_expected": clip.frames_expected,
        "sampling": clip.sampling,
        "aggregation": aggregation,
        "aggregation_reason": reason,
        "frames": [
            {
                "frame": frame,
                "seconds": round(seconds, 3),
                "num_faces": num_faces.get(frame, 0),
                "score": highest.get(frame),
            }
            for frame, seconds in clip.frames
        ],
    }
