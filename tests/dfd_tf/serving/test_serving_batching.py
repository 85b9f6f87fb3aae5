"""Network calls that concurrent requests share."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pytest

from dfd_tf.serving.batching import BatchedNetwork, Batcher, ScoringStopped


@dataclass(eq=False)
class Sums:
    """A stand-in for a predictor: the score of an image is its sum."""

    batch_size: int = 4
    calls: list = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)

    def score(self, images):
        self.calls.append(len(images))
        self.gate.wait()
        if images.max(initial=0) == 255:
            raise ValueError("an image no network likes")
        return images.sum(axis=(1, 2, 3), dtype=np.float64)

    def reconstruct(self, images):
        self.calls.append(len(images))


@pytest.fixture
def batcher():
    started = Batcher()
    yield started
    started.stop()


def images(*values):
    return np.array(values, np.uint8).reshape(-1, 1, 1, 1)


def test_what_waits_shares_the_next_call(batcher):
    predictor = Sums()
    first = batcher.submit(predictor, "score", images(1))
    while not predictor.calls:
        pass
    waiting = [batcher.submit(predictor, "score", images(n)) for n in (2, 3, 4, 5, 6)]
    predictor.gate.set()
    assert first.result().tolist() == [1]
    assert [one.result().tolist() for one in waiting] == [[2], [3], [4], [5], [6]]
    assert predictor.calls == [1, 4, 1]


def test_a_call_waits_for_images_on_their_way_and_no_longer(batcher, monkeypatch):
    monkeypatch.setattr("dfd_tf.serving.batching._LONGEST_WAIT", 60.0)
    predictor = Sums()
    predictor.gate.set()
    batcher._call_seconds = 60.0
    is_expected, may_submit = threading.Event(), threading.Event()

    def late():
        with batcher.expecting():
            is_expected.set()
            may_submit.wait()
            return batcher.submit(predictor, "score", images(2)).result()

    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(late)
        is_expected.wait()
        first = batcher.submit(predictor, "score", images(1))
        assert not predictor.calls
        may_submit.set()
        assert (first.result().tolist(), second.result().tolist()) == ([1], [2])
    assert predictor.calls == [2]
    # Nobody is expected any more, nor is one who came and went without images.
    with batcher.expecting():
        pass
    assert batcher.submit(predictor, "score", images(3)).result().tolist() == [3]


def test_models_and_methods_are_not_mixed(batcher):
    one, other = Sums(), Sums()
    one.gate.set()
    first = batcher.submit(other, "score", images(1))
    while not other.calls:
        pass
    mixed = [
        batcher.submit(predictor, "score", images(n))
        for n, predictor in enumerate([one, other] * 2)
    ]
    other.gate.set()
    assert first.result().tolist() == [1]
    assert [part.result().tolist() for part in mixed] == [[0], [1], [2], [3]]
    assert (one.calls, other.calls) == ([2], [1, 2])


def test_long_work_lets_others_in_between(batcher):
    predictor = Sums(batch_size=2)
    predictor.gate.set()
    network = BatchedNetwork(predictor, batcher)
    many = np.arange(200, dtype=np.uint8).reshape(-1, 1, 1, 1)
    with ThreadPoolExecutor(2) as pool:
        long = pool.submit(network.score, many)
        short = pool.submit(network.score, images(7))
        assert short.result().tolist() == [7]
        assert long.result().tolist() == list(range(200))
    assert max(predictor.calls) <= 2


def test_no_images_have_results_of_their_kind(batcher):
    predictor = Sums()
    predictor.gate.set()
    assert BatchedNetwork(predictor, batcher).score(images()).shape == (0,)
    assert BatchedNetwork(predictor, batcher).reconstruct(images(1)) is None


def test_an_image_that_fails_takes_no_neighbour_along(batcher):
    predictor = Sums()
    first = batcher.submit(predictor, "score", images(1))
    while not predictor.calls:
        pass
    good, bad = (batcher.submit(predictor, "score", images(n)) for n in (2, 255))
    predictor.gate.set()
    assert first.result().tolist() == [1]
    assert good.result().tolist() == [2]
    with pytest.raises(ValueError, match="no network likes"):
        bad.result()


def test_before_call_ends_the_work(batcher):
    predictor = Sums(batch_size=1)
    predictor.gate.set()

    def refuse(_):
        if predictor.calls:
            raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        BatchedNetwork(predictor, batcher, refuse).score(images(1, 2, 3))
    assert predictor.calls == [1]


def test_what_waits_at_the_end_is_told():
    batcher, predictor = Batcher(), Sums()
    running = batcher.submit(predictor, "score", images(1))
    while not predictor.calls:
        pass
    waiting = batcher.submit(predictor, "score", images(2))
    threading.Timer(0.05, predictor.gate.set).start()
    batcher.stop()
    assert running.result().tolist() == [1]
    with pytest.raises(ScoringStopped):
        waiting.result()
    with pytest.raises(ScoringStopped):
        batcher.submit(predictor, "score", images(3))
