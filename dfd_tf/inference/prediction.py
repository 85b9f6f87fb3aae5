"""Files to results: one result a file, in input order, whatever happens to the others."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dfd_tf.inference.calibration import CalibrationFile, Threshold
from dfd_tf.inference.clip_prediction import clip_facts, predict_clip
from dfd_tf.inference.evidence import FaceEvidence, gather_evidence, score_encoded
from dfd_tf.inference.judgement import UNCALIBRATED, UNSET, Judgement, judgement
from dfd_tf.inference.media_faces import FaceReader, FrameSampling, MediaFaces
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.redelivery import REDELIVERIES
from dfd_tf.inference.verdicts import NO_FACE, Kind, VerdictName
from pipelines.errors import InputError, printable


@dataclass(frozen=True)
class FilePrediction:
    """The result of one file.

    Args:
        path: The file as the user named it, on one line: what cannot be printed is escaped.
        status: `ok`, `no_face` or `error`.
        kind: `image` or `video`, None where the file is neither.
        verdict: `real`, `fake`, `inconclusive` or `no face`; None where nothing can be said.
        reason: Why that verdict, or why none (`verdicts.judge`).
        label: `fake` when the score is above the threshold, else `real`; None without a score or
            without calibration.
        score: Highest face score of an image; of a video, the highest score of its counted persons
            (`video_scores`). None, never 0, without a face.
        probability: Calibrated probability of fake; None where the run is not calibrated for it.
        p_value: Share of real calibration images, or clips, that score as high (conformal); None
            for videos where the calibration had too few clips: limits are then those of single
            images, which promise nothing of clips.
        p_value_fake: Share of fake calibration images, or clips, that score as low, likewise; None
            without labelled fakes in the calibration.
        threshold: The operating point's value.
        redelivered: Scores after light re-delivery by its name; None unless stability was asked
            for and there is a score.
        faces: One dict a face: `box` (fractions), `score`, and `frame`, `seconds`, `person` in
            videos.
        num_frames: Frames looked at.
        truncated: Whether frames are missing: a cut video, or one over a limit.
        notes: What was converted, dropped or cut short.
        error: Why there is no score.
        video: Facts of a video, None for images: `duration_seconds`, `num_frames` and
            `frames_expected` of the file, `sampling`, `aggregation`, `aggregation_reason`, and
            `frames`, one dict for each frame looked at: `frame`, `seconds`, `num_faces`, `score`
            (highest of its faces of counted persons, or None).
        persons: One dict for each person of a video, by falling score: `person`, `counted`,
            `num_frames`, `first_seconds`, `last_seconds`, `score`, `probability`, `label`,
            `verdict`, `reason`, `p_value` and `temporal` (`temporal.opinion`).
        promised_fpr: False positive rate promised of files like this one at the operating point;
            None where none is.
        promised_miss: Share of fakes promised to be called real at most, likewise.
    """

    path: str
    status: str
    kind: str | None
    verdict: VerdictName | None
    reason: str
    label: str | None
    score: float | None
    probability: float | None
    p_value: float | None
    p_value_fake: float | None
    threshold: float | None
    redelivered: dict[str, float] | None
    faces: tuple[dict[str, Any], ...]
    num_frames: int
    truncated: bool
    notes: tuple[str, ...]
    error: str | None
    video: dict[str, Any] | None = None
    persons: tuple[dict[str, Any], ...] = ()
    promised_fpr: float | None = None
    promised_miss: float | None = None


def operating_point(predictor: Predictor, name: str) -> Threshold | None:
    """Returns the named threshold; None where `missing_threshold` says why there is none.

    Raises:
        InputError: There is no operating point of this name.
    """
    calibration = predictor.calibration
    if calibration is None or name in calibration.missing:
        return None
    try:
        return calibration.threshold(name)
    except KeyError as error:
        raise InputError(f"{predictor.run}: --operating-point {error.args[0]}") from None


def missing_threshold(predictor: Predictor, name: str) -> str | None:
    """Says why there are no verdicts at an operating point; None where there are."""
    if predictor.calibration is None:
        return UNCALIBRATED
    reason = predictor.calibration.missing.get(name)
    return reason and f"no verdicts: operating point {name} was not set: {reason}"


def predict_files(
    predictor: Predictor,
    paths: Sequence[str],
    threshold: Threshold | None,
    num_threads: int,
    *,
    stability: bool = False,
    sampling: FrameSampling | None = None,
    unset: str = UNSET,
) -> Iterator[FilePrediction]:
    """Yields one result a file, in order, as soon as its faces are scored: see `predict_media`."""
    found = predict_media(
        predictor,
        paths,
        threshold,
        num_threads,
        stability=stability,
        sampling=sampling,
        unset=unset,
    )
    for _, prediction in found:
        yield prediction


def predict_media(
    predictor: Predictor,
    paths: Sequence[str],
    threshold: Threshold | None,
    num_threads: int,
    *,
    stability: bool = False,
    sampling: FrameSampling | None = None,
    unset: str = UNSET,
) -> Iterator[tuple[MediaFaces, FilePrediction]]:
    """Yields the faces and the result of one file after the other.

    Files are read ahead by `num_threads` threads; faces of neighbouring image files share network
    batches. Memory holds a few batches of crops, however many files there are; of videos, about
    one a thread when every frame is looked at.

    Args:
        predictor: The run.
        paths: The files.
        threshold: The operating point; None where there are no verdicts.
        num_threads: Threads that read files.
        stability: Score every face after light re-delivery as well: three network calls a face
            instead of one.
        sampling: Which frames of videos are looked at; None: as many as in training.
        unset: Why there is no operating point, as `missing_threshold` says it.
    """
    sampling = sampling or FrameSampling()
    reader = FaceReader(predictor.settings, stability=stability, sampling=sampling)
    batch_size = predictor.batch_size
    waiting: deque[MediaFaces] = deque()
    encoded: list[bytes] = []
    scores: list[float] = []

    def finished() -> Iterator[tuple[MediaFaces, FilePrediction]]:
        while waiting and len(waiting[0].crops) <= len(scores):
            media = waiting.popleft()
            evidence = FaceEvidence(np.array(scores[: len(media.crops)]))
            del scores[: len(media.crops)]
            yield media, file_prediction(media, evidence, predictor.calibration, threshold, unset)

    most_frames = sampling.most_frames(predictor.settings)
    depth = max(num_threads, 2 * batch_size * _FRAMES_AHEAD // max(_FRAMES_AHEAD, most_frames))
    for media in _read_ahead(reader, paths, num_threads, depth):
        if media.kind == "video":
            scores += score_encoded(predictor, encoded, batch_size).tolist()
            encoded.clear()
            yield from finished()
            evidence = gather_evidence(predictor, media)
            yield media, file_prediction(media, evidence, predictor.calibration, threshold, unset)
            continue
        waiting.append(media)
        encoded += media.crops
        # Files without a face must not hold up the results of those before them for ever.
        while len(encoded) >= batch_size or (encoded and len(waiting) > 2 * batch_size):
            scores += score_encoded(predictor, encoded[:batch_size], batch_size).tolist()
            del encoded[:batch_size]
        yield from finished()
    scores += score_encoded(predictor, encoded, batch_size).tolist()
    yield from finished()


_FRAMES_AHEAD = 32
"""Frames of a video up to which as many of them are read ahead as of images."""


def _read_ahead(
    reader: FaceReader, paths: Sequence[str], num_threads: int, depth: int
) -> Iterator[MediaFaces]:
    pending: deque[Future[MediaFaces]] = deque()
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)  # the readers share the cores already
    pool = ThreadPoolExecutor(num_threads, "faces")
    try:
        for path in paths:
            pending.append(pool.submit(reader.read, path))
            if len(pending) >= depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(opencv_threads)


def file_prediction(
    media: MediaFaces,
    evidence: FaceEvidence,
    calibration: CalibrationFile | None,
    threshold: Threshold | None,
    unset: str = UNSET,
) -> FilePrediction:
    """Concludes from the scores of a file's faces.

    Args:
        media: The file.
        evidence: Of its faces, by `gather_evidence`.
        calibration: The run's; None: there are no verdicts.
        threshold: The operating point; None likewise.
        unset: Why there is no operating point, as `missing_threshold` says it.
    """
    scores, redelivered = _by_delivery(media, evidence.scores)
    persons: tuple[dict[str, Any], ...] = ()
    video = person_of_face = score = again = num_frames = None
    notes = [*media.notes]
    if media.clip is not None and len(scores):
        clip = predict_clip(media, evidence, scores, redelivered, calibration, threshold, unset)
        score, again, video, persons = clip.score, clip.redelivered, clip.video, clip.persons
        person_of_face, num_frames = clip.person_of_face, clip.num_frames
        notes += clip.notes
    elif media.clip is not None:
        video = clip_facts(media, calibration, scores, np.empty(0, bool))
    elif len(scores):
        score = float(scores.max())
        again = {name: float(found.max()) for name, found in redelivered.items()} or None
    kind: Kind = "image" if media.clip is None else "video"
    value = threshold.value if threshold else None
    if score is not None:
        judged = judgement(
            score, calibration, threshold, kind, again, unset=unset, num_frames=num_frames
        )
    elif media.error:
        judged = Judgement(None, printable(media.error.reason), threshold=value)
    else:
        judged = Judgement(NO_FACE.name, NO_FACE.reason, threshold=value)
    return FilePrediction(
        path=printable(media.path),
        status="ok" if score is not None else "error" if media.error else "no_face",
        kind=media.kind,
        verdict=judged.verdict,
        reason=judged.reason,
        label=judged.label,
        score=score,
        probability=judged.probability,
        p_value=judged.p_value,
        p_value_fake=judged.p_value_fake,
        threshold=judged.threshold,
        redelivered=again,
        faces=tuple(_faces(media, scores, person_of_face)),
        num_frames=media.num_frames,
        truncated=media.truncated,
        notes=tuple(printable(note) for note in notes),
        error=printable(media.error.reason) if media.error else None,
        video=video,
        persons=persons,
        promised_fpr=judged.promised_fpr,
        promised_miss=judged.promised_miss,
    )


def _by_delivery(
    media: MediaFaces, crop_scores: np.ndarray
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Parts scores of `media.crops` into those of the faces and those after each re-delivery."""
    count = len(media.faces)
    if len(crop_scores) == count:
        return crop_scores, {}
    others = crop_scores[count:].reshape(len(REDELIVERIES), count)
    return crop_scores[:count], dict(zip(REDELIVERIES, others, strict=True))


def _faces(
    media: MediaFaces, scores: np.ndarray, person_of_face: np.ndarray | None
) -> Iterator[dict[str, Any]]:
    for number, (face, score) in enumerate(zip(media.faces, scores.tolist(), strict=True)):
        result: dict[str, Any] = {"box": [round(value, 5) for value in face.box], "score": score}
        if person_of_face is not None:
            result |= {"frame": face.frame, "seconds": round(face.time_seconds, 3)}
            result["person"] = int(person_of_face[number])
        yield result
