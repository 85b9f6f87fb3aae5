"""A clip to look at: the frames that were looked at, with persons, scores and heat maps drawn."""

from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.video.stream import VideoStream

from dfd_tf.inference.annotation import (
    Mark,
    fitted_size,
    heading_height,
    heading_strip,
    marked,
    num_heading_lines,
)
from dfd_tf.inference.figures import person_color
from dfd_tf.inference.media_faces import Clip, FrameSampling, MediaFaces
from dfd_tf.inference.network import Network
from dfd_tf.inference.prediction import FilePrediction
from dfd_tf.inference.timeline import clip_lines
from pipelines.media.videos import VideoFrame
from pipelines.settings import PrepareSettings

LARGEST_SIDE = 1280
_TICKS = 1000
"""Time stamps a second: frames are on display when they were in the original."""
_NOMINAL_RATE = 30
"""Frames a second that encoders choose a level for; players of small machines refuse high ones."""
_HEAT_SIDE = 64
"""Side that heat maps wait in for their frame, pixels: a clip may have thousands of faces."""
_CHUNK = 32
_CODECS = {"libx264": {"crf": "23", "preset": "veryfast", "bf": "0"}, "mpeg4": {"qmax": "5"}}
"""Encoders by preference, and their options; without B-frames no time stamp moves."""

_ShownFace = tuple[dict[str, Any], np.ndarray]
"""One of `FilePrediction.faces`, and its heat map as (h, w) uint8."""


def write_annotated_clip(
    path: Path,
    network: Network,
    media: MediaFaces,
    prediction: FilePrediction,
    settings: PrepareSettings,
    sampling: FrameSampling,
) -> None:
    """Draws the result of a video on its frames, as an MP4 without sound.

    Only frames that were looked at are shown, each until the next one is due, so that no box is
    ever drawn on a picture it was not found in; with `dense` that is the whole video. The frames
    are decoded again, one at a time. H.264 where FFmpeg can write it, MPEG-4 elsewhere. The picture
    keeps its place: the heading is as high in every frame as the highest has to be.

    Args:
        path: The file to write.
        network: The run.
        media: The video's faces.
        prediction: Its result.
        settings: How its faces were found.
        sampling: How its frames were chosen.

    Raises:
        MediaError: The video cannot be read any more.
        OSError: The file cannot be written.
    """
    assert media.clip is not None
    clip = media.clip
    persons = {person["person"]: person for person in prediction.persons}
    faces = _faces_by_frame(network, media, prediction)
    codec = next(name for name in _CODECS if name in av.codecs_available)
    looked_at = {frame for frame, _ in clip.frames}
    layout = _layout(clip, clip_lines(prediction), faces)
    with av.open(str(path), "w", format="mp4") as output:
        stream = cast(
            VideoStream, output.add_stream(codec, rate=_NOMINAL_RATE, options=_CODECS[codec])
        )
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.width, stream.height = layout.canvas
        tick = -1
        for frame in sampling.choose(media.path, settings):
            if frame.index not in looked_at:
                continue
            marks = [_mark(face, heat, persons) for face, heat in faces.get(frame.index, ())]
            picture = _drawn(frame, marks, layout, settings)
            tick = max(round(frame.time_seconds * _TICKS), tick + 1)
            output.mux(stream.encode(_encodable(picture, tick)))
        # A frame is on display until the next one: without a last one again it would flash.
        output.mux(
            stream.encode(_encodable(picture, max(round(clip.duration_seconds * _TICKS), tick + 1)))
        )
        output.mux(stream.encode(None))


@dataclass(frozen=True)
class _Layout:
    """What is at the same place in every frame of a clip.

    Args:
        clip: The clip.
        lines: What is said of it as a whole.
        size: Width and height of the picture.
        num_lines: Lines of the heading above it.
    """

    clip: Clip
    lines: list[str]
    size: tuple[int, int]
    num_lines: int

    @property
    def canvas(self) -> tuple[int, int]:
        """Width and height of the whole; video codecs want even sides."""
        height = heading_height(self.size, self.num_lines) + self.size[1]
        return self.size[0] + self.size[0] % 2, height + height % 2

    def heading(self, seconds: float, *, has_face: bool) -> np.ndarray:
        line = _time_line(self.clip, seconds, has_face=has_face)
        return heading_strip([*self.lines, line], self.size, self.num_lines)

    def fitted(self, width: int, height: int) -> tuple[int, int]:
        """Brings the size of a frame into that of the picture: it may change within a clip."""
        if (width, height) == self.clip.size:
            return self.size
        scale = min(self.size[0] / width, self.size[1] / height)
        return max(1, int(width * scale)), max(1, int(height * scale))


def _layout(clip: Clip, lines: list[str], faces: Collection[int]) -> _Layout:
    """Finds the layout of a clip; `faces` are the numbers of the frames with a face."""
    size = fitted_size(*clip.size, LARGEST_SIDE)
    of_time = max(
        num_heading_lines(["", _time_line(clip, seconds, has_face=frame in faces)], size)
        for frame, seconds in clip.frames
    )
    # The empty line in the place of the bold one is a line as well.
    return _Layout(clip, lines, size, num_heading_lines(lines, size) + of_time - 1)


def _time_line(clip: Clip, seconds: float, *, has_face: bool) -> str:
    faceless = "" if has_face else "; no face"
    return f"{seconds:.2f} of {clip.duration_seconds:.2f} s{faceless}"


def _drawn(
    frame: VideoFrame, marks: list[Mark], layout: _Layout, settings: PrepareSettings
) -> np.ndarray:
    height, width = frame.pixels.shape[:2]
    heading = layout.heading(frame.time_seconds, has_face=bool(marks))
    picture = marked(frame.pixels, marks, settings.faces, layout.fitted(width, height))
    canvas = np.zeros((layout.canvas[1], layout.canvas[0], 3), np.uint8)
    canvas[: len(heading), : heading.shape[1]] = heading
    canvas[len(heading) :][: len(picture), : picture.shape[1]] = picture
    return canvas


def _faces_by_frame(
    network: Network, media: MediaFaces, prediction: FilePrediction
) -> dict[int, list[_ShownFace]]:
    """The faces of each frame with their heat maps, highest scores first."""
    shown: dict[int, list[_ShownFace]] = defaultdict(list)
    for face, heat in zip(prediction.faces, _heats(network, media), strict=True):
        shown[face["frame"]].append((face, heat))
    for rows in shown.values():
        rows.sort(key=lambda row: -row[0]["score"])
    return shown


def _mark(face: dict[str, Any], heat: np.ndarray, persons: dict[int, dict[str, Any]]) -> Mark:
    person = persons[face["person"]]
    verdict = f", {person['verdict']}" if person["verdict"] else ""
    caption = f"person {face['person']}{verdict}: {face['score']:.3g}"
    color = person_color(face["person"], counted=person["counted"])
    return Mark(tuple(face["box"]), caption, color, heat.astype(np.float32) / 255.0)


def _heats(network: Network, media: MediaFaces) -> Iterator[np.ndarray]:
    for start in range(0, len(media.faces), _CHUNK):
        encoded = [face.encoded for face in media.faces[start : start + _CHUNK]]
        for heat in network.explain(network.decode(encoded)):
            small = cv2.resize(heat, (_HEAT_SIDE, _HEAT_SIDE), interpolation=cv2.INTER_AREA)
            yield np.round(255.0 * small).astype(np.uint8)


def _encodable(picture: np.ndarray, tick: int) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    frame.pts, frame.time_base = tick, Fraction(1, _TICKS)
    return frame
