"""Processes that decode untrusted bytes: they die, and nobody else does."""

import operator
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from served_runs import as_clip, as_png

from dfd_tf.inference.media_faces import FrameSampling
from dfd_tf.serving import decoding
from dfd_tf.serving.decoding import Cancelled, DecodingFailed, DecodingPool, NoneFree
from dfd_tf.serving.decoding_worker import ReadingTask
from dfd_tf.serving.spool import memory_file
from pipelines.errors import MediaError
from pipelines.settings import FaceSettings, PrepareSettings

SETTINGS = PrepareSettings(frames=3, faces=FaceSettings(detector="none"))
TASK = ReadingTask((SETTINGS,), 60.0)


@pytest.fixture(scope="module")
def pool():
    started = DecodingPool(1, 4 * 2**30)
    started.wait_until_ready()
    yield started
    started.close()


def read(pool, data, task=TASK, **options):
    descriptor = memory_file(data)
    try:
        return pool.read(descriptor, task, **options)
    finally:
        os.close(descriptor)


def raise_error_of(reading):
    (media,) = reading.media
    raise media.error


@pytest.fixture(scope="module")
def long_clip():
    """400 frames of noise, which take a while."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 256, 256, 3), np.uint8)
    return as_clip([*noise] * 100)


def test_an_image_is_read_from_memory(pool, portraits):
    reading = read(pool, portraits[0])
    (media,) = reading.media
    assert reading.size == (200, 200)
    assert (media.kind, len(media.faces), media.error) == ("image", 1, None)
    assert media.path == "upload"


def test_workers_never_import_tensorflow(pool):
    (process,) = pool.process_ids
    assert "tensorflow" not in Path(f"/proc/{process}/maps").read_text()


def test_each_way_of_seeing_faces_has_its_own_result(pool, portraits):
    haar = PrepareSettings(frames=3)
    whole, found = read(pool, portraits[0], ReadingTask((SETTINGS, haar), 60.0)).media
    assert whole.faces[0].box == (0.0, 0.0, 1.0, 1.0)
    assert found.faces[0].box != whole.faces[0].box


def test_progress_of_a_video(pool, clip):
    seen = []
    task = ReadingTask((SETTINGS,), 60.0, sampling=FrameSampling(dense=True))
    (media,) = read(pool, clip, task, progress=lambda *now: seen.append(now)).media
    assert seen == [(n, 6) for n in range(1, 7)]
    assert media.num_frames == 6


def test_d14_a_crashed_decoder_fails_its_own_request_only(pool, portraits, long_clip):
    (process,) = pool.process_ids
    task = ReadingTask((SETTINGS,), 60.0, sampling=FrameSampling(dense=True))

    def crash(done, _):
        if done == 2:
            os.kill(process, signal.SIGKILL)

    with pytest.raises(DecodingFailed, match="its decoder crashed"):
        read(pool, long_clip, task, progress=crash)
    assert len(read(pool, portraits[0]).media[0].faces) == 1
    assert pool.process_ids != [process]


def test_d14_a_decoder_killed_while_idle_is_replaced(pool, portraits):
    (process,) = pool.process_ids
    os.kill(process, signal.SIGKILL)
    assert len(read(pool, portraits[0]).media[0].faces) == 1


def test_many_decoders_killed_while_idle_are_replaced(portraits):
    pool = DecodingPool(3, 4 * 2**30)
    try:
        pool.wait_until_ready()
        for process in pool.process_ids:
            os.kill(process, signal.SIGKILL)
        assert len(read(pool, portraits[0]).media[0].faces) == 1
    finally:
        pool.close()


def test_decoders_that_never_live_are_given_up(portraits, monkeypatch):
    monkeypatch.setattr(decoding, "serve", operator.is_)
    pool = DecodingPool(1, 2**30)
    try:
        with pytest.raises(NoneFree):
            read(pool, portraits[0])
    finally:
        pool.close()


def test_a_decoder_that_hangs_is_killed_from_outside(pool, portraits, monkeypatch):
    """A stopped process gets no alarm; nor does one in the wrong kernel call."""
    monkeypatch.setattr(decoding, "_GRACE_SECONDS", 0.1)
    read(pool, portraits[0])
    (process,) = pool.process_ids
    os.kill(process, signal.SIGSTOP)
    with pytest.raises(DecodingFailed, match="longer than 0.2 s"):
        read(pool, portraits[0], ReadingTask((SETTINGS,), 0.2))
    assert pool.process_ids != [process]


def test_waiting_for_a_decoder_has_an_end(monkeypatch, portraits):
    pool = DecodingPool(0, 2**30)
    monkeypatch.setattr(decoding, "_WAIT_SECONDS", 0.1)
    try:
        with pytest.raises(NoneFree):
            read(pool, portraits[0])
    finally:
        pool.close()


def test_what_takes_too_long_is_ended(pool, portraits, long_clip):
    task = ReadingTask((SETTINGS,), 0.2, sampling=FrameSampling(dense=True))
    with pytest.raises(DecodingFailed, match="longer than 0.2 s"):
        read(pool, long_clip, task)
    assert len(read(pool, portraits[0]).media[0].faces) == 1


def test_what_needs_too_much_memory_is_refused(pool, portraits):
    """A process that cannot have enough for a picture says so, or dies of it, alone."""
    read(pool, portraits[0])
    (process,) = pool.process_ids
    status = Path(f"/proc/{process}/status").read_text()
    (now,) = (int(line.split()[1]) for line in status.splitlines() if line.startswith("VmPeak"))
    small = DecodingPool(1, now * 2**10 + 2**25)
    try:
        assert len(read(small, portraits[0]).media[0].faces) == 1
        large = as_png(np.zeros((6000, 6000, 3), np.uint8))
        with pytest.raises((DecodingFailed, MediaError), match="cannot be used|damaged"):
            raise_error_of(read(small, large))
        assert len(read(small, portraits[0]).media[0].faces) == 1
    finally:
        small.close()


def test_cancelling_kills_the_process(pool, portraits, long_clip):
    cancelled = threading.Event()
    task = ReadingTask((SETTINGS,), 60.0, sampling=FrameSampling(dense=True))
    (process,) = pool.process_ids
    with pytest.raises(Cancelled):
        read(pool, long_clip, task, progress=lambda *_: cancelled.set(),
             is_cancelled=cancelled.is_set)  # fmt: skip
    assert not Path(f"/proc/{process}").exists()
    assert len(read(pool, portraits[0]).media[0].faces) == 1


def test_closing_ends_what_is_read_and_what_waits(long_clip):
    pool = DecodingPool(1, 4 * 2**30)
    pool.wait_until_ready()
    processes = pool.process_ids
    task = ReadingTask((SETTINGS,), 60.0, sampling=FrameSampling(dense=True))
    with ThreadPoolExecutor(2) as threads:
        running = [threads.submit(read, pool, long_clip, task) for _ in range(2)]
        time.sleep(0.1)
        pool.close()
        for one in running:
            assert isinstance(one.exception(), Cancelled | DecodingFailed)
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
