"""One connection: one request at a time, answers that arrive, and nothing held for ever."""

import json
import socket
import time
from typing import Any

from waitress.channel import ClientDisconnected, HTTPChannel
from waitress.task import ErrorTask

from dfd_tf.serving.parsing import Busy, Parser
from dfd_tf.serving.security import error_headers

SENDING_SECONDS = 60.0
"""Longest time for an answer to be taken; more for those that need it at `_SLOWEST` speed."""
_SLOWEST = 2**15
_LINGER_SECONDS = 5.0


class JsonErrorTask(ErrorTask):
    """Answers what never reaches the application, in the application's words."""

    def execute(self) -> None:
        error = self.request.error
        self.status = f"{error.code} {error.reason}"
        body = json.dumps({"error": str(error.body)}).encode()
        self.response_headers.extend([("Content-Type", "application/json"), *error_headers()])
        if isinstance(error, Busy):
            self.response_headers.extend(error.headers.items())
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        self.channel.lingers = True
        self.channel.server.adj.refused(error.code)


class Channel(HTTPChannel):
    """A connection whose requests are parsed one by one, each once the one before is answered.

    It also lets a refused client finish, or it would never read why: closed with unread data, a
    connection is reset, and the answer on its way with it.
    """

    parser_class = Parser
    error_task_class = JsonErrorTask
    lingers = False
    sending_since: float | None = None
    _sending_bytes = 0
    _lingering_until = 0.0
    _unparsed = b""

    # waitress has no types.
    request: Any
    requests: list[Any]
    total_outbufs_len: int
    sent_continue: bool

    def received(self, data: bytes) -> bool:
        """Parses one request; what comes after it waits as it is, one read's bytes at most."""
        with self.requests_lock:
            if not data or self.will_close or self.close_when_flushed:
                return False
            self.sending_since = None
            while data and not self.requests:
                data = data[self._receive_part(data) :]
            self._unparsed = data
        return True

    def _receive_part(self, data: bytes) -> int:
        if self.request is None:
            self.request = self.parser_class(self.adj)
        request = self.request
        consumed: int = request.received(data)
        if request.expect_continue and request.headers_finished and not self.sent_continue:
            self.send_continue()
        if request.completed:
            self.sent_continue = False
            self.request = None
            if not request.empty:
                self.requests.append(request)
                self.server.add_task(self)
        return consumed

    def readable(self) -> bool:
        if self._lingering_until:
            if time.monotonic() > self._lingering_until:
                self.will_close = True
            return not self.will_close
        if self._unparsed and super().readable():
            data, self._unparsed = self._unparsed, b""
            self.received(data)
        return bool(super().readable())

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

    def write_soon(self, data: bytes) -> int:
        if not self.server.make_room(self, len(data)):
            self.will_close = True
            raise ClientDisconnected
        if self.sending_since is None:
            self.sending_since, self._sending_bytes = time.monotonic(), 0
        self._sending_bytes += len(data)
        return int(super().write_soon(data))

    def is_too_slow(self, now: float) -> bool:
        """Whether its client does not take an answer."""
        if not self.total_outbufs_len or self.sending_since is None:
            return False
        return now - self.sending_since > SENDING_SECONDS + self._sending_bytes / _SLOWEST

    def _linger(self) -> None:
        self._lingering_until = time.monotonic() + _LINGER_SECONDS
        try:
            self.socket.shutdown(socket.SHUT_WR)
        except OSError:
            self.will_close = True
