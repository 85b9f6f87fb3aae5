"""Files to results: one result a file, in input order, whatever happens to the others."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from dfd_tf.inference.calibration import CalibrationFile, Threshold
from dfd_tf.inference.media_faces import FaceReader, MediaFaces
from dfd_tf.inference.predictor import Predictor
from dfd_tf.inference.redelivery import REDELIVERIES
from dfd_tf.inference.verdicts import NO_FACE, Verdict, VerdictName, judge
from pipelines.errors import InputError, printable

UNCALIBRATED = "uncalibrated: the run has no calibration.json; scores have no threshold"


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
            without calibration. Thresholds are those of single images, for videos as well.
        score: Highest face score of an image; of a video, the mean of that over its frames. None,
            never 0, without a face.
        probability: Calibrated probability of fake; None where the run is not calibrated for it.
        p_value: Share of real calibration images that score as high (conformal); None for
            videos, whose mean over frames is not comparable with single images.
        p_value_fake: Share of fake calibration images that score as low, likewise; None without
            labelled fakes in the calibration.
        threshold: The operating point's value.
        redelivered: Scores after light re-delivery by its name; None unless stability was asked
            for and there is a score.
        faces: One dict a face: `box` (fractions), `score`, and `frame`, `seconds` in videos.
        num_frames: Frames looked at.
        truncated: Whether frames are missing: a cut video, or one over a limit.
        notes: What was converted, dropped or cut short.
        error: Why there is no score.
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
) -> Iterator[FilePrediction]:
    """Yields one result a file, in order, as soon as its faces are scored.

    Files are read ahead by `num_threads` threads; faces of neighbouring files share network
    batches. Memory holds a few batches of crops, however many files there are.

    Args:
        predictor: The run.
        paths: The files.
        threshold: The operating point; None where there are no verdicts.
        num_threads: Threads that read files.
        stability: Score every face after light re-delivery as well: three network calls a face
            instead of one.
    """
    reader = FaceReader(predictor.settings, stability=stability)
    batch_size = predictor.batch_size
    waiting: deque[MediaFaces] = deque()
    encoded: list[bytes] = []
    scores: list[float] = []

    def finished() -> Iterator[FilePrediction]:
        while waiting and len(waiting[0].crops) <= len(scores):
            media = waiting.popleft()
            own = np.array(scores[: len(media.crops)])
            del scores[: len(media.crops)]
            yield _result(media, own, predictor.calibration, threshold)

    for media in _read_ahead(reader, paths, num_threads, 2 * batch_size):
        waiting.append(media)
        encoded += media.crops
        # Files without a face must not hold up the results of those before them for ever.
        while len(encoded) >= batch_size or (encoded and len(waiting) > 2 * batch_size):
            scores += predictor.score_encoded(encoded[:batch_size]).tolist()
            del encoded[:batch_size]
        yield from finished()
    scores += predictor.score_encoded(encoded).tolist()
    yield from finished()


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


def _result(
    media: MediaFaces,
    crop_scores: np.ndarray,
    calibration: CalibrationFile | None,
    threshold: Threshold | None,
) -> FilePrediction:
    face_scores, redelivered = _by_delivery(media, crop_scores)
    score = _aggregate(media, face_scores) if len(face_scores) else None
    status = "ok" if score is not None else "error" if media.error else "no_face"
    verdict = _verdict(media, score, calibration, threshold, redelivered)
    probability = p_value = p_value_fake = label = None
    if score is not None and calibration is not None:
        array = np.array([score])
        if media.kind == "image":
            p_value = float(calibration.p_values(array)[0])
            of_fakes = calibration.fake_p_values(array)
            p_value_fake = None if of_fakes is None else float(of_fakes[0])
        if calibration.probability is not None:
            probability = float(calibration.probability.apply(array)[0])
        if threshold is not None:
            label = "fake" if score > threshold.value else "real"
    return FilePrediction(
        path=printable(media.path),
        status=status,
        kind=media.kind,
        verdict=verdict.name,
        reason=verdict.reason,
        label=label,
        score=score,
        probability=probability,
        p_value=p_value,
        p_value_fake=p_value_fake,
        threshold=threshold.value if threshold else None,
        redelivered=redelivered,
        faces=tuple(_faces(media, face_scores)),
        num_frames=media.num_frames,
        truncated=media.truncated,
        notes=tuple(printable(note) for note in media.notes),
        error=printable(media.error.reason) if media.error else None,
    )


def _by_delivery(
    media: MediaFaces, crop_scores: np.ndarray
) -> tuple[np.ndarray, dict[str, float] | None]:
    """Parts scores of `media.crops` into those of the faces and the file's when re-delivered."""
    count = len(media.faces)
    if len(crop_scores) == count:
        return crop_scores, None
    others = crop_scores[count:].reshape(len(REDELIVERIES), count)
    return crop_scores[:count], {
        name: _aggregate(media, scores) for name, scores in zip(REDELIVERIES, others, strict=True)
    }


def _verdict(
    media: MediaFaces,
    score: float | None,
    calibration: CalibrationFile | None,
    threshold: Threshold | None,
    redelivered: dict[str, float] | None,
) -> Verdict:
    if score is None:
        return Verdict(None, printable(media.error.reason)) if media.error else NO_FACE
    if calibration is None:
        return Verdict(None, UNCALIBRATED)
    if threshold is None:
        return Verdict(None, "the operating point was not set")
    is_video = media.kind == "video"
    return judge(score, calibration, threshold, is_video=is_video, redelivered=redelivered)


def _aggregate(media: MediaFaces, scores: np.ndarray) -> float:
    frames = np.array([face.frame for face in media.faces])
    return float(np.mean([scores[frames == frame].max() for frame in np.unique(frames)]))


def _faces(media: MediaFaces, scores: np.ndarray) -> Iterator[dict[str, Any]]:
    for face, score in zip(media.faces, scores.tolist(), strict=True):
        result: dict[str, Any] = {"box": [round(value, 5) for value in face.box], "score": score}
        if media.kind == "video":
            result |= {"frame": face.frame, "seconds": round(face.time_seconds, 3)}
        yield result
