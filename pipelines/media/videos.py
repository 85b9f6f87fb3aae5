"""Evenly spaced frames of a video, decoded by PyAV (FFmpeg) within limits.

The packets are read first without decoding them: their timestamps give the actual duration, which
the headers of damaged, cut or streamed files do not. Frame k of N is the one on display at the
centre of the k-th of N equal intervals of it. Groups of pictures that hold no chosen frame are not
decoded, and one frame is held at a time.

Tensor contract: frames are (height, width, 3) uint8 RGB, upright.
"""

import hashlib
import os
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame as DecodedFrame

from pipelines.errors import Cause, MediaError
from pipelines.media.files import open_regular
from pipelines.media.images import SourceFacts, check_size, decoder_error
from pipelines.media.video_survey import (
    OpenVideo,
    Survey,
    decode_packet,
    open_video,
    survey,
    video_packets,
)
from pipelines.settings import MediaLimits


@dataclass(frozen=True, slots=True)
class VideoFrame:
    """One chosen frame.

    Args:
        index: Its number among the video's frames, from 0.
        time_seconds: When it goes on display, counted from the first frame.
        pixels: (height, width, 3) uint8 RGB, upright.
    """

    index: int
    time_seconds: float
    pixels: np.ndarray


class VideoFrames:
    """The chosen frames of one video; each iteration decodes them anew, one at a time.

    A video of fewer frames than asked for gives each of them once.

    Args:
        path: The file.
        count: Number of frames, at least 1.
        limits: What may be decoded.
        dense: Choose every frame or, of more than `count`, every second, third and so on.

    Attributes:
        facts: What is known of the file.
        num_chosen: Frames chosen; some may turn out to be damaged.
        stride: Every how many-th frame is chosen; 0 unless `dense`.
        frames_read: Frames the file holds, as far as it could be read.
        frames_expected: Frames it announces; `frames_read` where nothing is missing.
        truncated: Whether frames are missing, because the file is cut or a limit was passed.
        duration_seconds: Time its frames are on display.
        notes: What was remarkable, `stopped at the limit of 20 frames` for instance; an
            iteration adds how many of the chosen frames turned out to be damaged.

    Raises:
        MediaError: It is not a video within the limits, or none of its frames can be decoded.
    """

    def __init__(
        self, path: str | Path, count: int, limits: MediaLimits, *, dense: bool = False
    ) -> None:
        if count < 1:
            raise ValueError(f"count {count}, expected at least 1")
        self._path, self._limits = path, limits
        label = os.fspath(path)
        with open_video(path, limits) as video:
            found, first_frame = survey(video, label, limits)
            pixels = self._pixels(first_frame)
            with open_regular(path) as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self.facts = SourceFacts(
                format=video.content.name,
                bytes=video.num_bytes,
                width=pixels.shape[1],
                height=pixels.shape[0],
                jpeg_quality=-1,
                sha256=sha256,
            )
        self._survey = found
        self.frames_read = len(found.timestamps)
        self.stride = -(-self.frames_read // count) if dense else 0
        order = sorted(found.timestamps)
        self._targets = tuple(order[:: self.stride]) if dense else _targets(found, count)
        self.num_chosen = len({bisect_right(order, target) for target in self._targets})
        self.truncated = found.is_cut or bool(found.stopped)
        missing = max(self.frames_read, found.declared_frames) if self.truncated else 0
        self.frames_expected = max(self.frames_read, missing)
        start = min(found.timestamps)
        self.duration_seconds = (found.end - start) * found.tick_seconds
        self.notes = tuple(self._notes(first_frame.rotation))

    def __iter__(self) -> Iterator[VideoFrame]:
        """Yields the chosen frames in order of display.

        Raises:
            MediaError: None of the chosen frames can be decoded, one is out of the limits, or the
                file has changed.
        """
        found = self._survey
        order = sorted(found.timestamps)
        missing = {order[bisect_right(order, target) - 1] for target in self._targets}
        is_empty = True
        with open_video(self._path, self._limits) as video:
            for position, frame in _chosen(_decoded(video, found, self._targets), self._targets):
                missing.discard(position)
                is_empty = False
                yield VideoFrame(
                    index=bisect_left(order, position),
                    time_seconds=(position - order[0]) * found.tick_seconds,
                    pixels=self._pixels(frame),
                )
        if is_empty:
            reason = "damaged: none of the chosen frames can be decoded"
            raise MediaError(os.fspath(self._path), Cause.DAMAGED, reason)
        damaged = f"{len(missing)} chosen frames are damaged: left out, or earlier ones instead"
        if missing and damaged not in self.notes:
            self.notes += (damaged,)

    def _pixels(self, frame: DecodedFrame) -> np.ndarray:
        label = os.fspath(self._path)
        check_size(frame.width, frame.height, label, self._limits)
        try:
            pixels = frame.to_ndarray(format="rgb24")
        except Exception as error:
            raise decoder_error(label, error) from None
        # Quarter turns, counter-clockwise; cameras write no other angle.
        return np.ascontiguousarray(np.rot90(pixels, round(frame.rotation / 90)))

    def _notes(self, rotation: float) -> Iterator[str]:
        quarter_turns = round(rotation / 90) % 4
        if quarter_turns:
            yield f"rotated by {90 * quarter_turns} degrees counter-clockwise"
        if self._survey.stopped:
            yield self._survey.stopped
        if self.truncated:
            yield f"truncated: frames_read {self.frames_read} of {self.frames_expected}"


def sample_frames(path: str | Path, count: int, limits: MediaLimits) -> VideoFrames:
    """Chooses `count` evenly spaced frames of a video; iterate the result to decode them.

    Raises:
        MediaError: It is not a video within the limits, or none of its frames can be decoded.
    """
    return VideoFrames(path, count, limits)


def dense_frames(path: str | Path, most: int, limits: MediaLimits) -> VideoFrames:
    """Chooses every frame of a video, or every n-th where it holds more than `most`.

    Raises:
        MediaError: It is not a video within the limits, or none of its frames can be decoded.
    """
    return VideoFrames(path, most, limits, dense=True)


def _targets(found: Survey, count: int) -> tuple[int, ...]:
    """Returns the centres of `count` equal intervals of the display time, in whole ticks."""
    start = min(found.timestamps)
    span = found.end - start
    return tuple(start + (2 * k + 1) * span // (2 * count) for k in range(count))


def _packet_ranges(found: Survey, targets: Sequence[int]) -> list[tuple[int, int]]:
    """Returns the ranges of packets, start and stop, that give the frames on display then.

    Decoding starts one key packet earlier than it would have to: what some encoders mark as one
    is a picture that is only whole after a second or two (gradual refresh, open groups).
    """
    if not found.is_timed:
        return [(0, len(found.timestamps))]
    display_order = sorted(range(len(found.timestamps)), key=found.timestamps.__getitem__)
    times = [found.timestamps[packet] for packet in display_order]
    key_times = [found.timestamps[packet] for packet in found.key_packets]
    can_skip = key_times == sorted(key_times)
    ranges: list[tuple[int, int]] = []
    for target in targets:
        packet = display_order[bisect_right(times, target) - 1]
        key = bisect_right(key_times, times[bisect_right(times, target) - 1]) - 2
        start, stop = found.key_packets[key] if can_skip and key > 0 else 0, packet + 1
        if ranges and start <= ranges[-1][1]:
            start, stop = ranges[-1][0], max(ranges[-1][1], stop)
            ranges.pop()
        ranges.append((start, stop))
    return ranges


def _decoded(
    video: OpenVideo, found: Survey, targets: Sequence[int]
) -> Iterator[tuple[int, DecodedFrame]]:
    """Yields position and frame of all that has to be decoded, in order of display."""
    ranges = iter(_packet_ranges(found, targets))
    start, stop = next(ranges)
    num_decoded = 0
    for ordinal, packet in enumerate(video_packets(video)):
        if ordinal < start:
            continue
        frames = decode_packet(video.stream, packet)
        is_last = ordinal == stop - 1
        if is_last:
            frames += decode_packet(video.stream, None)
            video.stream.codec_context.flush_buffers()
        for frame in frames:
            position = frame.pts if found.is_timed else num_decoded
            num_decoded += 1
            if position is not None:
                yield position, frame
        if is_last:
            following = next(ranges, None)
            if following is None:
                return
            start, stop = following


def _chosen(
    frames: Iterable[tuple[int, DecodedFrame]], targets: Sequence[int]
) -> Iterator[tuple[int, DecodedFrame]]:
    """Yields the frame on display at each target, once where it is on display at several."""
    pending = deque(targets)
    shown: tuple[int, DecodedFrame] | None = None
    last_position: int | None = None
    for current in frames:
        while pending and current[0] > pending[0]:
            pending.popleft()
            choice = shown or current  # nothing shown yet: what came before was damaged
            if choice[0] != last_position:
                last_position = choice[0]
                yield choice
        shown = current
    if pending and shown is not None and shown[0] != last_position:
        yield shown
