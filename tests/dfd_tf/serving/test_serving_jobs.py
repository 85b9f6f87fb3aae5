"""Jobs: waiting, running, cancelled, kept for a while."""

import io
import threading
import weakref

import pytest
from served_runs import wait_until

from dfd_tf.serving.decoding import DecodingFailed
from dfd_tf.serving.errors import ApiError
from dfd_tf.serving.jobs import Jobs


class Work:
    """Work that goes on when told to."""

    def __init__(self):
        self.started, self.gate = threading.Semaphore(0), threading.Event()
        self.error = None

    def __call__(self, job, _):
        self.started.release()
        self.gate.wait()
        job.check()
        if self.error is not None:
            raise self.error
        job.results = [{"score": 1.0}]


@pytest.fixture
def work():
    return Work()


@pytest.fixture
def jobs(work):
    started = Jobs(work, max_waiting=2, kept=2, kept_seconds=1000.0)
    yield started
    work.gate.set()
    started.stop()


def wait_for(job):
    wait_until(lambda: job.state not in ("queued", "running"))


def test_a_job_ends_with_its_results_and_without_its_upload(jobs, work):
    upload = io.BytesIO(b"film")
    job = jobs.submit(None, upload)
    work.started.acquire()
    assert (job.state, jobs.num_active, job.values()["results"]) == ("running", 1, None)
    work.gate.set()
    wait_for(job)
    assert (job.state, job.results, upload.closed) == ("done", [{"score": 1.0}], True)
    assert jobs.num_active == 0


def test_d04_a_full_queue_is_refused_at_once(jobs, work):
    running = jobs.submit(None, io.BytesIO())
    work.started.acquire()
    waiting = [jobs.submit(None, io.BytesIO()) for _ in range(2)]
    upload = io.BytesIO()
    with pytest.raises(ApiError) as refused:
        jobs.submit(None, upload)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "15")
    assert upload.closed
    assert jobs.counts() == {"queued": 2, "running": 1, "done": 0, "failed": 0, "cancelled": 0}
    work.gate.set()
    for job in (running, *waiting):
        wait_for(job)


def test_ids_cannot_be_guessed(jobs, work):
    work.gate.set()
    ids = {jobs.submit(None, io.BytesIO()).id for _ in range(2)}
    assert len(ids) == 2
    assert min(map(len, ids)) >= 22  # 128 bits


def test_a_waiting_job_is_cancelled_at_once_a_running_one_soon(jobs, work):
    running, waiting = (jobs.submit(None, io.BytesIO()) for _ in range(2))
    work.started.acquire()
    assert jobs.cancel(waiting.id).state == "cancelled"
    assert waiting.upload.closed
    jobs.cancel(running.id)
    work.gate.set()
    wait_for(running)
    assert (running.state, running.error) == ("cancelled", None)


def test_finished_jobs_are_forgotten_on_delete(jobs, work):
    work.gate.set()
    job = jobs.submit(None, io.BytesIO())
    wait_for(job)
    jobs.cancel(job.id)
    with pytest.raises(ApiError, match="no such job"):
        jobs.get(job.id)


def test_only_so_many_results_are_kept(jobs, work):
    work.gate.set()
    finished = []
    for _ in range(3):
        finished.append(jobs.submit(None, io.BytesIO()))
        wait_for(finished[-1])
    with pytest.raises(ApiError, match="no such job"):
        jobs.get(finished[0].id)
    assert jobs.get(finished[2].id) is finished[2]


def test_files_that_cannot_be_used_push_out_no_results(jobs, work):
    work.gate.set()
    kept = jobs.submit(None, io.BytesIO())
    wait_for(kept)
    work.error = DecodingFailed("damaged")
    failed = []
    for _ in range(4):
        failed.append(jobs.submit(None, io.BytesIO()))
        wait_for(failed[-1])
    assert jobs.get(kept.id) is kept
    assert jobs.counts()["failed"] == 2
    assert jobs.get(failed[3].id) is failed[3]


def test_a_job_that_has_ended_keeps_no_faces_and_no_model(work):
    class Held:
        pass

    def describe(job, question):
        question.reading = Held()
        held.append(weakref.ref(question.reading))
        work(job, question)

    held = []
    jobs = Jobs(describe, max_waiting=2, kept=2, kept_seconds=1000.0)
    work.gate.set()
    question = Held()
    held.append(weakref.ref(question))
    job = jobs.submit(question, io.BytesIO())
    del question
    wait_for(job)
    wait_until(lambda: [one() for one in held] == [None, None])
    assert jobs.get(job.id).results == [{"score": 1.0}]
    jobs.stop()


def test_results_are_kept_for_a_while_only(work):
    work.gate.set()
    jobs = Jobs(work, max_waiting=2, kept=2, kept_seconds=0.0)
    job = jobs.submit(None, io.BytesIO())
    wait_for(job)
    with pytest.raises(ApiError, match="no such job"):
        jobs.get(job.id)
    jobs.stop()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ApiError(422, "too small"), "too small"),
        (DecodingFailed("its decoder crashed"), "its decoder crashed"),
        (ZeroDivisionError("/secret/path"), "the server failed; its log says why"),
    ],
)
def test_failures_are_told_in_one_line(jobs, work, error, told):
    work.error = error
    work.gate.set()
    job = jobs.submit(None, io.BytesIO())
    wait_for(job)
    assert (job.state, job.error) == ("failed", told)


def test_stopping_cancels_all(work):
    jobs = Jobs(work, max_waiting=2, kept=2, kept_seconds=1000.0)
    running, waiting = (jobs.submit(None, io.BytesIO()) for _ in range(2))
    work.started.acquire()
    threading.Timer(0.05, work.gate.set).start()
    jobs.stop()
    assert (running.state, waiting.state) == ("cancelled", "cancelled")
