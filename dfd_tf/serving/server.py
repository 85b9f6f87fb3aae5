"""One server from start to end: listens, serves, and stops without dropping what it began."""

import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from types import FrameType

from dfd_tf.serving.application import create_app
from dfd_tf.serving.http import Server, make_server
from dfd_tf.serving.service import Service
from dfd_tf.serving.settings import ServeSettings
from pipelines.errors import InputError

_MOST_FILES = 2**16
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_STEP_SECONDS = 0.05


def run_server(
    runs: Sequence[str], settings: ServeSettings, announce: Callable[[str], None]
) -> None:
    """Serves runs until SIGTERM or SIGINT.

    Then new work is refused with 503 while requests under way are answered; jobs get what is left
    of `drain_seconds`. A second signal ends the process at once. One that comes before the server
    listens to requests ends the start, and leaves nothing behind.

    Args:
        runs: The run directories.
        settings: What the server was told.
        announce: Told the address once the server listens.

    Raises:
        InputError: The address cannot be listened on.
        DfdError: A run cannot be served.
        SystemExit: SIGTERM or SIGINT during the start, code 143 or 130.
    """
    raise_file_limit()
    with _own_process_state(), closing(listen(settings.host, settings.port)) as listener:
        log_to_stderr()
        signals = _StartSignals()
        service = Service(runs, settings)
        try:
            signals.release()
            _serve(service, listener, announce)
        finally:
            service.close()
    if service.is_left_running:
        # A thread within TensorFlow would be torn apart by the interpreter's end, and abort it.
        sys.stderr.flush()
        os._exit(0)


def _serve(service: Service, listener: socket.socket, announce: Callable[[str], None]) -> None:
    # What TensorFlow writes while it traces goes with the private folder, even after a kill.
    tempfile.tempdir = str(service.spool.scratch)
    service.start()
    server = make_server(create_app(service), service, listener)
    _stop_on_signals(server, service)
    announce(address(listener))
    server.serve()
    server.task_dispatcher.shutdown(timeout=1)


@contextmanager
def _own_process_state() -> Iterator[None]:
    """Puts signal handlers, the log and the temporary folder back at the end."""
    handlers = {number: signal.getsignal(number) for number in _STOP_SIGNALS}
    folder = tempfile.tempdir
    log = logging.getLogger("dfd_tf.serving")
    shown, is_passed_on = log.handlers, log.propagate
    try:
        yield
    finally:
        tempfile.tempdir = folder
        log.handlers, log.propagate = shown, is_passed_on
        for number, handler in handlers.items():
            signal.signal(number, handler)


def raise_file_limit() -> None:
    """Lets the process open as many files as its user may: a connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, _MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket bound to the first address `host` stands for.

    Raises:
        InputError: There is none, or it is taken.
    """
    name = host.strip("[]")
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, place = found[0]
        return socket.create_server(place[:2], family=family)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"--host {host} --port {port}: cannot listen there ({reason})") from None


def address(listener: socket.socket) -> str:
    """Returns the URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def log_to_stderr() -> None:
    """One line a message; waitress is heard only where it fails."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log = logging.getLogger("dfd_tf.serving")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    for name in ("waitress", "waitress.queue"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


def _stop_on_signals(server: Server, service: Service) -> None:
    stopping = threading.Event()

    def stop(number: int, _: FrameType | None) -> None:
        if stopping.is_set():
            os._exit(128 + number)
        stopping.set()
        service.drain()
        threading.Thread(target=_drain, args=(server, service), daemon=True).start()

    for number in _STOP_SIGNALS:
        signal.signal(number, stop)


class _StartSignals:
    """Ends the start on the first signal, but not amid the start of a process."""

    def __init__(self) -> None:
        self._exit_code: int | None = None
        self._is_released = False
        for number in _STOP_SIGNALS:
            signal.signal(number, self._receive)

    def release(self) -> None:
        """Lets signals end the start, also one that has come already.

        Raises:
            SystemExit: At once, or later from wherever the main thread is.
        """
        self._is_released = True
        self._check()

    def _receive(self, number: int, _: FrameType | None) -> None:
        self._exit_code = 128 + number
        self._check()

    def _check(self) -> None:
        # Not an Exception: TensorFlow's tracing would swallow one.
        if self._is_released and self._exit_code is not None:
            self._is_released = False
            raise SystemExit(self._exit_code)


def _drain(server: Server, service: Service) -> None:
    logging.getLogger(__name__).info("stopping: what is under way is finished")
    end = time.monotonic() + service.settings.drain_seconds
    _wait(lambda: bool(service.num_pending or service.jobs.num_active), end)
    _wait(lambda: server.has_work, end)
    server.leave()


def _wait(is_busy: Callable[[], bool], end: float) -> None:
    while is_busy() and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)
