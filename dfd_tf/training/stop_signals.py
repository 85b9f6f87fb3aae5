# ruff: noqa: ARG002 - the signatures are Python's
"""SIGTERM and SIGINT: the first asks for a clean stop, the second ends the process at once."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequest:
    """Whether, and by which signal, a stop was asked for."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None

    @property
    def exit_code(self) -> int:
        """128 + number of the signal, as shells count."""
        if self.signal is None:
            raise ValueError("no stop was asked for")
        return 128 + self.signal

    def receive(self, number: int, frame: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = signal.Signals(number)
        # The console may be in the middle of a line, and is not reentrant; stderr's descriptor is.
        os.write(2, b"\nstopping after this step; the same signal again stops at once\n")


@contextmanager
def stop_signals() -> Iterator[StopRequest]:
    """Catches SIGTERM and SIGINT; outside the main thread Python allows none to be caught."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {
        number: signal.signal(number, request.receive) for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
