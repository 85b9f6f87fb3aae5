"""waitress with our limits: bodies by address, errors as JSON, and answers that arrive.

One thread reads all connections, so slow clients hold neither a worker thread nor one another up.
"""

import socket
import time
from typing import Any

from waitress.adjustments import Adjustments
from waitress.server import TcpWSGIServer

from dfd_tf.serving.channel import Channel
from dfd_tf.serving.parsing import HEADER_BYTES, Bodies, BodyLimits
from dfd_tf.serving.service import Service
from dfd_tf.serving.settings import SPARE_THREADS, UPLOAD_SLOTS

IDENT = "dfd-tf"
REFUSED = "(refused)"
"""Stands for the route of requests that never reach one."""
_CONNECTIONS = 512
_IDLE_SECONDS = 60
_RECEIVED_BYTES = 2**16
_ANSWER_BYTES = 2**30
_WATERMARK = 2**20
"""Parts of an answer wait from here on; ours come in one piece, which never does."""
_UNSENT_BYTES = 2**28
"""Answers in memory; beyond, the connections that have not taken theirs for longest are closed."""


class Server(TcpWSGIServer):
    """A waitress server whose loop can be left from another thread."""

    channel_class = Channel
    _is_left = False

    def maintenance(self, now: float) -> None:
        """Closes connections that have been idle, at one request or at its answer, for too long."""
        super().maintenance(now)
        moment = time.monotonic()
        for channel in self.active_channels.values():
            request = channel.request
            is_late = request is not None and moment - request.started > request.seconds
            if is_late or channel.is_too_slow(moment):
                channel.will_close = True

    def make_room(self, asking: Channel, size: int) -> bool:
        """Closes the slowest connections until an answer fits; whether it does then."""
        if size < _RECEIVED_BYTES:
            return True
        waiting = [one for one in list(self.active_channels.values()) if one.total_outbufs_len]
        unsent = size + sum(channel.total_outbufs_len for channel in waiting)
        waiting.sort(key=lambda channel: channel.sending_since or 0.0)
        for channel in waiting:
            if unsent <= _UNSENT_BYTES:
                break
            if channel is not asking:
                unsent -= channel.total_outbufs_len
                channel.will_close = True
        return size <= _UNSENT_BYTES

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
        max_request_header_size=HEADER_BYTES,
        max_request_body_size=settings.max_video_body + 1,
        recv_bytes=_RECEIVED_BYTES,
        # Answers hold faces, and stay in memory as well.
        outbuf_overflow=_ANSWER_BYTES,
        outbuf_high_watermark=_WATERMARK,
        ident=IDENT,
        clear_untrusted_proxy_headers=True,
        log_socket_errors=False,
    )
    adjustments.serve_settings = settings
    limits = BodyLimits(
        in_memory=settings.max_image_body,
        memory=settings.max_pending * settings.max_image_body,
        spool=UPLOAD_SLOTS * settings.max_video_body,
    )
    adjustments.bodies = Bodies(service.spool, limits)
    adjustments.check_upload = service.check_upload
    adjustments.refused = lambda code: service.count("other", REFUSED, code)
    facts = (listener.family, listener.type, listener.proto, listener.getsockname())
    return Server(application, _sock=listener, adj=adjustments, bind_socket=False, sockinfo=facts)
