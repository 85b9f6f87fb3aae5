"""RELIABILITY.md 2a, the lines on videos, and where the sampled frames lie.

Frame k of a test film is flat grey of a level that tells k, so that pixels show which it is.
"""

import hashlib
import os

import cv2
import media_samples as samples
import numpy as np
import pytest
from decoded_videos import CODECS, LIMITS, centres, film, refuse, shown
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.errors import Cause, MediaError
from pipelines.media.images import decode_image
from pipelines.media.videos import dense_frames, sample_frames


@pytest.mark.parametrize("name", CODECS)
def test_frames_are_those_at_the_centres_of_equal_intervals(tmp_path, name):
    path = film(tmp_path, name)
    for count in (1, 3, 8, 32):
        frames = sample_frames(path, count, LIMITS)
        chosen = list(frames)
        expected = centres(50, count)
        assert shown(chosen) == expected
        assert [frame.index for frame in chosen] == expected
        assert [f.time_seconds for f in chosen] == pytest.approx(
            [k / 25 for k in expected], abs=0.002
        )
        assert (frames.frames_read, frames.frames_expected) == (50, 50)
        assert not frames.truncated
        assert frames.notes == ()
        assert frames.duration_seconds == pytest.approx(2, abs=0.05)
        assert all(frame.pixels.shape == (64, 96, 3) for frame in chosen)
        assert all(frame.pixels.dtype == np.uint8 for frame in chosen)


@pytest.mark.parametrize("name", ["mp4-h264-open-groups", "mp4-h264-refresh", "webm-vp8"])
def test_skipping_groups_of_pictures_changes_no_pixel(tmp_path, name):
    path = film(tmp_path, name)
    every = {frame.index: frame.pixels for frame in sample_frames(path, 50, LIMITS)}
    assert len(every) == 50
    for frame in sample_frames(path, 3, LIMITS):
        np.testing.assert_array_equal(frame.pixels, every[frame.index])


