"""The page, and what machines ask about the server itself."""

import hashlib
import mimetypes
from pathlib import Path

from flask import Blueprint, Response, abort, render_template, request

from dfd_tf.serving.api import service
from dfd_tf.serving.errors import ApiError

blueprint = Blueprint("pages", __name__)


class StaticFiles:
    """The page's own files, read once: no request opens a file.

    Args:
        folder: Where they are.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.relative_to(folder).as_posix(): path.read_bytes()
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        self._tags = {name: hashlib.sha256(data).hexdigest() for name, data in self._files.items()}
        self._kinds = {name: mimetypes.guess_type(name)[0] for name in self._files}

    def answer(self, filename: str) -> Response:
        """Answers with a file, or that the browser's copy is still good."""
        if filename not in self._files:
            abort(404)
        kind = self._kinds[filename] or "application/octet-stream"
        response = Response(self._files[filename], mimetype=kind)
        response.set_etag(self._tags[filename])
        response.make_conditional(request)
        return response


@blueprint.get("/")
def index() -> str:
    """The page; it asks the JSON interface for everything it shows."""
    return render_template("index.html")


@blueprint.get("/healthz")
def healthz() -> dict[str, str]:
    """Whether the server is alive."""
    return {"status": "ok"}


@blueprint.get("/readyz")
def readyz() -> dict[str, str]:
    """Whether predictions will be answered."""
    if not service().is_ready:
        raise ApiError(503, "not ready: loading, or being stopped", {"Retry-After": "5"})
    if not service().spool.is_writable:
        raise ApiError(503, "not ready: uploads cannot be stored", {"Retry-After": "15"})
    return {"status": "ready"}


@blueprint.get("/metrics")
def metrics() -> Response:
    """Counters for Prometheus."""
    found = service()
    for state, number in found.jobs.counts().items():
        found.metrics.jobs.labels(state).set(number)
    found.metrics.pending.set(found.num_pending)
    return Response(found.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
