"""Face geometry: the head's outline and relief on a flat grid, landmarks, and head pose.

A head is a height field z(x, y) over the plane of the face, in the head units of
`synthetic_people`. Everything that belongs to the head (relief, skin, hair) is painted on one grid
`PIXELS_PER_UNIT` fine; turning the head moves each point of the grid by parallax, so that a nose
travels further than an ear.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_people import Identity, Shot

PIXELS_PER_UNIT = 72.0
_LEFT, _TOP, _WIDTH, _HEIGHT = -1.6, -1.75, 230, 274
X = (_LEFT + (np.arange(_WIDTH, dtype=np.float32) + 0.5) / np.float32(PIXELS_PER_UNIT))[None, :]
Y = (_TOP + (np.arange(_HEIGHT, dtype=np.float32) + 0.5) / np.float32(PIXELS_PER_UNIT))[:, None]

# Landmarks, in the order of `Landmarks.points`.
JAW = slice(0, 11)
BROWS = slice(11, 17)
EYES = slice(17, 25)
NOSE = slice(25, 30)
MOUTH = slice(30, 36)

Bump = tuple[float, float, float, float, float]


@dataclass(frozen=True)
class Landmarks:
    """Where the parts of one face are in an image.

    Args:
        points: float32 (36, 2), x and y in pixels: 11 of the jaw from ear to ear, 3 of each brow,
            4 of each eye (outer, top, inner, bottom), 5 of the nose, 6 of the mouth (left, top,
            right, bottom, and the two lips' inner edges); left is the image's left.
    """

    points: np.ndarray

    @property
    def eyes(self) -> np.ndarray:
        """Centres of the two eyes, float32 (2, 2), image's left first."""
        return self.points[EYES].reshape(2, 4, 2).mean(axis=1)

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, width, height of the face from brows to chin, pixels."""
        left, top = self.points.min(axis=0)
        right, bottom = self.points.max(axis=0)
        return float(left), float(top), float(right - left), float(bottom - top)


@dataclass(frozen=True)
class HeadShape:
    """A head's geometry on the grid; all maps float32 (274, 230).

    Args:
        radius2: Squared distance from the head's axis, 1 on its outline.
        relief: Height of the surface with all features, head units; for shading.
        parallax: A smoother height, without cliffs at the outline; for turning the head.
        landmarks: float32 (36, 3), landmark positions in head units.
    """

    radius2: np.ndarray
    relief: np.ndarray
    parallax: np.ndarray
    landmarks: np.ndarray


def smoothstep(low: float, high: float, values: np.ndarray) -> np.ndarray:
    """Returns 0 below `low`, 1 above `high` and a smooth ramp between."""
    t = np.clip((values - low) / (high - low), 0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def edge(distance: np.ndarray, softness: float = 1.0) -> np.ndarray:
    """Anti-aliased mask of where a distance in head units is positive.

    Args:
        distance: Signed distance, head units.
        softness: Width of the transition, grid pixels.
    """
    return np.clip(distance * (PIXELS_PER_UNIT / softness) + 0.5, 0.0, 1.0)


def bumps(table: list[Bump]) -> np.ndarray:
    """Sums Gaussians (amplitude, centre x and y, standard deviation x and y) on the grid."""
    amplitude, cx, cy, sx, sy = np.array(table, np.float32).T[:, None, :]
    rows = amplitude * np.exp(-0.5 * ((Y - cy) / sy) ** 2)
    columns = np.exp(-0.5 * ((X - cx.T) / sx.T) ** 2)
    # Not `@`: BLAS threads cost 10 ms here and may round differently from machine to machine.
    return np.einsum("hn,nw->hw", rows, columns)


def pair(amplitude: float, cx: float, cy: float, sx: float, sy: float) -> list[Bump]:
    """A bump and its mirror image."""
    return [(amplitude, -cx, cy, sx, sy), (amplitude, cx, cy, sx, sy)]


def outline_radius2(identity: Identity, widen: float = 0.0, raise_crown: float = 0.0) -> np.ndarray:
    """Squared radial coordinate of the head, optionally enlarged (for the hair around it)."""
    cheek, jaw = identity.cheek_width + widen, identity.jaw_width + widen
    width = cheek - (cheek - jaw) * smoothstep(0.1, 1.15, Y)
    crown = identity.crown + raise_crown
    vertical = np.where(
        Y < 0,
        (np.abs(Y) / crown) ** 2.2,
        (np.abs(Y) / (identity.chin + widen)) ** identity.chin_shape,
    )
    return ((X / width) ** 2 + vertical).astype(np.float32)


def shape_head(identity: Identity, shot: Shot) -> HeadShape:
    """Builds a head's relief and landmarks under the shot's expression."""
    radius2 = outline_radius2(identity)
    skull = 0.95 * np.sqrt(np.clip(1.0 - radius2**1.25, 0.02, 1.0))
    features = bumps(_relief_bumps(identity, shot))
    base = 0.8 * (1.0 - 0.8 * np.minimum(radius2, 1.3))
    parallax = base + 0.75 * features * smoothstep(1.0, 0.7, radius2)
    flat = mouth_landmarks(identity, shot), _fixed_landmarks(identity, shot)
    points = np.concatenate([flat[1], flat[0]])
    heights = _sample(parallax, points)
    return HeadShape(
        radius2, skull + features, parallax, np.concatenate([points, heights[:, None]], axis=1)
    )


def _relief_bumps(identity: Identity, shot: Shot) -> list[Bump]:
    eye, mouth, tip = identity.eye_spacing, identity.mouth_height, identity.nose_length
    wing, out = identity.nose_width, identity.nose_height
    smile = max(shot.smile, 0.0)
    return [
        *pair(-0.15, eye + 0.01, -0.02, 0.19, 0.115),
        *pair(-0.06, eye - 0.2, -0.03, 0.08, 0.1),
        *pair(0.06, eye, -identity.brow_height, 0.22, 0.07),
        *pair(0.085, eye, 0.005, 0.12, 0.075),
        (0.11 * out, 0.0, -0.08, 0.08, 0.13),
        (0.15 * out, 0.0, 0.4 * tip, 0.085, 0.15),
        (0.16 * out, 0.0, 0.78 * tip, 0.1, 0.11),
        (0.2 * out, 0.0, tip, 0.105, 0.075),
        *pair(0.12 * out, wing, tip + 0.035, 0.06, 0.055),
        *pair(0.07 + 0.04 * smile, 0.58, 0.3 - 0.04 * smile, 0.2, 0.16),
        *pair(-0.02 - 0.05 * smile, 0.34, 0.68, 0.045, 0.11),
        *pair(-0.04, 0.72, 0.72, 0.16, 0.2),
        (-0.02, 0.0, 0.5 * (tip + mouth) + 0.02, 0.035, 0.06),
        (0.055, 0.0, mouth - 0.05, 0.2, 0.045),
        (0.075, 0.0, mouth + 0.075, 0.17, 0.05),
        (-0.05, 0.0, mouth, 0.24, 0.018),
        (-0.06, 0.0, mouth + 0.19, 0.17, 0.05),
        (0.1, 0.0, identity.chin - 0.16, 0.18, 0.1),
        (0.03, 0.0, -0.62, 0.45, 0.2),
    ]


def mouth_curves(
    identity: Identity, shot: Shot, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Y of the upper lip's top, its lower edge, the lower lip's top and its bottom, at x.

    Outside the corners the four curves coincide.
    """
    t = np.clip(x / (identity.mouth_width * (1 + 0.16 * max(shot.smile, 0.0))), -1.0, 1.0)
    arch = 1.0 - t * t
    line = identity.mouth_height - 0.075 * shot.smile * t * t + 0.012 * arch
    gap = 0.13 * shot.mouth_open * arch
    cupid = 1.0 - 0.3 * np.exp(-((t / 0.16) ** 2))
    upper = line - 0.25 * gap
    lower = line + 0.75 * gap
    return (
        upper - identity.upper_lip * arch**0.8 * cupid,
        upper,
        lower,
        lower + identity.lower_lip * arch**0.75,
    )


def eye_curves(
    identity: Identity, shot: Shot, side: int, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Y of the upper and the lower lid of one eye at x; they meet at the corners.

    Args:
        identity: Whose eye.
        shot: Its expression.
        side: -1 the image's left eye, 1 its right one.
        x: Positions in head units.
    """
    t = np.clip((x - side * identity.eye_spacing) / identity.eye_width, -1.0, 1.0)
    arch = 1.0 - t * t
    line = -identity.eye_tilt * side * t * identity.eye_width + 0.01
    opening = identity.eye_height * shot.eye_open * (1.0 - 0.25 * max(shot.smile, 0.0))
    skew = 1.0 - 0.2 * side * t
    return line - 0.62 * opening * arch**0.75 * skew, line + 0.38 * opening * arch**0.8


def brow_curve(identity: Identity, shot: Shot, side: int, x: np.ndarray) -> np.ndarray:
    """Y of the middle of one brow at x."""
    t = (side * x - identity.eye_spacing) / (1.35 * identity.eye_width)
    raised = -identity.brow_height - 0.045 * shot.brow_raise
    return raised - identity.brow_arch * (1.0 - (t - 0.35) ** 2) + 0.02


def mouth_landmarks(identity: Identity, shot: Shot) -> np.ndarray:
    """The six mouth landmarks, float32 (6, 2), head units."""
    half = identity.mouth_width * (1 + 0.16 * max(shot.smile, 0.0))
    top, inner_top, inner_bottom, bottom = (
        float(curve[0]) for curve in mouth_curves(identity, shot, np.zeros(1, np.float32))
    )
    corner = identity.mouth_height - 0.075 * shot.smile
    return np.array(
        [(-half, corner), (0, top), (half, corner), (0, bottom), (0, inner_top), (0, inner_bottom)],
        np.float32,
    )


def _fixed_landmarks(identity: Identity, shot: Shot) -> np.ndarray:
    heights = identity.chin * np.array([0.15, 0.4, 0.62, 0.8, 0.93], np.float32)
    jaw_width = identity.cheek_width - (identity.cheek_width - identity.jaw_width) * smoothstep(
        0.1, 1.15, heights
    )
    jaw = jaw_width * np.sqrt(1.0 - (heights / identity.chin) ** identity.chin_shape)
    left = [(-x, y) for x, y in zip(jaw, heights, strict=True)]
    right = [(x, y) for x, y in zip(jaw[::-1], heights[::-1], strict=True)]
    points = [*left, (0.0, identity.chin), *right]
    for side in (-1, 1):
        x = side * (identity.eye_spacing + identity.eye_width * np.array([1.3, 0.2, -1.1]))
        points += [*zip(x, brow_curve(identity, shot, side, x), strict=True)]
    for side in (-1, 1):
        x = side * (identity.eye_spacing + identity.eye_width * np.array([1.0, 0.0, -1.0]))
        upper, lower = eye_curves(identity, shot, side, x)
        points += [(x[0], upper[0]), (x[1], upper[1]), (x[2], upper[2]), (x[1], lower[1])]
    tip, wing = identity.nose_length, identity.nose_width
    points += [(0, 0), (0, tip), (-wing, tip + 0.04), (wing, tip + 0.04), (0, tip + 0.11)]
    return np.array(points, np.float32)


def _sample(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    columns, rows = _grid_coordinates(points[:, 0], points[:, 1])
    return cv2.remap(grid, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[:, 0]


def _grid_coordinates(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    columns = (x - _LEFT) * PIXELS_PER_UNIT - 0.5
    rows = (y - _TOP) * PIXELS_PER_UNIT - 0.5
    return columns.astype(np.float32), rows.astype(np.float32)


@dataclass(frozen=True)
class Pose:
    """Where and how a head is seen in an image.

    Args:
        shot: Rotation of the head.
        centre: x and y of the point between the eyes, pixels.
        scale: Pixels per head unit.
    """

    shot: Shot
    centre: tuple[float, float]
    scale: float

    def project(self, points: np.ndarray) -> np.ndarray:
        """Image positions, float32 (n, 2), of points (n, 3) in head units."""
        x, y, z = points.T
        shot = self.shot
        turned_x = x * math.cos(shot.yaw) + z * math.sin(shot.yaw)
        turned_y = y * math.cos(shot.pitch) + z * math.sin(shot.pitch)
        cos, sin = math.cos(shot.roll), math.sin(shot.roll)
        image_x = self.centre[0] + self.scale * (cos * turned_x - sin * turned_y)
        image_y = self.centre[1] + self.scale * (sin * turned_x + cos * turned_y)
        return np.stack([image_x, image_y], axis=1).astype(np.float32)

    def upright(self, size: int, roll: bool) -> tuple[np.ndarray, np.ndarray]:
        """X and y in head units of every pixel, before the head is turned sideways.

        Args:
            size: Side of the square image, pixels.
            roll: Whether to undo the head's tilt (no for the shoulders).
        """
        pixels = np.arange(size, dtype=np.float32) + 0.5
        x = ((pixels - self.centre[0]) / self.scale)[None, :]
        y = ((pixels - self.centre[1]) / self.scale)[:, None]
        if not roll:
            return x, y
        cos, sin = math.cos(self.shot.roll), math.sin(self.shot.roll)
        return cos * x + sin * y, cos * y - sin * x

    def grid_maps(self, parallax: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns and rows of the head's grid seen by every pixel, float32 (size, size) each."""
        x, y = self.upright(size, roll=True)
        shot = self.shot
        cos_yaw, tan_yaw = math.cos(shot.yaw), math.tan(shot.yaw)
        cos_pitch, tan_pitch = math.cos(shot.pitch), math.tan(shot.pitch)
        x, y = x / cos_yaw, y / cos_pitch
        # z depends on the point we look for: a fixed point, sought at half resolution as z is
        # smooth. Three rounds come within a pixel at the angles of `make_shot`.
        half = (size // 2, size // 2)
        coarse_x = cv2.resize(x, half, interpolation=cv2.INTER_AREA)
        coarse_y = cv2.resize(y, half, interpolation=cv2.INTER_AREA)
        z: np.ndarray | float = 0.0
        for _ in range(3):
            coarse = _grid_coordinates(coarse_x - z * tan_yaw, coarse_y - z * tan_pitch)
            z = cv2.remap(parallax, *coarse, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        z = cv2.resize(np.asarray(z), (size, size), interpolation=cv2.INTER_LINEAR)
        return _grid_coordinates(x - z * tan_yaw, y - z * tan_pitch)
