"""waitress with our limits: bodies by address, errors as JSON, and answers that arrive.

One thread reads all connections, so slow clients hold neither a worker thread nor one another up.
"""

import json
import socket
import time
import weakref
from dataclasses import dataclass
from typing import Any

from waitress.adjustments import Adjustments
from waitress.buffers import FileBasedBuffer, OverflowableBuffer
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask
from waitress.utilities import Error, RequestEntityTooLarge

from dfd_tf.serving.security import error_headers
from dfd_tf.serving.service import Service
from dfd_tf.serving.settings import FORM_BYTES, SPARE_THREADS, ServeSettings
from dfd_tf.serving.spool import Spool

IDENT = "dfd-tf"
REFUSED = "(refused)"
"""Stands for the route of requests that never reach one."""
_CONNECTIONS = 512
_IDLE_SECONDS = 60
_RECEIVING_SECONDS = 120
"""Longest time for a request with an image to arrive; as many times more as a video is larger."""
_HEADER_BYTES = 2**15
_RECEIVED_BYTES = 2**16
_ANSWER_BYTES = 2**30
_LINGER_SECONDS = 5.0
_BODY_LIMITS = {"/api/v1/predict": "max_image_body", "/api/v1/jobs": "max_video_body"}


class Busy(Error):
    """Too much is being sent at the same time."""

    code = 503
    reason = "Service Unavailable"


class Bodies:
    """The bodies that are being received, or answered.

    Args:
        spool: Where large ones go.
        largest_in_memory: From one byte more on they do.
        budget: Bytes that all others together may take before new ones are refused.
    """

    def __init__(self, spool: Spool, largest_in_memory: int, budget: int) -> None:
        self.spool = spool
        self.largest_in_memory = largest_in_memory
        self._budget = budget
        self._all: weakref.WeakSet[Body] = weakref.WeakSet()

    def new(self) -> "Body":
        body = Body(self)
        self._all.add(body)
        return body

    @property
    def are_too_large(self) -> bool:
        return sum(len(body) for body in self._all if not body.overflowed) > self._budget


class Body(OverflowableBuffer):
    """A body in memory or, from the size no image has, in the spool."""

    def __init__(self, bodies: Bodies) -> None:
        super().__init__(bodies.largest_in_memory + 1)
        self.buf: Any = None
        self._spool = bodies.spool

    def _set_large_buffer(self) -> None:
        before = self.buf
        self.buf = FileBasedBuffer(self._spool.file(), before)
        if before is not None:
            before.close()
        self.overflowed = True


@dataclass(frozen=True)
class _Limits:
    """What a parser asks of waitress's adjustments, for one address."""

    max_request_body_size: int
    bodies: Bodies
    url_scheme: str
    max_request_header_size: int = _HEADER_BYTES


