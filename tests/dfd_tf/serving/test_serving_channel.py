"""Connections whose clients do not take their answers."""

from types import SimpleNamespace

import pytest

from dfd_tf.serving.channel import SENDING_SECONDS, Channel
from dfd_tf.serving.http import Server


def channel(unsent, since):
    made = Channel.__new__(Channel)
    made.total_outbufs_len, made.sending_since = unsent, since
    return made


@pytest.mark.parametrize(
    ("unsent", "since", "is_too_slow"),
    [
        (100, 0.0, True),
        (100, 2.0, False),
        (0, 0.0, False),
        (100, None, False),
    ],
)
def test_an_answer_must_be_taken_in_time(unsent, since, is_too_slow):
    assert channel(unsent, since).is_too_slow(SENDING_SECONDS + 1.0) is is_too_slow


def test_a_large_answer_may_take_longer():
    slow = channel(10, 0.0)
    slow._sending_bytes = 2**20
    assert not slow.is_too_slow(SENDING_SECONDS + 31.0)
    assert slow.is_too_slow(SENDING_SECONDS + 33.0)


def test_answers_nobody_takes_make_room_oldest_first():
    server = Server.__new__(Server)
    waiting = [
        SimpleNamespace(total_outbufs_len=size, sending_since=since, will_close=False)
        for size, since in ((2**27, 3.0), (2**27, 1.0), (0, 0.0))
    ]
    server.active_channels = dict(enumerate(waiting))
    asking = SimpleNamespace(total_outbufs_len=0, sending_since=9.0, will_close=False)
    assert server.make_room(asking, 100)
    assert [one.will_close for one in waiting] == [False, False, False]
    assert server.make_room(asking, 2**20)
    assert [one.will_close for one in waiting] == [False, True, False]
    assert not server.make_room(asking, 2**29)
