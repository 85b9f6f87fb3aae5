"""Requests as they arrive: refused as early as can be, bodies in memory or in the spool."""

import contextlib
import logging
import re
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from waitress.buffers import FileBasedBuffer, OverflowableBuffer
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.utilities import BadRequest, Error, RequestEntityTooLarge

from dfd_tf.serving.errors import ApiError, busy
from dfd_tf.serving.settings import FORM_BYTES, ServeSettings
from dfd_tf.serving.spool import Spool

log = logging.getLogger(__name__)

HEADER_BYTES = 2**15
JOBS_PATH = "/api/v1/jobs"
_RECEIVING_SECONDS = 120
"""Longest time for a request with an image to arrive; as many times more as a video is larger."""
_CHUNK_LINE_BYTES = 1024
_TRAILER_BYTES = 2**15
_MOST_DIGITS = 19
_BODY_LIMITS = {"/api/v1/predict": "max_image_body", JOBS_PATH: "max_video_body"}
_HAS_ENCODING = re.compile(rb"(?i)\ntransfer-encoding:")
_LENGTH = re.compile(rb"(?i)\ncontent-length:[ \t]*([^\r\n]*)")


class Busy(Error):
    """What would be taken in at another time."""

    code = 503
    reason = "Service Unavailable"

    def __init__(self, refusal: ApiError) -> None:
        super().__init__(refusal.message)
        self.headers = refusal.headers


@dataclass(frozen=True)
class BodyLimits:
    """How much may be on its way at the same time.

    Args:
        in_memory: Larger bodies go to the spool.
        memory: Bytes that all bodies in memory may take before one more is refused.
        spool: Bytes that all bodies in the spool may take, or have announced.
    """

    in_memory: int
    memory: int
    spool: int


class Bodies:
    """The bodies that are being received, or answered.

    Args:
        spool: Where large ones go.
        limits: How much may be on its way.
    """

    def __init__(self, spool: Spool, limits: BodyLimits) -> None:
        self.spool = spool
        self.limits = limits
        self._all: weakref.WeakSet[Body] = weakref.WeakSet()

    def new(self, announced: int) -> "Body":
        body = Body(self, announced)
        self._all.add(body)
        return body

    @property
    def are_too_large(self) -> bool:
        limits = self.limits
        in_memory = sum(len(body) for body in self._all if not body.overflowed)
        return in_memory > limits.memory or sum(b.spooled for b in self._all) > limits.spool

    def check_room(self, announced: int) -> None:
        """Refuses a body that the spool has no room for.

        Args:
            announced: Its length; 0 where that is not known.

        Raises:
            ApiError: 503.
        """
        if announced <= self.limits.in_memory:
            return
        wanted = announced + sum(body.spooled for body in self._all)
        # Each is copied once, out of its request.
        if wanted > self.limits.spool or 2 * wanted > self.spool.free_bytes:
            raise busy("too much is being sent at the same time, come back later", seconds=15)


class Body(OverflowableBuffer):
    """A body in memory or, from the size no image has, in the spool."""

    def __init__(self, bodies: Bodies, announced: int) -> None:
        super().__init__(bodies.limits.in_memory + 1)
        self.buf: Any = None
        self._bodies = bodies
        self._announced = announced

    @property
    def spooled(self) -> int:
        """Bytes of the spool it takes, or will take."""
        size = max(self._announced, len(self))
        return size if size > self._bodies.limits.in_memory else 0

    def _set_large_buffer(self) -> None:
        before = self.buf
        file = self._bodies.spool.file()
        try:
            self.buf = FileBasedBuffer(file, before)
        except OSError:
            with contextlib.suppress(OSError):
                file.close()
            raise
        if before is not None:
            before.close()
        self.overflowed = True

    def close(self) -> None:
        self._announced = 0
        # A full disk fails once more for what a file still holds back.
        with contextlib.suppress(OSError):
            super().close()


@dataclass(frozen=True)
class _Limits:
    """What a parser asks of waitress's adjustments, for one address."""

    max_request_body_size: int
    bodies: Bodies
    url_scheme: str
    max_request_header_size: int = HEADER_BYTES


class Parser(HTTPRequestParser):
    """Refuses a request by its header, before its body is read, wherever that can be told."""

    # waitress has no types.
    adj: Any
    body_rcv: Any
    error: Any
    completed: bool
    _body: Body | None = None
    _refusal: ApiError | None = None
    seconds = _RECEIVING_SECONDS

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.started = time.monotonic()

    def parse_header(self, header_plus: bytes) -> None:
        _check_length(header_plus)
        super().parse_header(header_plus)
        if _HAS_ENCODING.search(header_plus) and not self.chunked:
            raise ParsingError("Transfer-Encoding is not for this version of HTTP")
        settings: ServeSettings = self.adj.serve_settings
        bodies: Bodies = self.adj.bodies
        check_upload: Callable[[], None] = self.adj.check_upload
        limit = getattr(settings, _BODY_LIMITS.get(self.path, ""), FORM_BYTES)
        announced = self.content_length if self.content_length <= limit else 0
        if self.path == JOBS_PATH and self.command == "POST":
            try:
                check_upload()
                bodies.check_room(announced)
            except ApiError as error:
                # The traceback would hold this parser.
                self._refusal = error.with_traceback(None)
        if self.body_rcv is not None and self._refusal is None:
            self.body_rcv.buf = self._body = bodies.new(announced)
        self.seconds = _RECEIVING_SECONDS * max(1, limit // settings.max_image_body)
        self.adj = _Limits(limit + 1, bodies, self.adj.url_scheme)

    def received(self, data: bytes) -> int:
        try:
            consumed: int = super().received(data)
        except OSError as error:
            log.error("an upload cannot be stored: %s", error.strerror)
            self._refuse(busy("uploads cannot be stored now, come back later", seconds=15))
            return len(data)
        if isinstance(self.error, RequestEntityTooLarge):
            limit = self.adj.max_request_body_size - 1
            self.error.body = f"over the limit of {limit:,} bytes for this address"
            # The client must not be told to go on with what is refused.
            self.expect_continue = False
        elif self.error is not None:
            self.expect_continue = False
        elif self._refusal is not None:
            self._refuse(self._refusal)
        elif self._has_endless_line:
            self.error = BadRequest("a chunk's first line, or what follows the last, is too long")
            self.completed = True
        elif self._is_too_much:
            self._refuse(busy("too much is being sent at the same time, come back later", 5))
        return consumed

    def _refuse(self, refusal: ApiError) -> None:
        self.error = Busy(refusal)
        self.expect_continue = False
        self.completed = True

    @property
    def _has_endless_line(self) -> bool:
        """Whether lines of a chunked body are held that its limits know nothing of."""
        if not self.chunked or self.body_rcv is None:
            return False
        chunks = self.body_rcv
        return len(chunks.control_line) > _CHUNK_LINE_BYTES or len(chunks.trailer) > _TRAILER_BYTES

    @property
    def _is_too_much(self) -> bool:
        body = self._body
        if self.completed or body is None or len(body) <= FORM_BYTES:
            return False
        return bool(self.adj.bodies.are_too_large)


def _check_length(header: bytes) -> None:
    """Refuses what two servers in a row may read as bodies of two lengths.

    Raises:
        ParsingError: A length too long for any number, or beside another way to tell the end.
    """
    length = _LENGTH.search(header)
    if length is None:
        return
    if len(length[1]) > _MOST_DIGITS:
        raise ParsingError("Content-Length is invalid")
    if _HAS_ENCODING.search(header):
        raise ParsingError("Content-Length and Transfer-Encoding exclude one another")
