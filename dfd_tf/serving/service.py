"""The server behind its HTTP interface: models, decoding processes, queues, and their ends."""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from dfd_tf.serving.batching import Batcher, ScoringStopped
from dfd_tf.serving.decoding import Cancelled, DecodingFailed, DecodingPool, NoneFree
from dfd_tf.serving.decoding_worker import Reading
from dfd_tf.serving.errors import ApiError, busy
from dfd_tf.serving.jobs import Job, Jobs
from dfd_tf.serving.metrics import Metrics
from dfd_tf.serving.models import Models
from dfd_tf.serving.results import Question, answers
from dfd_tf.serving.settings import UPLOAD_SLOTS, ServeSettings
from dfd_tf.serving.spool import Spool

log = logging.getLogger(__name__)


class Service:
    """Everything that runs beside the requests.

    Args:
        runs: The run directories to serve.
        settings: What the server was told.

    Raises:
        InputError: A run is given twice.
    """

    def __init__(self, runs: Sequence[str], settings: ServeSettings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.models = Models(runs, settings, self.metrics)
        self._is_draining = threading.Event()
        self._slots = threading.Semaphore(settings.max_pending)
        self._upload_slots = threading.Semaphore(UPLOAD_SLOTS)
        self._pending = 0
        self._lock = threading.Lock()
        with ExitStack() as ends:
            self.spool = Spool()
            ends.callback(self.spool.close)
            self._images = DecodingPool(settings.workers, settings.worker_bytes)
            ends.callback(self._images.close)
            self._videos = DecodingPool(1, settings.worker_bytes)
            ends.callback(self._videos.close)
            self.batcher = Batcher(self.metrics.batch_images.observe)
            ends.callback(self.batcher.stop)
            self.jobs = Jobs(
                self._do_job, settings.max_jobs, settings.kept_jobs, settings.kept_seconds
            )
            ends.callback(self.jobs.stop)
            ends.callback(self.models.stop)
            self._ends = ends.pop_all()

    def start(self) -> None:
        """Loads the models; when lazy, a thread does so, and tells the log if it cannot.

        Raises:
            DfdError: A model cannot be served.
        """
        if self.settings.lazy:
            self.models.watch(load=True)
            return
        self.models.load()
        self._images.wait_until_ready()
        self.models.watch()

    def close(self) -> None:
        """Ends everything; what still runs is cancelled."""
        self._is_draining.set()
        self._ends.close()

    def drain(self) -> None:
        """Refuses new work from now on."""
        self._is_draining.set()

    @property
    def num_pending(self) -> int:
        return self._pending

    @property
    def is_ready(self) -> bool:
        return self.models.is_ready and not self._is_draining.is_set()

    @property
    def worker_ids(self) -> list[int]:
        """Process ids of the decoders of images, then of videos."""
        return [*self._images.process_ids, *self._videos.process_ids]

    def check_open(self) -> None:
        """Refuses new work while the server is being stopped.

        Raises:
            ApiError: 503.
        """
        if self._is_draining.is_set():
            raise busy("the server is being stopped", seconds=5)

    def check_upload(self) -> None:
        """Refuses an upload for a job before its body is sent.

        Raises:
            ApiError: 503.
        """
        self.check_open()
        self.jobs.check_room()

    @property
    def is_left_running(self) -> bool:
        """Whether a thread did not end in time when the server was closed."""
        return self.jobs.is_left_running or self.models.is_left_running

    def count(
        self, method: str, route: str, status: int, seconds: float = 0.0, size: int | None = None
    ) -> None:
        """Counts an answer and logs it in one line: no names, no addresses, no results."""
        self.metrics.requests.labels(method, route, str(status)).inc()
        log.info("%s %s %d %.1f ms %s bytes", method, route, status, 1e3 * seconds, size or 0)

    @contextmanager
    def prediction_slot(self) -> Iterator[None]:
        """Counts a prediction.

        Raises:
            ApiError: 503, as many as may be are under way.
        """
        self.check_open()
        if not self._slots.acquire(blocking=False):
            raise busy(f"{self.settings.max_pending} predictions are under way already")
        with self._lock:
            self._pending += 1
        try:
            yield
        finally:
            with self._lock:
                self._pending -= 1
            self._slots.release()

    @contextmanager
    def upload_slot(self) -> Iterator[None]:
        """Counts an upload for a job while it is taken in.

        Raises:
            ApiError: 503, as many as may be are under way.
        """
        self.check_open()
        if not self._upload_slots.acquire(blocking=False):
            raise busy(f"{UPLOAD_SLOTS} videos are being taken in already")
        try:
            yield
        finally:
            self._upload_slots.release()

    def predict(self, question: Question, descriptor: int) -> tuple[Reading, list[dict[str, Any]]]:
        """Answers what is asked of an image.

        Args:
            question: What is asked.
            descriptor: The open file that holds it.

        Raises:
            ApiError: It cannot be used.
        """
        task = question.reading_task(self.settings, self.settings.image_seconds)
        try:
            with self.batcher.expecting():
                reading = self._images.read(descriptor, task)
                results = answers(question, reading, self.settings, self.batcher)
        except DecodingFailed as error:
            raise ApiError(422, str(error)) from None
        except NoneFree:
            raise busy("no decoding process is free, come back later", seconds=5) from None
        except (Cancelled, ScoringStopped):
            raise busy("the server is being stopped", seconds=5) from None
        self._count(reading)
        return reading, results

    def _do_job(self, job: Job, question: Question) -> None:
        task = question.reading_task(self.settings, self.settings.video_seconds)
        reading = self._videos.read(
            job.upload.fileno(), task, job.advance, lambda: job.cancelled.is_set()
        )
        job.describe(reading)
        total = sum(len(media.crops) for media in reading.media)
        per_way = len(question.models) / len(reading.media)
        job.enter("scoring", round(total * per_way))

        def before_call(stage: str, num_images: int) -> None:
            job.check()
            if stage == "explaining" and job.stage != "explaining":
                job.enter("explaining", 0)
            if job.stage == "scoring":
                job.advance(job.done + num_images, job.total)

        job.results = answers(question, reading, self.settings, self.batcher, before_call)
        self._count(reading)

    def _count(self, reading: Reading) -> None:
        media = reading.media[0]
        if media.kind == "image":
            self.metrics.images.inc()
        self.metrics.faces.inc(len(media.faces))
