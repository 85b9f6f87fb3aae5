"""Videos: read and scored in the background, one after another, with progress and a way out.

A job's upload is closed, and thereby gone, when the job ends; its results stay in memory for a
while and nowhere else.
"""

import contextlib
import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Any, Literal

from dfd_tf.serving.batching import ScoringStopped
from dfd_tf.serving.decoding import Cancelled, DecodingFailed, NoneFree
from dfd_tf.serving.decoding_worker import Reading
from dfd_tf.serving.errors import ApiError, busy
from dfd_tf.serving.results import Question

log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")
_ACTIVE = ("queued", "running")
_TIDY_SECONDS = 30.0
STOP_SECONDS = 1.5
"""Longest wait for a thread at the server's end."""


@dataclass(eq=False)
class Job:
    """One upload and what became of it; fields are changed by its thread alone, but for `cancel`.

    Args:
        upload: The open file; closed at the end.
        sha256: Of its bytes, hexadecimal.
    """

    upload: IO[bytes]
    sha256: str = ""
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "queued"
    stage: Literal["reading", "scoring", "explaining"] = "reading"
    done: int = 0
    total: int = 0
    results: list[dict[str, Any]] | None = None
    kind: str | None = None
    size: tuple[int, int] | None = None
    duration_seconds: float | None = None
    error: str | None = None
    ended: float = 0.0
    cancelled: threading.Event = field(default_factory=threading.Event)

    def advance(self, done: int, total: int) -> None:
        """Takes the progress of the stage.

        Raises:
            Cancelled: The job is not wanted any more.
        """
        self.check()
        self.done, self.total = min(done, total), total

    def describe(self, reading: Reading) -> None:
        """Keeps what `values` says of the upload; its faces are let go with the reading."""
        media = reading.media[0]
        self.kind, self.size = media.kind, reading.size
        self.duration_seconds = media.clip.duration_seconds if media.clip else None

    def enter(self, stage: Literal["scoring", "explaining"], total: int) -> None:
        self.stage, self.done, self.total = stage, 0, total

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def values(self) -> dict[str, Any]:
        """Returns the job as JSON values."""
        shape = dict(zip(("width", "height"), self.size, strict=True)) if self.size else None
        duration = self.duration_seconds
        is_clip = duration is not None
        return {
            "id": self.id,
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "results": self.results if self.state == "done" else None,
            "kind": self.kind,
            "sha256": self.sha256,
            "image": None if is_clip else shape,
            "video": {**shape, "duration_seconds": duration} if shape and is_clip else None,
            "error": self.error,
        }


class Jobs:
    """The jobs of one server.

    Args:
        work: Does a job: answers the question, fills `results`, calls `describe` and `advance`.
        max_waiting: Jobs that may wait.
        kept: Jobs with results that are kept, and as many others that have ended.
        kept_seconds: How long.
    """

    def __init__(
        self,
        work: Callable[[Job, Question], None],
        max_waiting: int,
        kept: int,
        kept_seconds: float,
    ) -> None:
        self._work = work
        self._max_waiting = max_waiting
        self._kept, self._kept_seconds = kept, kept_seconds
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[tuple[Job, Question] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    @property
    def num_active(self) -> int:
        with self._lock:
            return sum(job.state in _ACTIVE for job in self._jobs.values())

    def counts(self) -> dict[State, int]:
        """Returns how many jobs are in each state."""
        self._tidy()
        with self._lock:
            states = [job.state for job in self._jobs.values()]
        return {state: states.count(state) for state in STATES}

    def check_room(self) -> None:
        """Refuses before an upload is taken in what `submit` would refuse after.

        Raises:
            ApiError: 503, enough jobs wait.
        """
        with self._lock:
            waiting = sum(job.state == "queued" for job in self._jobs.values())
        if waiting >= self._max_waiting:
            raise busy(f"{waiting} videos are waiting already, come back later", seconds=15)

    def submit(self, question: Question, upload: IO[bytes], sha256: str = "") -> Job:
        """Queues a job, which closes `upload` at its end.

        Raises:
            ApiError: 503, enough jobs wait.
        """
        try:
            self.check_room()
        except ApiError:
            upload.close()
            raise
        job = Job(upload, sha256)
        with self._lock:
            self._jobs[job.id] = job
        self._waiting.put((job, question))
        return job

    def get(self, job_id: str) -> Job:
        """Returns a job.

        Raises:
            ApiError: 404, there is none of this id, or not any more.
        """
        self._tidy()
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise ApiError(404, "no such job; results are kept for a while only")
        return job

    def cancel(self, job_id: str) -> Job:
        """Cancels a job, or forgets one that has ended.

        Raises:
            ApiError: 404, there is none of this id.
        """
        job = self.get(job_id)
        with self._lock:
            if job.state not in _ACTIVE:
                self._jobs.pop(job_id, None)
                return job
            job.cancelled.set()
            if job.state == "queued":
                self._end(job, "cancelled")
        return job

    def stop(self) -> None:
        """Cancels what is left and ends the thread."""
        with self._lock:
            for job in self._jobs.values():
                job.cancelled.set()
        self._waiting.put(None)
        self._thread.join(STOP_SECONDS)

    @property
    def is_left_running(self) -> bool:
        """Whether `stop` did not wait for the thread's end."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while True:
            try:
                next_one = self._waiting.get(timeout=_TIDY_SECONDS)
            except queue.Empty:
                self._tidy()
                continue
            if next_one is None:
                return
            self._do(*next_one)
            # Not held on to until the next one comes.
            del next_one

    def _do(self, job: Job, question: Question) -> None:
        with self._lock:
            if job.cancelled.is_set():
                self._end(job, "cancelled")
                return
            job.state = "running"
        state, error = self._outcome(job, question)
        with self._lock:
            self._end(job, state, error)

    def _outcome(self, job: Job, question: Question) -> tuple[State, str | None]:
        try:
            self._work(job, question)
        except (Cancelled, ScoringStopped):
            return "cancelled", None
        except ApiError as error:
            return "failed", error.message
        except DecodingFailed as error:
            return "failed", str(error)
        except NoneFree:
            return "failed", "the server is too busy to read the file, send it again later"
        except Exception:
            log.exception("a job failed")
            return "failed", "the server failed; its log says why"
        return "done", None

    def _end(self, job: Job, state: State, error: str | None = None) -> None:
        if job.state not in _ACTIVE:
            return
        job.state, job.error, job.ended = state, error, time.monotonic()
        with contextlib.suppress(OSError):
            job.upload.close()

    def _tidy(self) -> None:
        """Forgets results that are old, or too many."""
        now = time.monotonic()
        with self._lock:
            ended = [job for job in self._jobs.values() if job.state not in _ACTIVE]
            ended.sort(key=lambda job: job.ended)
            # Apart: files that cannot be used must not push out anybody's results.
            done = [job for job in ended if job.state == "done"]
            others = [job for job in ended if job.state != "done"]
            too_many = [*done[: -self._kept], *others[: -self._kept]]
            old = [job for job in ended if now - job.ended > self._kept_seconds]
            for job in {*too_many, *old}:
                del self._jobs[job.id]
