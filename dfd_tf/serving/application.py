"""The Flask application: routes, and what every request and answer goes through."""

import ipaddress
import logging
import time
from pathlib import Path

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from dfd_tf.serving import api, pages
from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.security import allowed_hosts, check_request, secured
from dfd_tf.serving.service import Service
from dfd_tf.serving.uploads import UploadRequest

log = logging.getLogger("dfd_tf.serving.requests")

NO_ROUTE = "(no route)"


class Application(Flask):
    request_class = UploadRequest


def create_app(service: Service) -> Flask:
    """Makes the application of a service."""
    settings = service.settings
    app = Application(__name__, static_folder=None)
    app.debug = False
    app.config["MAX_CONTENT_LENGTH"] = settings.max_video_body
    app.config["TRAP_HTTP_EXCEPTIONS"] = False
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.extensions["dfd_tf"] = service
    app.url_map.strict_slashes = True
    # A redirect would be HTML, and cleaned addresses are nobody's to ask for.
    app.url_map.merge_slashes = False
    app.register_blueprint(pages.blueprint)
    app.register_blueprint(api.blueprint)
    files = pages.StaticFiles(Path(app.root_path) / "static")
    app.add_url_rule("/static/<path:filename>", "static", files.answer)
    hosts = allowed_hosts(settings.host, settings.allow_hosts)
    listens_everywhere = _is_unspecified(settings.host)

    @app.before_request
    def check() -> None:
        g.started = time.perf_counter()
        check_request(request, hosts, listens_everywhere)

    @app.after_request
    def finish(response: Response) -> Response:
        _record(service, response)
        return secured(response, request.endpoint == "static")

    @app.errorhandler(ApiError)
    def refuse(error: ApiError) -> tuple[dict[str, str], int, dict[str, str]]:
        return {"error": error.message}, error.status, error.headers

    @app.errorhandler(HTTPException)
    def refuse_http(error: HTTPException) -> tuple[dict[str, str], int, list[tuple[str, str]]]:
        kept = [pair for pair in error.get_headers() if pair[0] in ("Allow", "Retry-After")]
        return {"error": _line(error)}, error.code or 500, kept

    @app.errorhandler(Exception)
    def fail(error: Exception) -> tuple[dict[str, str], int]:
        log.error("%s failed", _route(), exc_info=error)
        return {"error": "the server failed; its log says why"}, 500

    return app


def _line(error: HTTPException) -> str:
    name = error.name.lower()
    return {404: "not found", 405: f"{name}: {request.method}"}.get(error.code or 500, name)


def _route() -> str:
    return request.url_rule.rule if request.url_rule else NO_ROUTE


def _record(service: Service, response: Response) -> None:
    seconds = time.perf_counter() - g.started
    route = _route()
    method = request.method if request.url_rule else "other"
    service.metrics.seconds.labels(route).observe(seconds)
    service.count(method, route, response.status_code, seconds, response.calculate_content_length())


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        return False
