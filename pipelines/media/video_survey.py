"""What a video file holds, from its packets: opened safely, read once, hardly decoded.

FFmpeg reads an open regular file and is told the container, which was recognised by content: it
neither probes for playlists nor opens anything they or the container refer to.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer
from av.video.frame import VideoFrame as DecodedFrame
from av.video.stream import VideoStream

from pipelines.errors import Cause, MediaError, printable
from pipelines.media.files import file_size, open_regular
from pipelines.media.images import check_size
from pipelines.media.kinds import ACCEPTED_VIDEOS, HEAD_BYTES, Content, identify
from pipelines.settings import MediaLimits

_PLAYLIST_SUFFIXES = (".m3u8", ".m3u", ".ffconcat")
_READ_BYTES = 2**18
_DEFAULT_RATE = 25.0
# Headers round durations and count the last frame's; a file is cut when more than this is missing.
_TOLERATED_FRAMES = 2
_TOLERATED_FRACTION = 0.02


@dataclass(frozen=True, slots=True)
class OpenVideo:
    """An open video: the container, its main video stream, its format and its size in bytes."""

    container: InputContainer
    stream: VideoStream
    content: Content
    num_bytes: int


@dataclass(frozen=True, slots=True)
class Survey:
    """What the packets of a video say.

    Args:
        timestamps: Of each packet in stream order, in ticks; ordinals where `is_timed` is false.
        key_packets: Ordinals of the packets decoding can start from; empty where unknown.
        is_timed: Whether every packet has a timestamp.
        tick_seconds: Length of a tick.
        end: Timestamp at which the last frame goes off display, ticks.
        declared_frames: Number of frames the header announces, 0 where it does not.
        is_cut: Whether the file ends, or breaks, before what its header announces.
        stopped: Which limit ended the reading, empty where none did.
    """

    timestamps: tuple[int, ...]
    key_packets: tuple[int, ...]
    is_timed: bool
    tick_seconds: float
    end: int
    declared_frames: int
    is_cut: bool
    stopped: str


@contextmanager
def open_video(path: str | Path, limits: MediaLimits) -> Iterator[OpenVideo]:
    """Opens a video file; its frames may still be undecodable.

    Raises:
        MediaError: It is not a video within the limits.
    """
    label = os.fspath(path)
    if label.lower().endswith(_PLAYLIST_SUFFIXES):
        raise MediaError(label, Cause.NOT_MEDIA, "cannot open video: a playlist")
    with open_regular(path) as file:
        head = file.read(HEAD_BYTES)
        if not head:
            raise MediaError(label, Cause.EMPTY, "cannot open video: empty file")
        content = identify(head)
        if not content.demuxer:
            reason = f"cannot open video: not a {ACCEPTED_VIDEOS} file (found: {content.name})"
            raise MediaError(label, Cause.NOT_MEDIA, reason)
        num_bytes = file_size(file)
        if num_bytes > limits.max_video_bytes:
            raise MediaError(
                label,
                Cause.TOO_MANY_BYTES,
                f"{num_bytes:,} bytes is over the limit of {limits.max_video_bytes:,} for a video",
            )
        file.seek(0)
        try:
            container = av.open(
                file,
                mode="r",
                format=content.demuxer,
                options={
                    "protocol_whitelist": "none",
                    "max_pixels": str(limits.max_pixels),
                    "threads": "1",
                },
                metadata_errors="replace",
                buffer_size=_READ_BYTES,
            )
        except Exception as error:
            raise MediaError(label, Cause.DAMAGED, f"cannot open video: {_short(error)}") from None
        with container:
            yield OpenVideo(container, _video_stream(container, label, limits), content, num_bytes)


def decode_packet(stream: VideoStream, packet: av.Packet | None) -> list[DecodedFrame]:
    """Returns the whole frames a packet completes (None: the last ones held back).

    What cannot be decoded gives no frame; damaged frames the decoder marks are left out.
    """
    try:
        return [f for f in stream.codec_context.decode(packet) if not f.is_corrupt]
    except Exception:  # whatever the decoder thinks of damaged data
        return []


def video_packets(video: OpenVideo) -> Iterator[av.Packet]:
    """Yields the packets of the video stream that were read whole.

    Empty ones are left out: to a decoder they mean the end.
    """
    for packet in video.container.demux(video.stream):
        if packet.size and not packet.is_corrupt:
            yield packet


def survey(video: OpenVideo, label: str, limits: MediaLimits) -> tuple[Survey, DecodedFrame]:
    """Reads all packets, and decodes until the first frame comes out.

    Returns:
        What the packets say, and the first frame.

    Raises:
        MediaError: No frame can be decoded.
    """
    log = _PacketLog(video.stream, limits)
    try:
        for packet in video.container.demux():
            log.add(packet)
            if log.stopped:
                break
    except Exception:  # the demuxer gave up: what was read so far stands
        log.is_broken = True
    first_frame = log.first_frame or next(iter(decode_packet(video.stream, None)), None)
    if first_frame is None:
        raise _undecodable(video, label, limits)
    return _summary(video, log), first_frame


class _PacketLog:
    """Collects what packets say: see Survey."""

    def __init__(self, stream: VideoStream, limits: MediaLimits) -> None:
        self.stream, self.limits = stream, limits
        self.timestamps: list[int | None] = []
        self.key_packets: list[int] = []
        self.end = 0  # of the video stream, ticks
        self.container_end = 0.0  # of all streams, seconds
        self.first_frame: DecodedFrame | None = None
        self.is_broken = False
        self.stopped = ""

    def add(self, packet: av.Packet) -> None:
        if not packet.size:
            return
        end = None if packet.pts is None else packet.pts + (packet.duration or 0)
        if end is not None and packet.time_base is not None:
            self.container_end = max(self.container_end, float(end * packet.time_base))
        if packet.stream is not self.stream:
            return
        # A packet that was not read whole breaks the film only if nothing comes after it.
        self.is_broken = packet.is_corrupt
        self.stopped = self._passed_limit(packet)
        if self.is_broken or self.stopped:
            return
        if packet.is_keyframe:
            self.key_packets.append(len(self.timestamps))
        self.timestamps.append(packet.pts)
        self.end = max(self.end, end or 0)
        if self.first_frame is None:
            self.first_frame = next(iter(decode_packet(self.stream, packet)), None)

    def _passed_limit(self, packet: av.Packet) -> str:
        if len(self.timestamps) >= self.limits.max_video_frames:
            return f"stopped at the limit of {self.limits.max_video_frames:,} frames"
        start = self.timestamps[0] if self.timestamps else None
        if start is not None and packet.pts is not None and packet.time_base is not None:
            seconds = float((packet.pts - start) * packet.time_base)
            if seconds > self.limits.max_video_seconds:
                return f"stopped at the limit of {self.limits.max_video_seconds:g} seconds"
        return ""


def _summary(video: OpenVideo, log: _PacketLog) -> Survey:
    stream, num_packets = video.stream, len(log.timestamps)
    declared_frames, declared_seconds, rate = _declared(video)
    read_seconds = log.container_end - (video.container.start_time or 0) / av.time_base
    tolerated = max(_TOLERATED_FRAMES / rate, _TOLERATED_FRACTION * declared_seconds)
    is_short = declared_seconds - read_seconds > tolerated and declared_frames > num_packets
    times = [t for t in log.timestamps if t is not None]
    # AVI has no timestamps of display: with reordered frames those of its packets are wrong.
    is_reordered = video.content.demuxer == "avi" and stream.codec_context.has_b_frames
    is_timed = (
        stream.time_base is not None
        and len(times) == num_packets
        and (num_packets == 1 or len(set(times)) > 1)
        and not is_reordered
    )
    end = log.end
    if not is_timed:
        times, end = [*range(num_packets)], num_packets
    elif end <= max(times):  # the last packet has no duration: give it the mean one
        end = max(times) + max(1, (max(times) - min(times)) // max(1, num_packets - 1))
    return Survey(
        timestamps=tuple(times),
        key_packets=tuple(log.key_packets) if is_timed else (),
        is_timed=is_timed,
        tick_seconds=float(stream.time_base) if is_timed and stream.time_base else 1 / rate,
        end=end,
        declared_frames=declared_frames,
        is_cut=(log.is_broken or is_short) and not log.stopped,
        stopped=log.stopped,
    )


def _video_stream(container: InputContainer, label: str, limits: MediaLimits) -> VideoStream:
    stream = container.streams.best("video")
    if not isinstance(stream, VideoStream) or stream.codec_context is None:
        raise MediaError(label, Cause.NOT_MEDIA, "cannot open video: no video stream it can decode")
    context = stream.codec_context
    if context.width and context.height:
        check_size(context.width, context.height, label, limits)
    # One thread: damaged streams decode the same way every time. Later frames may be larger.
    context.thread_count = 1
    context.options = {"max_pixels": str(limits.max_pixels)}
    return stream


def _undecodable(video: OpenVideo, label: str, limits: MediaLimits) -> MediaError:
    # FFmpeg forgets the size a container declares when it is over `max_pixels`; streams
    # declare it nowhere but in their frames.
    is_stream = video.content.name in ("MPEG", "TS")
    if video.stream.codec_context.width or is_stream:
        return MediaError(label, Cause.DAMAGED, "cannot open video: no frame can be decoded")
    reason = f"frames of no size, or over the pixel limit ({limits.max_pixels:,} pixels)"
    return MediaError(label, Cause.TOO_MANY_PIXELS, f"cannot open video: {reason}")


def _declared(video: OpenVideo) -> tuple[int, float, float]:
    """Returns the frames, seconds and frames per second the headers announce; 0 for unknown."""
    stream = video.stream
    rate = float(stream.average_rate or 0) or _DEFAULT_RATE
    seconds = max(0.0, (video.container.duration or 0) / av.time_base)
    frames = stream.frames
    if not 0 < frames <= video.num_bytes:
        frames = round(seconds * rate) if stream.average_rate else 0
    elif video.content.demuxer == "avi":
        # FFmpeg reckons the duration of a cut AVI anew from its size.
        seconds = frames / rate
    return frames, seconds, rate


def _short(error: Exception) -> str:
    return printable(getattr(error, "strerror", None) or type(error).__name__)