class Parser(HTTPRequestParser):
    """Refuses a body by its announced length, before it is read, by what the address takes."""

    # waitress has no types.
    adj: Any
    body_rcv: Any
    error: Any
    completed: bool
    _body: Body | None = None
    seconds = _RECEIVING_SECONDS

    def __init__(self, adj: Any) -> None:
        super().__init__(adj)
        self.started = time.monotonic()

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        settings: ServeSettings = self.adj.serve_settings
        bodies: Bodies = self.adj.bodies
        if self.body_rcv is not None:
            self.body_rcv.buf = self._body = bodies.new()
        limit = getattr(settings, _BODY_LIMITS.get(self.path, ""), FORM_BYTES)
        self.seconds = _RECEIVING_SECONDS * max(1, limit // settings.max_image_body)
        self.adj = _Limits(limit + 1, bodies, self.adj.url_scheme)

    def received(self, data: bytes) -> int:
        consumed = super().received(data)
        if isinstance(self.error, RequestEntityTooLarge):
            limit = self.adj.max_request_body_size - 1
            self.error.body = f"over the limit of {limit:,} bytes for this address"
            # The client must not be told to go on with what is refused.
            self.expect_continue = False
        elif self._is_too_much:
            self.error = Busy("too much is being sent at the same time, come back later")
            self.completed = True
        return consumed

    @property
    def _is_too_much(self) -> bool:
        body = self._body
        if self.completed or body is None or len(body) <= FORM_BYTES:
            return False
        return self.adj.bodies.are_too_large


class JsonErrorTask(ErrorTask):
    """Answers what never reaches the application, in the application's words."""

    def execute(self) -> None:
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        body = json.dumps({"error": str(error.body)}).encode()
        self.response_headers.extend([("Content-Type", "application/json"), *error_headers()])
        if isinstance(error, Busy):
            self.response_headers.append(("Retry-After", "5"))
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        self.channel.lingers = True
        self.channel.server.adj.refused(error.code)


class Channel(HTTPChannel):
    """A connection that lets a refused client finish, or it would never read why.

    Closed with unread data, a connection is reset, and the answer on its way with it.
    """

    parser_class = Parser
    error_task_class = JsonErrorTask
    lingers = False
    _lingering_until = 0.0

    def readable(self) -> bool:
        if self._lingering_until:
            if time.monotonic() > self._lingering_until:
                self.will_close = True
            return not self.will_close
        return super().readable()

    def writable(self) -> bool:
        if self._lingering_until:
            return self.will_close
        return bool(super().writable())

    def handle_write(self) -> None:
        if self.lingers and self.close_when_flushed and not self._lingering_until:
            self._flush_exception(self._flush_some)
            if not self.total_outbufs_len and not self.will_close:
                self._linger()
                return
        super().handle_write()

    def _linger(self) -> None:
        self._lingering_until = time.monotonic() + _LINGER_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.will_close = True


class Server(TcpWSGIServer):
    """A waitress server whose loop can be left from another thread."""

    channel_class = Channel
    _is_left = False

    def maintenance(self, now: float) -> None:
        """Closes connections that have been idle, or at one request, for too long."""
        super().maintenance(now)
        for channel in self.active_channels.values():
            request = channel.request
            if request is not None and time.monotonic() - request.started > request.seconds:
                channel.will_close = True

    def serve(self) -> None:
        """Answers requests until `leave`."""
        while not self._is_left:
            self.asyncore.loop(timeout=1, map=self._map, use_poll=True, count=1)

    def leave(self) -> None:
        """Ends `serve`; call it from any thread."""
        self._is_left = True
        self.pull_trigger()

    @property
    def has_work(self) -> bool:
        """Whether a request is being answered, or an answer not sent yet."""
        channels = list(self.active_channels.values())
        return any(channel.requests or channel.total_outbufs_len for channel in channels)


def make_server(application: Any, service: Service, listener: socket.socket) -> Server:
    """Returns a server on a bound socket."""
    settings = service.settings
    adjustments = Adjustments(
        sockets=[listener],
        threads=settings.max_pending + SPARE_THREADS,
        connection_limit=_CONNECTIONS,
        channel_timeout=_IDLE_SECONDS,
        cleanup_interval=5,
        max_request_header_size=_HEADER_BYTES,
        max_request_body_size=settings.max_video_body + 1,
        recv_bytes=_RECEIVED_BYTES,
        # Answers hold faces, and stay in memory as well.
        outbuf_overflow=_ANSWER_BYTES,
        outbuf_high_watermark=_ANSWER_BYTES,
        ident=IDENT,
        clear_untrusted_proxy_headers=True,
        log_socket_errors=False,
    )
    adjustments.serve_settings = settings
    adjustments.bodies = Bodies(
        service.spool, settings.max_image_body, settings.max_pending * settings.max_image_body
    )
    adjustments.refused = lambda code: service.count("other", REFUSED, code)
    facts = (listener.family, listener.type, listener.proto, listener.getsockname())
    return Server(application, _sock=listener, adj=adjustments, bind_socket=False, sockinfo=facts)
