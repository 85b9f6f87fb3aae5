"""One thread that runs the networks, and images of concurrent requests that share its calls.

Every call has the predictor's one batch size, padded, so that a result has the same bits whoever
its neighbours are. A free network takes what is there, and waits for more only while requests are
known to be on their way (`Batcher.expecting`), at most as long as a call takes: a batch half empty
costs as much as a full one, and a lone request has nobody to wait for.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfd_tf.inference.predictor import Predictor

_LONGEST_WAIT = 0.2
"""Seconds a call waits for requests on their way, however long calls take."""


class ScoringStopped(Exception):
    """The thread has ended: the server is being stopped."""


@dataclass
class _Part:
    """Images of one request, at most a batch, and where their results go."""

    predictor: Predictor
    method: str
    images: np.ndarray
    result: Future[Any] = field(default_factory=Future)


class Batcher:
    """Runs the methods of predictors in one thread.

    Args:
        observe: Told the number of images of each network call.
    """

    def __init__(self, observe: Callable[[int], None] = lambda _: None) -> None:
        self._observe = observe
        self._parts: deque[_Part] = deque()
        self._condition = threading.Condition()
        self._is_stopped = False
        self._expected: set[int] = set()  # threads whose images are on their way
        self._call_seconds = 0.0
        self._thread = threading.Thread(target=self._run, name="scoring", daemon=True)
        self._thread.start()

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Says that this thread will submit images soon: worth a short wait."""
        with self._condition:
            self._expected.add(threading.get_ident())
        try:
            yield
        finally:
            with self._condition:
                self._expected.discard(threading.get_ident())
                self._condition.notify()

    def submit(self, predictor: Predictor, method: str, images: np.ndarray) -> Future[Any]:
        """Runs a method of a predictor on at most `predictor.batch_size` images.

        Raises:
            ScoringStopped: `stop` was called.
        """
        part = _Part(predictor, method, images)
        with self._condition:
            if self._is_stopped:
                raise ScoringStopped
            self._parts.append(part)
            self._expected.discard(threading.get_ident())
            self._condition.notify()
        return part.result

    def stop(self) -> None:
        """Ends the thread; what still waits fails with `ScoringStopped`."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify()
        self._thread.join()

    def _run(self) -> None:
        while parts := self._take():
            self._observe(sum(len(part.images) for part in parts))
            start = time.monotonic()
            try:
                _deliver(parts)
                self._call_seconds = time.monotonic() - start
            except Exception:
                # What one image does to a network is no fault of its neighbours'.
                for part in parts:
                    try:
                        _deliver([part])
                    except Exception as error:
                        part.result.set_exception(error)
        for part in self._parts:
            part.result.set_exception(ScoringStopped())

    def _take(self) -> list[_Part]:
        """Waits for the oldest part and takes along what fits into its call."""
        with self._condition:
            while not self._parts and not self._is_stopped:
                self._condition.wait()
            deadline = time.monotonic() + min(self._call_seconds, _LONGEST_WAIT)
            while self._is_worth_waiting() and (left := deadline - time.monotonic()) > 0:
                self._condition.wait(left)
            if self._is_stopped:
                return []
            first = self._parts.popleft()
            taken, others = [first], []
            room = first.predictor.batch_size - len(first.images)
            for part in self._parts:
                is_alike = part.predictor is first.predictor and part.method == first.method
                if is_alike and len(part.images) <= room:
                    taken.append(part)
                    room -= len(part.images)
                else:
                    others.append(part)
            self._parts = deque(others)
            return taken

    def _is_worth_waiting(self) -> bool:
        if self._is_stopped or not self._expected:
            return False
        return sum(len(part.images) for part in self._parts) < self._parts[0].predictor.batch_size


def _deliver(parts: list[_Part]) -> None:
    first = parts[0]
    images = first.images if len(parts) == 1 else np.concatenate([part.images for part in parts])
    results = getattr(first.predictor, first.method)(images)
    start = 0
    for part in parts:
        stop = start + len(part.images)
        part.result.set_result(None if results is None else results[start:stop])
        start = stop


@dataclass(frozen=True)
class BatchedNetwork:
    """A predictor behind a batcher: a `Network` for any number of threads.

    Args:
        predictor: The run.
        batcher: Who runs it.
        before_call: Called before each part of at most a batch, with the images in it; what it
            raises ends the work.
    """

    predictor: Predictor
    batcher: Batcher
    before_call: Callable[[int], None] = lambda _: None

    @property
    def image_size(self) -> int:
        return self.predictor.image_size

    def decode(self, encoded: Sequence[bytes]) -> np.ndarray:
        return self.predictor.decode(encoded)

    def score(self, images: np.ndarray) -> np.ndarray:
        found = self._batched("score", images)
        assert found is not None
        return found

    def embed(self, images: np.ndarray) -> np.ndarray:
        found = self._batched("embed", images)
        assert found is not None
        return found

    def explain(self, images: np.ndarray) -> np.ndarray:
        found = self._batched("explain", images)
        assert found is not None
        return found

    def reconstruct(self, images: np.ndarray) -> np.ndarray | None:
        return self._batched("reconstruct", images)

    def _batched(self, method: str, images: np.ndarray) -> np.ndarray | None:
        size = self.predictor.batch_size
        results = []
        # One part after another: a long video must not stand before everyone else.
        for start in range(0, max(1, len(images)), size):
            part = images[start : start + size]
            self.before_call(len(part))
            results.append(self.batcher.submit(self.predictor, method, part).result())
        return None if results[0] is None else np.concatenate(results)
