"""Damaged, lying and hostile videos (RELIABILITY.md A-53 to A-58)."""

import socket
import struct

import media_samples as samples
import numpy as np
import pytest
from decoded_videos import LIMITS, centres, film, refuse, shown

from pipelines.errors import Cause, MediaError
from pipelines.media.videos import sample_frames
from pipelines.settings import MediaLimits


def test_a53_cannot_open_video(tmp_path):
    path = tmp_path / "x.mp4"
    path.touch()
    refuse(path, Cause.EMPTY, "cannot open video: empty file")
    path.write_bytes(b"no film at all\n" * 40)
    refuse(path, Cause.NOT_MEDIA, "cannot open video: not a MP4/MOV")
    whole = film(tmp_path, "mp4-h264").read_bytes()
    assert whole.index(b"mdat") < whole.index(b"moov")
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    refuse(path, Cause.DAMAGED, "cannot open video: Invalid data")
    path.write_bytes(whole[: len(whole) // 2])
    refuse(path, Cause.DAMAGED, "cannot open video: Invalid data")
    path.write_bytes(samples.encode(samples.picture()))
    refuse(path, Cause.NOT_MEDIA, "(found: JPEG)")


def test_a53_mp4_whose_frames_are_gone(tmp_path):
    whole = bytearray(film(tmp_path, "mp4-h264").read_bytes())
    start, stop = whole.index(b"mdat") + 4, whole.index(b"moov") - 4
    whole[start:stop] = bytes(stop - start)
    path = tmp_path / "x.mp4"
    path.write_bytes(whole)
    refuse(path, Cause.DAMAGED, "no frame can be decoded")


def test_a53_sound_without_pictures(tmp_path):
    import av

    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", format="mp4") as output:
        stream = output.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4096), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 8000
        output.mux(stream.encode(frame))
        output.mux(stream.encode())
    refuse(path, Cause.NOT_MEDIA, "no video stream")


def avi_pictures(data):
    """Start and length of each whole picture chunk, by walking the RIFF structure."""
    position = data.index(b"movi") + 4
    while position + 8 <= len(data):
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"00dc" and position + 8 + length <= len(data):
            yield position + 8, length
        position += 8 + length + length % 2


def test_a54_avi_cut_at_half(tmp_path):
    whole = film(tmp_path, "avi-mjpeg").read_bytes()
    path = tmp_path / "x.avi"
    path.write_bytes(whole[: len(whole) // 2])
    frames = sample_frames(path, 8, LIMITS)
    read = len(list(avi_pictures(path.read_bytes())))
    assert 15 < read < 35
    assert (frames.frames_read, frames.frames_expected) == (read, 50)
    assert frames.truncated
    assert frames.notes == (f"truncated: frames_read {read} of 50",)
    assert shown(frames) == centres(read, 8)


@pytest.mark.parametrize("name", ["mkv-h264", "webm-vp9", "flv", "avi-mpeg4-reordered"])
def test_a54_other_containers_cut_at_half(tmp_path, name):
    whole = film(tmp_path, name, noise=12).read_bytes()
    path = tmp_path / "x"
    path.write_bytes(whole[: len(whole) // 2])
    frames = sample_frames(path, 4, LIMITS)
    assert frames.truncated
    assert 5 < frames.frames_read < 45
    assert frames.frames_expected == 50
    chosen = list(frames)
    assert shown(chosen) == [frame.index for frame in chosen]
    assert len(chosen) == 4


def test_a54_mp4_with_its_index_first_cut_at_half(tmp_path):
    import av

    path = tmp_path / "x.mp4"
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as output:
        stream = output.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(50):
            noise = np.random.default_rng(k).integers(0, 256, (64, 96, 3), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="rgb24")))
        output.mux(stream.encode())
    whole = path.read_bytes()
    assert whole.index(b"moov") < whole.index(b"mdat")
    assert not sample_frames(path, 4, LIMITS).truncated
    path.write_bytes(whole[: len(whole) // 2])
    frames = sample_frames(path, 4, LIMITS)
    assert frames.truncated
    assert 15 < frames.frames_read < 35
    assert frames.frames_expected == 50
    assert len(list(frames)) == 4


def test_a55_random_bytes_inside_go_unseen(tmp_path):
    data = bytearray(film(tmp_path, "avi-mjpeg").read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    path = tmp_path / "x.avi"
    path.write_bytes(data)
    frames = sample_frames(path, 8, LIMITS)
    assert len(list(frames)) == 8


def test_a55_damage_the_decoder_sees_is_noted(tmp_path):
    """The second half of the pictures is zeros."""
    data = bytearray(film(tmp_path, "avi-mjpeg").read_bytes())
    for start, length in list(avi_pictures(data))[25:]:
        data[start : start + length] = bytes(length)
    path = tmp_path / "x.avi"
    path.write_bytes(data)
    frames = sample_frames(path, 10, LIMITS)
    assert frames.frames_read == 50
    for _ in range(2):
        chosen = list(frames)
        assert shown(chosen) == [frame.index for frame in chosen] == [2, 7, 12, 17, 22]
        assert frames.notes == ("5 chosen frames are damaged: left out, or earlier ones instead",)


def test_a55_no_chosen_frame_left(tmp_path):
    data = bytearray(film(tmp_path, "avi-mjpeg").read_bytes())
    for start, length in list(avi_pictures(data))[1:]:
        data[start : start + length] = bytes(length)
    path = tmp_path / "x.avi"
    path.write_bytes(data)
    refuse(path, Cause.DAMAGED, "none of the chosen frames can be decoded", count=1)


def test_a56_one_frame_and_odd_sizes(tmp_path):
    path = samples.film(tmp_path / "x.mp4", "mp4", "mpeg4", num_frames=1)
    frames = sample_frames(path, 32, LIMITS)
    assert shown(frames) == [0]
    assert frames.frames_read == 1
    path = samples.film(tmp_path / "y.avi", "avi", "mjpeg", 5, (161, 121), 25, "yuvj444p")
    assert [f.pixels.shape for f in sample_frames(path, 2, LIMITS)] == [(121, 161, 3)] * 2


def avi_with(data, rate=None, scale=None, frames=None):
    """The AVI with other figures in its main and stream headers."""
    data = bytearray(data)
    main, stream = data.index(b"avih") + 8, data.index(b"strh") + 8
    if rate is not None:
        struct.pack_into("<I", data, main, 0)  # microseconds per frame
        struct.pack_into("<II", data, stream + 20, scale, rate)
    if frames is not None:
        struct.pack_into("<I", data, main + 16, frames)
        struct.pack_into("<I", data, stream + 32, frames)
    return bytes(data)


@pytest.mark.parametrize(
    "figures",
    [
        {"rate": 0, "scale": 0},
        {"rate": 0, "scale": 1},
        {"rate": 2**32 - 1, "scale": 1},
        {"rate": 1, "scale": 2**32 - 1},
        {"frames": 2**32 - 1},
        {"frames": 0},
    ],
    ids=str,
)
def test_a56_frame_rates_and_counts_that_lie(tmp_path, figures):
    path = tmp_path / "x.avi"
    path.write_bytes(avi_with(film(tmp_path, "avi-mjpeg").read_bytes(), **figures))
    frames = sample_frames(path, 4, LIMITS)
    chosen = list(frames)
    assert 1 <= len(chosen) <= 4
    assert frames.frames_read >= 1
    assert all(np.isfinite(frame.time_seconds) for frame in chosen)
    if "frames" in figures:
        assert shown(chosen) == centres(50, 4)


def test_a56_all_timestamps_equal(tmp_path):
    """Every duration in the MP4's time table set to 0."""
    data = bytearray(film(tmp_path, "mov-mpeg4").read_bytes())
    table = data.index(b"stts") + 8
    (entries,) = struct.unpack_from(">I", data, table)
    for entry in range(entries):
        struct.pack_into(">I", data, table + 8 + 8 * entry, 0)
    path = tmp_path / "x.mov"
    path.write_bytes(data)
    frames = sample_frames(path, 4, LIMITS)
    assert 1 <= len(list(frames)) <= 4


def test_a57_limits(tmp_path):
    path = film(tmp_path, "mp4-mpeg4")
    frames = sample_frames(path, 5, MediaLimits(max_video_frames=20))
    assert frames.frames_read == 20
    assert frames.truncated
    assert frames.notes[0] == "stopped at the limit of 20 frames"
    assert max(frame.index for frame in frames) < 20
    frames = sample_frames(path, 5, MediaLimits(max_video_seconds=1.0))
    assert frames.truncated
    assert frames.notes[0] == "stopped at the limit of 1 seconds"
    assert max(frame.time_seconds for frame in frames) <= 1
    refuse(
        path,
        Cause.TOO_MANY_PIXELS,
        "over the pixel limit (6,143 pixels)",
        limits=MediaLimits(max_pixels=96 * 64 - 1),
    )
    refuse(path, Cause.TOO_SMALL, "96x64", limits=MediaLimits(min_side=65))
    refuse(path, Cause.BAD_ASPECT, "96x64", limits=MediaLimits(max_aspect=1.2))
    refuse(path, Cause.TOO_MANY_BYTES, "limit of 99", limits=MediaLimits(max_video_bytes=99))


def test_a57_frames_larger_than_the_header_says(tmp_path):
    data = bytearray(film(tmp_path, "avi-mjpeg").read_bytes())
    position = data.find(b"\xff\xc0")
    while position > 0:
        struct.pack_into(">HH", data, position + 5, 16000, 16000)
        position = data.find(b"\xff\xc0", position + 1)
    path = tmp_path / "x.avi"
    path.write_bytes(data)
    with pytest.raises(MediaError):
        list(sample_frames(path, 4, LIMITS))


def test_a58_nothing_is_fetched(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/x.ts"
        refuse(url, Cause.NOT_A_FILE, "a URL, expected a file on disk")
        refuse(f"file://{tmp_path}", Cause.NOT_A_FILE, "a URL")
        target = film(tmp_path, "ts-mpeg2")
        lists = [
            f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{url}\n#EXT-X-ENDLIST\n",
            f"ffconcat version 1.0\nfile {url}\n",
            f"ffconcat version 1.0\nfile {target.name}\n",
            f'<?xml version="1.0"?><MPD><Period><BaseURL>{url}</BaseURL></Period></MPD>',
        ]
        for text in lists:
            for name in ("x.m3u8", "x.ffconcat", "x.mp4", "x.ts", "x.mpd"):
                (tmp_path / name).write_text(text)
                refuse(tmp_path / name, Cause.NOT_MEDIA, "cannot open video")
        named_as_list = tmp_path / "film.m3u8"
        named_as_list.write_bytes(target.read_bytes())
        refuse(named_as_list, Cause.NOT_MEDIA, "a playlist")
        with pytest.raises(MediaError, match="a URL"):
            decode_url(url)
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


def decode_url(url):
    from pipelines.media.images import read_image

    return read_image(url, LIMITS)
