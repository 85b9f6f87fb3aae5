"""Requests as they arrive: what is refused before it costs anything."""

import errno
import shutil
from types import SimpleNamespace

import pytest

from dfd_tf.serving.errors import busy
from dfd_tf.serving.parsing import Bodies, BodyLimits, Parser
from dfd_tf.serving.settings import ServeSettings
from dfd_tf.serving.spool import Spool
from pipelines.settings import MediaLimits

MEBIBYTE = 2**20
SETTINGS = ServeSettings(limits=MediaLimits(max_image_bytes=MEBIBYTE, max_video_bytes=4 * MEBIBYTE))
JOBS = b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def adjustments(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    spool = Spool()
    limits = BodyLimits(SETTINGS.max_image_body, 8 * MEBIBYTE, 10 * MEBIBYTE)
    yield SimpleNamespace(
        serve_settings=SETTINGS,
        bodies=Bodies(spool, limits),
        check_upload=lambda: None,
        url_scheme="http",
        inbuf_overflow=2**20,
        max_request_header_size=2**15,
        max_request_body_size=SETTINGS.max_video_body + 1,
    )
    spool.close()


def sent(adjustments, *parts):
    parser = Parser(adjustments)
    for part in parts:
        left = part
        while left and not parser.completed:
            left = left[parser.received(left) :]
    return parser


def code(parser):
    return parser.error.code if parser.error else None


@pytest.mark.parametrize(
    "lines",
    [
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding:\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"1" * 20 + b"\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: " + b"1" * 5000 + b"\r\n\r\n",
    ],
)
def test_bodies_of_doubtful_length_are_400(adjustments, lines):
    parser = sent(adjustments, lines)
    assert (code(parser), parser.completed) == (400, True)


def test_one_length_is_fine(adjustments):
    request = b"POST /api/v1/predict HTTP/1.1\r\n"
    parser = sent(adjustments, request + b"Content-Length: 3\r\n\r\n", b"abc")
    assert (code(parser), parser.get_body_stream().read()) == (None, b"abc")
    parser = sent(adjustments, request + CHUNKED, b"3;ext=1\r\nabc\r\n0\r\nX: y\r\n\r\n")
    assert (code(parser), parser.get_body_stream().read()) == (None, b"abc")


@pytest.mark.parametrize(("start", "size"), [(b"5;", 1025), (b"0\r\nX: ", 32_769)])
def test_lines_of_chunked_bodies_have_an_end(adjustments, start, size):
    assert code(sent(adjustments, JOBS + CHUNKED, start + b"a" * (size - 10))) is None
    parser = sent(adjustments, JOBS + CHUNKED, start, b"a" * (size + 10))
    assert (code(parser), parser.completed) == (400, True)


def test_uploads_are_refused_by_their_header(adjustments):
    """A full queue is told before the body is sent, and nothing is told to go on."""

    def refuse():
        raise busy("8 videos are waiting already", seconds=15)

    adjustments.check_upload = refuse
    for length in (b"Content-Length: 9\r\nExpect: 100-continue\r\n\r\n", CHUNKED):
        parser = sent(adjustments, JOBS + length)
        assert (code(parser), parser.completed, parser.expect_continue) == (503, True, False)
        assert parser.error.headers == {"Retry-After": "15"}
    status = b"GET /api/v1/jobs/x HTTP/1.1\r\n\r\n"
    assert code(sent(adjustments, status)) is None


def test_uploads_together_have_room_in_the_spool(adjustments):
    header = JOBS + b"Content-Length: 4000000\r\n\r\n"
    held = [sent(adjustments, header) for _ in range(2)]
    assert [code(parser) for parser in held] == [None, None]
    assert code(sent(adjustments, header)) == 503
    held.pop()
    assert code(sent(adjustments, header)) is None


def test_uploads_need_room_on_the_disk(adjustments, monkeypatch):
    monkeypatch.setattr(Spool, "free_bytes", 7_000_000)
    assert code(sent(adjustments, JOBS + b"Content-Length: 4000000\r\n\r\n")) == 503
    assert code(sent(adjustments, JOBS + b"Content-Length: 3000000\r\n\r\n")) is None
    assert code(sent(adjustments, JOBS + b"Content-Length: 1000\r\n\r\n")) is None


def test_a_full_disk_is_503(adjustments, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Spool, "file", full)
    header = JOBS + b"Content-Length: 2000000\r\n\r\n"
    parser = sent(adjustments, header, *[b"x" * 65536] * 25)
    assert (code(parser), parser.completed) == (503, True)
    assert parser.error.headers == {"Retry-After": "15"}
    parser.close()


def test_a_vanished_folder_is_made_again_for_an_upload(adjustments):
    shutil.rmtree(adjustments.bodies.spool.folder)
    header = JOBS + b"Content-Length: 2000000\r\n\r\n"
    parser = sent(adjustments, header, *[b"x" * 65536] * 31)
    assert (code(parser), parser.completed) == (None, True)
    assert len(parser.get_body_stream().read()) == 2_000_000
    parser.close()
