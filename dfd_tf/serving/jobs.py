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
from dfd_tf.serving.decoding import Cancelled, DecodingFailed
from dfd_tf.serving.decoding_worker import Reading
from dfd_tf.serving.errors import ApiError, busy
from dfd_tf.serving.results import Question

log = logging.getLogger(__name__)

State = Literal["queued", "running", "done", "failed", "cancelled"]
STATES: tuple[State, ...] = ("queued", "running", "done", "failed", "cancelled")
_ACTIVE = ("queued", "running")
_TIDY_SECONDS = 30.0


@dataclass(eq=False)
class Job:
    """One upload and what became of it; fields are changed by its thread alone, but for `cancel`.

    Args:
        question: What is asked.
        upload: The open file; closed at the end.
    """

    question: Question
    upload: IO[bytes]
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = "queued"
    stage: Literal["reading", "scoring", "explaining"] = "reading"
    done: int = 0
    total: int = 0
    results: list[dict[str, Any]] | None = None
    reading: Reading | None = None
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

    def enter(self, stage: Literal["scoring", "explaining"], total: int) -> None:
        self.stage, self.done, self.total = stage, 0, total

    def check(self) -> None:
        if self.cancelled.is_set():
            raise Cancelled

    def values(self) -> dict[str, Any]:
        """Returns the job as JSON values."""
        media = self.reading.media[0] if self.reading else None
        size = self.reading.size if self.reading else None
        shape = dict(zip(("width", "height"), size, strict=True)) if size else None
        clip = media.clip if media else None
        return {
            "id": self.id,
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "results": self.results if self.state == "done" else None,
            "kind": media.kind if media else None,
            "image": None if clip else shape,
            "video": shape and clip and {**shape, "duration_seconds": clip.duration_seconds},
            "error": self.error,
        }


class Jobs:
    """The jobs of one server.

    Args:
        work: Does a job: fills `reading` and `results`, calls `advance`.
        max_waiting: Jobs that may wait.
        kept: Finished jobs that are kept.
        kept_seconds: How long.
    """

    def __init__(
        self, work: Callable[[Job], None], max_waiting: int, kept: int, kept_seconds: float
    ) -> None:
        self._work = work
        self._max_waiting = max_waiting
        self._kept, self._kept_seconds = kept, kept_seconds
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
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

    def submit(self, question: Question, upload: IO[bytes]) -> Job:
        """Queues a job, which closes `upload` at its end.

        Raises:
            ApiError: 503, enough jobs wait.
        """
        try:
            self.check_room()
        except ApiError:
            upload.close()
            raise
        job = Job(question, upload)
        with self._lock:
            self._jobs[job.id] = job
        self._waiting.put(job)
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
        self._thread.join()

    def _run(self) -> None:
        while True:
            try:
                job = self._waiting.get(timeout=_TIDY_SECONDS)
            except queue.Empty:
                self._tidy()
                continue
            if job is None:
                return
            with self._lock:
                if job.cancelled.is_set():
                    self._end(job, "cancelled")
                    continue
                job.state = "running"
            state, error = self._outcome(job)
            with self._lock:
                self._end(job, state, error)

    def _outcome(self, job: Job) -> tuple[State, str | None]:
        try:
            self._work(job)
        except (Cancelled, ScoringStopped):
            return "cancelled", None
        except ApiError as error:
            return "failed", error.message
        except DecodingFailed as error:
            return "failed", str(error)
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
            too_many = ended[: max(0, len(ended) - self._kept)]
            old = [job for job in ended if now - job.ended > self._kept_seconds]
            for job in {*too_many, *old}:
                del self._jobs[job.id]
