"""The JSON interface, version 1."""

import hashlib
import logging
import os
from typing import Any, TypeVar, cast

from flask import Blueprint, current_app, request, url_for
from pydantic import ValidationError

from dfd_tf import __version__
from dfd_tf.inference.media_faces import FrameSampling
from dfd_tf.serving.errors import ApiError, busy
from dfd_tf.serving.openapi import openapi_document
from dfd_tf.serving.results import Question, model_list
from dfd_tf.serving.schemas import JobQuery, PredictQuery
from dfd_tf.serving.service import Service
from dfd_tf.serving.spool import memory_file
from dfd_tf.serving.uploads import UploadRequest, image_bytes, spooled_file

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

log = logging.getLogger(__name__)

_Query = TypeVar("_Query", bound=PredictQuery)


def service() -> Service:
    return cast(Service, current_app.extensions["dfd_tf"])


@blueprint.get("/models")
def models() -> dict[str, Any]:
    """Describes the loaded models and the limits."""
    found = service()
    return model_list(found.models.all(), found.settings) | {"version": __version__}


@blueprint.post("/predict")
def predict() -> dict[str, Any]:
    """Scores one image."""
    found = service()
    question = _question(_query(PredictQuery))
    with found.prediction_slot():
        data = image_bytes(cast(UploadRequest, request), found.settings.limits.max_image_bytes)
        descriptor = memory_file(data)
        try:
            reading, results = found.predict(question, descriptor)
        finally:
            os.close(descriptor)
    width, height = reading.size or (0, 0)
    return {
        "kind": "image",
        "sha256": hashlib.sha256(data).hexdigest(),
        "image": {"width": width, "height": height},
        "results": results,
    }


@blueprint.post("/jobs")
def submit_job() -> tuple[dict[str, Any], int, dict[str, str]]:
    """Queues a video or an image."""
    found = service()
    question = _question(_query(JobQuery))
    limits = found.settings.limits
    found.jobs.check_room()
    with found.upload_slot():
        limit = max(limits.max_video_bytes, limits.max_image_bytes)
        try:
            upload = spooled_file(
                cast(UploadRequest, request), found.spool, limit, found.settings.max_image_body
            )
            digest = hashlib.file_digest(upload, "sha256").hexdigest()  # type: ignore[arg-type]
            upload.seek(0)
        except OSError as error:
            log.error("an upload cannot be stored: %s", error.strerror)
            raise busy("uploads cannot be stored now, come back later", seconds=15) from None
        job = found.jobs.submit(question, upload, digest)
    return {"job": job.values()}, 202, {"Location": url_for("api.job", job_id=job.id)}


@blueprint.get("/jobs/<job_id>")
def job(job_id: str) -> dict[str, Any]:
    """State, progress and results of a job."""
    return {"job": service().jobs.get(job_id).values()}


@blueprint.delete("/jobs/<job_id>")
def cancel_job(job_id: str) -> dict[str, Any]:
    """Cancels a job, or forgets a finished one."""
    return {"job": service().jobs.cancel(job_id).values()}


@blueprint.get("/openapi.json")
def openapi() -> dict[str, Any]:
    """Describes the interface for machines."""
    return openapi_document(service().settings)


def _query(schema: type[_Query]) -> _Query:
    """Reads the query; `model` may be given several times, everything else once.

    Raises:
        ApiError: 422, something in it is unknown or impossible.
    """
    values: dict[str, Any] = {}
    for name, found in request.args.lists():
        if name != "model" and len(found) > 1:
            raise ApiError(422, f"{_shortened(name)}: given {len(found)} times")
        values[name] = found if name == "model" else found[0]
    try:
        return schema.model_validate(values)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in problem["loc"])
        raise ApiError(422, f"{_shortened(place)}: {problem['msg']}") from None


def _question(query: PredictQuery) -> Question:
    found = service()
    found.check_open()
    chosen = found.models.choose(query.model)
    name = query.operating_point or found.settings.operating_point
    default_only = query.operating_point is None
    thresholds = [
        None
        if default_only and not model.has_operating_point(name)
        else model.operating_point(name)
        for model in chosen
    ]
    return Question(
        models=tuple(chosen),
        operating_point=name,
        thresholds=tuple(thresholds),
        explain=query.explain,
        stability=query.stability,
        sampling=_sampling(query, found.settings.max_frames),
    )


def _sampling(query: PredictQuery, max_frames: int) -> FrameSampling:
    if not isinstance(query, JobQuery):
        return FrameSampling(most=max_frames)
    if query.frames is not None and query.frames > max_frames:
        raise ApiError(422, f"frames: {query.frames}, expected 1 to {max_frames}")
    try:
        return FrameSampling(query.frames, query.dense, max_frames)
    except ValueError as error:
        raise ApiError(422, str(error)) from None


def _shortened(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:40])