@given(st.integers(1, 60), st.integers(1, 12))
@settings(max_examples=25, deadline=None)
def test_any_number_of_any_number_of_frames(tmp_path_factory, count, num_frames):
    folder = tmp_path_factory.getbasetemp()
    path = folder / f"{num_frames}.avi"
    if not path.exists():
        samples.film(path, "avi", "mjpeg", num_frames=num_frames, pixel_format="yuvj420p")
    expected = sorted({(2 * k + 1) * num_frames // (2 * count) for k in range(count)})
    assert shown(sample_frames(path, count, LIMITS)) == expected


@pytest.mark.parametrize("name", CODECS)
def test_dense_frames_are_all_of_them_or_every_nth(tmp_path, name):
    path = film(tmp_path, name)
    for most, stride in ((50, 1), (1000, 1), (49, 2), (25, 2), (24, 3), (1, 50)):
        frames = dense_frames(path, most, LIMITS)
        expected = list(range(0, 50, stride))
        assert (frames.stride, frames.num_chosen) == (stride, len(expected))
        chosen = list(frames)
        assert shown(chosen) == expected
        assert [frame.index for frame in chosen] == expected
    assert sample_frames(path, 8, LIMITS).num_chosen == 8
    assert sample_frames(path, 80, LIMITS).num_chosen == 50


def test_uneven_frame_times(tmp_path):
    """Frame k at k^2 / 100 s: the intervals are of time, not of frame numbers."""
    import av

    path = tmp_path / "x.mkv"
    with av.open(str(path), "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=100)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(21):
            level = np.full((64, 96, 3), samples.frame_level(k), np.uint8)
            frame = av.VideoFrame.from_ndarray(level, format="rgb24")
            frame.pts = k * k
            output.mux(stream.encode(frame))
        output.mux(stream.encode())
    frames = sample_frames(path, 4, LIMITS)
    # On display until 4.0 s and one more frame: the centres are near 0.5, 1.5, 2.5, 3.5 s.
    assert shown(frames) == [7, 12, 15, 18]
    assert [f.time_seconds for f in frames] == pytest.approx([0.49, 1.44, 2.25, 3.24])
    dense = list(dense_frames(path, 99, LIMITS))
    assert [f.index for f in dense] == list(range(21))
    assert [f.time_seconds for f in dense] == pytest.approx([k * k / 100 for k in range(21)])


def test_iterating_again_gives_the_same(tmp_path):
    frames = sample_frames(film(tmp_path, "mp4-h264"), 5, LIMITS)
    for first, second in zip(frames, frames, strict=True):
        assert first.index == second.index
        np.testing.assert_array_equal(first.pixels, second.pixels)


def test_count_has_to_be_positive(tmp_path):
    with pytest.raises(ValueError, match="count 0"):
        sample_frames(tmp_path / "x.mp4", 0, LIMITS)


def test_facts(tmp_path):
    path = film(tmp_path, "mp4-h264")
    facts = sample_frames(path, 4, LIMITS).facts
    assert (facts.format, facts.width, facts.height) == ("MP4", 96, 64)
    assert facts.bytes == path.stat().st_size
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.jpeg_quality == -1


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_rotation_is_honoured(tmp_path, degrees):
    import av

    pixels = samples.picture(96, 64)
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for _ in range(4):
            output.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        output.mux(stream.encode())
    path.write_bytes(samples.rotated(path.read_bytes(), degrees))
    frames = sample_frames(path, 1, LIMITS)
    (frame,) = frames
    turned = np.rot90(pixels, -degrees // 90)
    assert frame.pixels.shape == turned.shape
    assert np.abs(frame.pixels.astype(int) - turned).mean() < 6
    assert (frames.facts.height, frames.facts.width) == turned.shape[:2]
    assert frames.notes == (f"rotated by {360 - degrees} degrees counter-clockwise",)
    capture = cv2.VideoCapture(str(path))
    _, reference = capture.read()
    capture.release()
    assert np.abs(frame.pixels.astype(int) - reference[..., ::-1]).mean() < 6


def test_colours_are_full_range(tmp_path):
    import av

    path = tmp_path / "x.mp4"
    colours = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=25, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for colour in colours:
            flat = np.full((64, 96, 3), colour, np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(flat, format="rgb24")))
        output.mux(stream.encode())
    means = [frame.pixels.mean(axis=(0, 1)) for frame in sample_frames(path, 5, LIMITS)]
    np.testing.assert_allclose(means, colours, atol=4)


def test_a41_animations_are_videos_of_their_frames(tmp_path):
    for name in ("GIF", "PNG"):
        path = tmp_path / name
        path.write_bytes(samples.animation(name))
        assert [frame.index for frame in sample_frames(path, 5, LIMITS)] == [0, 1, 2, 3, 4]


def test_a51_names_are_taken_literally(tmp_path, monkeypatch):
    data = film(tmp_path, "mp4-mpeg4").read_bytes()
    monkeypatch.chdir(tmp_path)
    for name in ("-v.mp4", "%03d.mp4", "new\nline.mp4", os.fsdecode(b"\xff.mp4"), "file:x"):
        with open(name, "wb") as file:  # noqa: PTH123 - the bare name is the point
            file.write(data)
        assert len(list(sample_frames(name, 2, LIMITS))) == 2
        with open(name, "wb") as file:  # noqa: PTH123
            file.write(data[:500])
        refuse(name, Cause.DAMAGED, "cannot open video")


def test_a52_neither_blocks_nor_reads_devices(tmp_path):
    os.mkfifo(tmp_path / "fifo.mp4")
    refuse(tmp_path / "fifo.mp4", Cause.NOT_A_FILE, "not a regular file")
    refuse("/dev/zero", Cause.NOT_A_FILE, "not a regular file")
    refuse(tmp_path, Cause.NOT_A_FILE, "not a regular file")
    refuse(tmp_path / "nothing.mp4", Cause.MISSING, "does not exist")


def test_a50_a_picture_is_no_video_and_a_video_no_picture(tmp_path):
    path = film(tmp_path, "mp4-mpeg4")
    with pytest.raises(MediaError, match="found: MP4 video"):
        decode_image(path.read_bytes(), "x", LIMITS)
