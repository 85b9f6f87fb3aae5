"""Errors of the HTTP interface: a status and one line that may be shown."""

from collections.abc import Mapping


class ApiError(Exception):
    """A request that is refused.

    Args:
        status: HTTP status, 4xx or 5xx.
        message: One line; no server path, no file name.
        headers: Further headers of the answer.
    """

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


def busy(message: str, seconds: int = 1) -> ApiError:
    """Returns the 503 of a full queue, which asks to come back in `seconds`."""
    return ApiError(503, message, {"Retry-After": str(seconds)})
