"""Who may ask, and what every answer says to browsers."""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from flask import Request, Response

from dfd_tf.serving.errors import ApiError

_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:;"
        " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def allowed_hosts(host: str, others: Sequence[str]) -> frozenset[str]:
    """Returns the names a server may be asked for by; a port given with one is left out."""
    return frozenset(_without_port(name) for name in (host, *_LOCAL_NAMES, *others))


def _without_port(name: str) -> str:
    bare = name.lower().strip("[]")
    return bare if _is_address(bare) else _host_name(name) or bare


def check_request(request: Request, hosts: frozenset[str], listens_everywhere: bool) -> None:
    """Refuses what a web page of somebody else may have sent.

    Args:
        request: The request.
        hosts: Names the server may be asked for by; a foreign name that leads here is the sign of
            DNS rebinding.
        listens_everywhere: Whether any address will do: those cannot be rebound.

    Raises:
        ApiError: 400 or 403.
    """
    stated = request.headers.get("Host")
    if stated is None and request.environ.get("SERVER_PROTOCOL") != "HTTP/1.0":
        raise ApiError(400, "the Host header is missing")
    if stated is not None:
        name = _host_name(stated)
        if name not in hosts and not (listens_everywhere and _is_address(name)):
            raise ApiError(403, "this host name is not served here (see --allow-host)")
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("Origin")
    if origin is not None and (stated is None or _place(origin) != stated.lower()):
        raise ApiError(403, "requests from pages of other sites are refused")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
        raise ApiError(403, "requests from pages of other sites are refused")


def secured(response: Response, is_static: bool) -> Response:
    """Adds the headers every answer has; only the page's own files may be kept by browsers."""
    for name, value in _HEADERS.items():
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-cache" if is_static else "no-store"
    return response


def error_headers() -> list[tuple[str, str]]:
    """Returns the headers of errors that are answered before the application is asked."""
    return [*_HEADERS.items(), ("Cache-Control", "no-store")]


def _place(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


def _host_name(stated: str) -> str:
    try:
        return (urlsplit(f"//{stated}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
