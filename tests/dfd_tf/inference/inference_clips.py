"""Clips of rendered people with a planted forgery, and a network that sees just that."""

import cv2
import inference_media
import numpy as np

from dfd_tf.inference.calibration import CalibrationFile, VideoCalibration
from dfd_tf.inference.temporal import TemporalReference
from pipelines.settings import CropSettings, PrepareSettings
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

RATE = 5
SIDE = 160
SETTINGS = PrepareSettings(frames=12, splits=None, crop=CropSettings(size=64))
_TINT = np.array([-4.0, 6.0, -4.0])
TINT_SCORE = 10.0
"""What it adds to the score of a face that is tinted all over."""


class TintNetwork:
    """Scores how green a face is; its latents are the colours of the face."""

    image_size = 64
    batch_size = 8
    calibration = None
    settings = SETTINGS
    run = "tint"

    def __init__(self):
        self.num_scored = self.num_embedded = 0

    def decode(self, encoded):
        images = [cv2.imdecode(np.frombuffer(one, np.uint8), cv2.IMREAD_COLOR) for one in encoded]
        return np.array([one[..., ::-1] for one in images], np.uint8).reshape(-1, 64, 64, 3)

    def score(self, images):
        self.num_scored += len(images)
        red, green, blue = self._colours(images)
        return green - (red + blue) / 2

    def embed(self, images):
        self.num_embedded += len(images)
        return self._colours(images).T.astype(np.float32)

    @staticmethod
    def _colours(images):
        middle = images[:, 16:48, 16:48].astype(np.float64)
        return middle.mean(axis=(1, 2)).T.reshape(3, len(images))


def write_clip(path, frames):
    """Writes frames so that each keeps its own colours, whatever comes before it."""
    inference_media.write_clip(path, frames, codec="mjpeg", container="avi", rate=RATE)


def tinted(pixels, left=0.0, right=1.0):
    """The picture with a green tint between two edges, fractions of its width."""
    width = pixels.shape[1]
    changed = pixels.astype(np.float32)
    changed[:, round(left * width) : round(right * width)] += _TINT
    return np.clip(changed, 0, 255).astype(np.uint8)


def portrait(person=3):
    return render_face(31, person, 0, SIDE).pixels


def pair():
    """Two people side by side, each with a face of its own half."""
    return render_portrait_pair(31, 5, 6, 0, SIDE)[0]


def moving(pixels, count, seed=0):
    """`count` frames of the same picture, moved a little each time."""
    moves = np.random.default_rng(seed).integers(-3, 4, (count, 2))
    return [np.roll(pixels, move, axis=(0, 1)) for move in moves]


def swapped_clip(path, num_frames=60, stretch=(20, 40)):
    """Writes a clip of one person whose face is forged within a stretch of frames."""
    frames = moving(portrait(), num_frames)
    frames = [tinted(f) if stretch[0] <= i < stretch[1] else f for i, f in enumerate(frames)]
    write_clip(path, frames)
    return path


def point(name, value, **changes):
    interval = {"low": 0.0, "high": 1.0}
    return {
        "name": name, "value": value, "rule": "by hand", "target_fpr": 0.05, "num_real": 19,
        "observed_fpr": 0.05, "observed_fpr_interval": interval, **changes,
    }  # fmt: skip


def calibration(threshold=5.0, *, clips=None, aggregation="mean", temporal=None, frames=None):
    """A calibration whose only operating point is `balanced`.

    Args:
        threshold: That of single images.
        clips: That of clips; None: there were no clips.
        aggregation: Of a person's faces.
        temporal: Reference of change over time.
        frames: Fewest and most frames the persons of its clips are seen in.
    """
    of_clips = None
    if clips is not None:
        of_clips = VideoCalibration(
            aggregation=aggregation,
            aggregation_reason="by hand",
            num_real=19,
            num_real_clusters=19,
            num_fake=0,
            thresholds=(point("balanced", clips),),
            real_scores=tuple(np.linspace(clips - 18, clips, 19).tolist()),
            temporal=temporal,
            temporal_missing="" if temporal else "none here",
            frames_of_persons=frames,
        )
    return CalibrationFile(
        weights_sha256="0", dataset="d", dataset_fingerprint="f", num_real=19,
        num_real_clusters=19, num_fake=0, thresholds=(point("balanced", threshold),),
        real_scores=tuple(np.linspace(threshold - 18, threshold, 19).tolist()), video=of_clips,
    )  # fmt: skip


def reference(statistics, interval, num_frames=12):
    """A temporal reference of 19 persons around these statistics, whatever the number of frames."""
    spread = np.linspace(0.9, 1.1, 19)[:, None]
    rows = [tuple(row) for row in (spread * statistics).tolist()]
    return TemporalReference(
        statistics=tuple((row,) * (num_frames - 4) for row in rows),
        shortest_interval=0.8 * interval,
        longest_interval=1.25 * interval,
    )
