"""The OpenAPI document of the interface, made from the same models that check and describe it."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dfd_tf import __version__
from dfd_tf.serving import schemas
from dfd_tf.serving.settings import ServeSettings

_REFERENCE = "#/components/schemas/{model}"
_ERRORS = {
    "400": "The request cannot be read: no boundary, no file, or not in the field `file`.",
    "403": "A host name that is not served here, or a page of another site.",
    "404": "Not here.",
    "405": "This method is not for this address.",
    "413": "Over the limit of bytes or pixels, or too many form parts.",
    "415": "A compressed body, or a video where an image is expected.",
    "422": "The file or the query cannot be used; the error says why.",
    "500": "The server failed; its log says why.",
    "503": "The queue is full, the models are being loaded, or the server is being stopped.",
}
_USED = (
    schemas.ErrorBody,
    schemas.Status,
    schemas.ModelList,
    schemas.ImageAnswer,
    schemas.JobAnswer,
)


def openapi_document(settings: ServeSettings) -> dict[str, Any]:
    """Returns the document of a server with these settings."""
    _, definitions = models_json_schema(
        [(model, "serialization") for model in _USED], ref_template=_REFERENCE
    )
    limits = settings.limits
    image, video = f"{limits.max_image_bytes:,}", f"{limits.max_video_bytes:,}"
    job_id = {"name": "job_id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "dfd-tf",
            "version": __version__,
            "description": "Scores faces in images and videos. Nothing is stored.",
        },
        "paths": {
            "/api/v1/models": {
                "get": _operation(
                    "models", "The loaded models and the limits.", "200", schemas.ModelList
                )
            },
            "/api/v1/predict": {
                "post": _operation(
                    "predict",
                    f"Scores one image of at most {image} bytes.",
                    "200",
                    schemas.ImageAnswer,
                    errors=("400", "413", "415", "422", "500", "503"),
                    parameters=_parameters(schemas.PredictQuery),
                    body=_upload("The image."),
                )
            },
            "/api/v1/jobs": {
                "post": _operation(
                    "submit_job",
                    f"Queues one video of at most {video} bytes, or an image.",
                    "202",
                    schemas.JobAnswer,
                    errors=("400", "413", "415", "422", "500", "503"),
                    parameters=_parameters(schemas.JobQuery),
                    body=_upload("The video."),
                    headers={"Location": {"schema": {"type": "string"}}},
                )
            },
            "/api/v1/jobs/{job_id}": {
                "get": _operation(
                    "job",
                    "State, progress and, at the end, results of a job.",
                    "200",
                    schemas.JobAnswer,
                    errors=("404",),
                    parameters=[job_id],
                ),
                "delete": _operation(
                    "cancel_job",
                    "Cancels a job, or forgets one that has ended.",
                    "200",
                    schemas.JobAnswer,
                    errors=("404",),
                    parameters=[job_id],
                ),
            },
            "/healthz": {
                "get": _operation("healthz", "The server is alive.", "200", schemas.Status)
            },
            "/readyz": {
                "get": _operation(
                    "readyz",
                    "The models are loaded, and the server is not being stopped.",
                    "200",
                    schemas.Status,
                    errors=("503",),
                )
            },
        },
        "components": {"schemas": definitions["$defs"]},
    }


def _operation(
    name: str,
    summary: str,
    status: str,
    answer: type[BaseModel],
    *,
    errors: tuple[str, ...] = (),
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    headers: dict[str, Any] | None = None,
) -> dict[str, Any]:
    responses: dict[str, Any] = {
        status: {"description": summary, "content": _json(answer)} | _optional("headers", headers)
    }
    for code in sorted({"400", "403", *errors}):
        responses[code] = {"description": _ERRORS[code], "content": _json(schemas.ErrorBody)}
        if code == "503":
            responses[code]["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return (
        {"operationId": name, "summary": summary}
        | _optional("parameters", parameters)
        | _optional("requestBody", body)
        | {"responses": responses}
    )


def _optional(name: str, value: Any) -> dict[str, Any]:
    return {} if value is None else {name: value}


def _json(answer: type[BaseModel]) -> dict[str, Any]:
    reference = _REFERENCE.format(model=answer.__name__)
    return {"application/json": {"schema": {"$ref": reference}}}


def _upload(what: str) -> dict[str, Any]:
    binary = {"type": "string", "format": "binary"}
    form = {"type": "object", "properties": {"file": binary}, "required": ["file"]}
    return {
        "description": f"{what} Either the form field `file`, or the body as it is.",
        "required": True,
        "content": {
            "multipart/form-data": {"schema": form},
            "application/octet-stream": {"schema": binary},
        },
    }


def _parameters(query: type[BaseModel]) -> list[dict[str, Any]]:
    """Returns the query parameters of a schema; none of them is nullable in a URL."""
    parameters = []
    for name, schema in query.model_json_schema()["properties"].items():
        described = {key: schema.pop(key) for key in ("description",) if key in schema}
        schema.pop("title", None)
        if "anyOf" in schema:
            (plain,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
            schema = plain
        parameters.append({"name": name, "in": "query", "schema": schema} | described)
    return parameters
