"""One server from start to end: listens, serves, and stops without dropping what it began."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Sequence
from types import FrameType

from dfd_tf.serving.application import create_app
from dfd_tf.serving.http import Server, make_server
from dfd_tf.serving.service import Service
from dfd_tf.serving.settings import ServeSettings
from pipelines.errors import InputError

_FLUSH_SECONDS = 3.0
_STEP_SECONDS = 0.05


def run_server(
    runs: Sequence[str], settings: ServeSettings, announce: Callable[[str], None]
) -> None:
    """Serves runs until SIGTERM or SIGINT.

    Then new work is refused with 503 while requests under way are answered; jobs get what is left
    of `drain_seconds`. A second signal ends the process at once.

    Args:
        runs: The run directories.
        settings: What the server was told.
        announce: Told the address once the server listens.

    Raises:
        InputError: The address cannot be listened on.
        DfdError: A run cannot be served.
    """
    log_to_stderr()
    listener = listen(settings.host, settings.port)
    service = Service(runs, settings)
    try:
        service.start()
        server = make_server(create_app(service), service, listener)
        _stop_on_signals(server, service)
        announce(address(listener))
        server.serve()
        server.task_dispatcher.shutdown(timeout=1)
    finally:
        service.close()
        listener.close()


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

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _drain(server: Server, service: Service) -> None:
    logging.getLogger(__name__).info("stopping: what is under way is finished")
    _wait(
        lambda: bool(service.num_pending or service.jobs.num_active), service.settings.drain_seconds
    )
    _wait(lambda: server.has_work, _FLUSH_SECONDS)
    server.leave()


def _wait(is_busy: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while is_busy() and time.monotonic() < end:
        time.sleep(_STEP_SECONDS)
