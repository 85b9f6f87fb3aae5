"""Films to decode, and videos that must be refused."""

import media_samples as samples
import pytest

from pipelines.errors import MediaError
from pipelines.media.videos import sample_frames
from pipelines.settings import MediaLimits

LIMITS = MediaLimits()
ALTERNATE_REFERENCES = {"auto-alt-ref": "1", "lag-in-frames": "16", "crf": "4", "b": "4M"}
CODECS = {
    "mp4-h264": ("mp4", "libx264", {}),
    "mp4-h264-open-groups": ("mp4", "libx264", {"x264-params": "open-gop=1:keyint=12:bframes=3"}),
    "mp4-h264-refresh": ("mp4", "libx264", {"x264-params": "intra-refresh=1:keyint=12"}),
    "mp4-mpeg4": ("mp4", "mpeg4", {"bf": "2", "qmax": "3"}),
    "mov-mpeg4": ("mov", "mpeg4", {"qmax": "3"}),
    "avi-mjpeg": ("avi", "mjpeg", {}),
    "avi-mpeg4-reordered": ("avi", "mpeg4", {"bf": "2", "qmax": "3"}),
    "avi-h264-reordered": ("avi", "libx264", {"bf": "2"}),
    "mkv-h264": ("matroska", "libx264", {}),
    "webm-vp8": (
        "webm",
        "libvpx",
        {"auto-alt-ref": "1", "lag-in-frames": "16", "crf": "4", "b": "4M"},
    ),
    "webm-vp9": ("webm", "libvpx-vp9", {}),
    "ts-mpeg2": ("mpegts", "mpeg2video", {"bf": "2", "qmax": "3"}),
    "mpeg1": ("mpeg", "mpeg1video", {"qmax": "3"}),
    "flv": ("flv", "flv1", {"qmax": "3"}),
    "wmv": ("asf", "wmv2", {"qmax": "3"}),
}


def film(folder, name, **options):
    container, codec, codec_options = CODECS[name]
    pixel_format = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = folder / f"{name}.bin"
    return samples.film(
        path, container, codec, options=codec_options, pixel_format=pixel_format, **options
    )


def shown(frames):
    """The numbers of the film frames shown, told from their pixels."""
    return [round((frame.pixels.mean() - 20) / 4) for frame in frames]


def centres(num_frames, count):
    return [(2 * k + 1) * num_frames // (2 * count) for k in range(count)]


def refuse(path, cause, text, count=4, limits=LIMITS):
    with pytest.raises(MediaError) as caught:
        list(sample_frames(path, count, limits))
    assert caught.value.cause == cause, caught.value
    assert text in caught.value.reason
    assert str(caught.value).isprintable()
