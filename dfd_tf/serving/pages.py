"""The page, and what machines ask about the server itself."""

from flask import Blueprint, Response, render_template

from dfd_tf.serving.api import service
from dfd_tf.serving.errors import ApiError

blueprint = Blueprint("pages", __name__)


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
    return {"status": "ready"}


@blueprint.get("/metrics")
def metrics() -> Response:
    """Counters for Prometheus."""
    found = service()
    for state, number in found.jobs.counts().items():
        found.metrics.jobs.labels(state).set(number)
    found.metrics.pending.set(found.num_pending)
    return Response(found.metrics.text(), content_type="text/plain; version=0.0.4; charset=utf-8")
