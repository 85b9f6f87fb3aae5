"""What the models say of what was read, as the values of an answer."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from dfd_tf.inference.calibration import Threshold
from dfd_tf.inference.evidence import gather_evidence
from dfd_tf.inference.explanations import explain_faces, heat_png, telling_faces
from dfd_tf.inference.judgement import UNSET
from dfd_tf.inference.media_faces import FrameSampling, MediaFaces
from dfd_tf.inference.prediction import FilePrediction, file_prediction, missing_threshold
from dfd_tf.serving.batching import BatchedNetwork, Batcher
from dfd_tf.serving.decoding_worker import Reading, ReadingTask
from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.models import ServedModel
from dfd_tf.serving.settings import ServeSettings
from pipelines.errors import Cause, MediaError
from pipelines.settings import PrepareSettings

_CROP_QUALITY = 90
_TOO_LARGE = (Cause.TOO_MANY_BYTES, Cause.TOO_MANY_PIXELS)


@dataclass(frozen=True)
class Question:
    """What is asked of an upload.

    Args:
        models: Who is asked.
        operating_point: Its name.
        thresholds: The operating point of each model; None where it was not set.
        explain: Add explanations.
        stability: Score re-delivered copies as well.
        sampling: Which frames of a video.
    """

    models: tuple[ServedModel, ...]
    operating_point: str
    thresholds: tuple[Threshold | None, ...]
    explain: bool = False
    stability: bool = False
    sampling: FrameSampling = field(default_factory=FrameSampling)

    def reading_task(self, settings: ServeSettings, seconds: float) -> ReadingTask:
        """Returns what has to be read for it: once for each way the models see faces."""
        ways = dict.fromkeys(face_settings(model, settings) for model in self.models)
        return ReadingTask(tuple(ways), seconds, self.stability, self.sampling)


def face_settings(model: ServedModel, settings: ServeSettings) -> PrepareSettings:
    """Returns how faces are found for a model, within the server's limits."""
    return replace(model.predictor.settings, limits=settings.limits)


def answers(
    question: Question,
    reading: Reading,
    settings: ServeSettings,
    batcher: Batcher,
    before_call: Callable[[str, int], None] = lambda _stage, _images: None,
) -> list[dict[str, Any]]:
    """Returns the result of each model, as JSON values.

    Args:
        question: What is asked.
        reading: What was read for it.
        settings: The server's.
        batcher: Who runs the networks.
        before_call: Told `scoring` or `explaining` and the number of images before each part of
            the work; what it raises ends it.

    Raises:
        ApiError: The upload cannot be used.
    """
    ways = question.reading_task(settings, 0.0).settings
    media_by_way = dict(zip(ways, reading.media, strict=True))
    results = []
    for model, threshold in zip(question.models, question.thresholds, strict=True):
        media = media_by_way[face_settings(model, settings)]
        if media.error is not None:
            raise unusable(media.error)
        network = BatchedNetwork(model.predictor, batcher, lambda n: before_call("scoring", n))
        evidence = gather_evidence(network, media)
        calibration = model.predictor.calibration
        unset = missing_threshold(model.predictor, question.operating_point) or UNSET
        prediction = file_prediction(media, evidence, calibration, threshold, unset)
        explanations: list[dict[str, Any]] = []
        if question.explain:
            explaining = replace(network, before_call=lambda n: before_call("explaining", n))
            explanations = _explanations(explaining, media, prediction)
        row = asdict(prediction)
        del row["path"]
        facts = _facts(model, question.operating_point, threshold)
        results.append(facts | row | {"explanations": explanations})
    return results


def unusable(error: MediaError) -> ApiError:
    """Returns the answer to a file that cannot be used: over a limit 413, otherwise 422."""
    return ApiError(413 if error.cause in _TOO_LARGE else 422, error.reason)


def _facts(model: ServedModel, operating_point: str, threshold: Threshold | None) -> dict[str, Any]:
    """What makes a result readable alone, beside what a prediction says itself."""
    unset = "not set" if model.predictor.calibration else "uncalibrated"
    return {
        "model_name": model.name,
        "detector": model.predictor.model.detector,
        "model": model.sha,
        "pretrained": model.predictor.model.pretrained,
        "caveats": model.caveats,
        "operating_point": operating_point if threshold else unset,
    }


def _explanations(
    network: BatchedNetwork, media: MediaFaces, prediction: FilePrediction
) -> list[dict[str, Any]]:
    faces = telling_faces(prediction)
    found = explain_faces(network, [media.faces[face].encoded for face in faces])
    return [
        {
            "face": face,
            "crop": _picture(one.crop),
            "heat": _data_uri("png", heat_png(one.heat)),
            "reconstruction": None if one.reconstruction is None else _picture(one.reconstruction),
            "difference": _difference(one.difference),
        }
        for face, one in zip(faces, found, strict=True)
    ]


def _difference(error: np.ndarray | None) -> str | None:
    """The error of a reconstruction, grey, stretched so that its largest value is white."""
    if error is None:
        return None
    return _picture(np.round(error * (255.0 / max(float(error.max()), 1 / 255))).astype(np.uint8))


def _picture(pixels: np.ndarray) -> str:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=_CROP_QUALITY)
    return _data_uri("jpeg", data.getvalue())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def model_list(models: Sequence[ServedModel], settings: ServeSettings) -> dict[str, Any]:
    """Describes the loaded models and the limits."""
    limits = settings.limits
    frames = [model.predictor.settings.frames for model in models]
    return {
        "models": [_description(model, settings) for model in models],
        "limits": {
            "max_image_bytes": limits.max_image_bytes,
            "max_video_bytes": limits.max_video_bytes,
            "max_video_seconds": limits.max_video_seconds,
            "max_pixels": limits.max_pixels,
            "frames": min(frames[0] if frames else PrepareSettings().frames, settings.max_frames),
            "max_frames": settings.max_frames,
        },
    }


def _description(model: ServedModel, settings: ServeSettings) -> dict[str, Any]:
    predictor = model.predictor
    calibration = predictor.calibration
    default = settings.operating_point
    return {
        "name": model.name,
        "detector": predictor.model.detector,
        "model": model.sha,
        "image_size": predictor.image_size,
        "pretrained": predictor.model.pretrained,
        "caveats": model.caveats,
        "calibrated": calibration is not None,
        "calibration": calibration
        and {
            "dataset": calibration.dataset,
            "num_real": calibration.num_real,
            "num_fake": calibration.num_fake,
            "dataset_fingerprint": calibration.dataset_fingerprint,
            "video": calibration.video
            and {
                "num_real": calibration.video.num_real,
                "num_fake": calibration.video.num_fake,
            },
        },
        "operating_points": [
            {
                "name": point.name,
                "threshold": point.value,
                "target_fpr": point.target_fpr,
                "target_miss": point.target_miss,
                "num_real": point.num_real,
                "observed_fpr": point.observed_fpr,
                "rule": point.rule,
            }
            for point in (calibration.thresholds if calibration else ())
        ],
        "default_operating_point": default if model.has_operating_point(default) else None,
        "faces": predictor.settings.faces.detector,
    }
