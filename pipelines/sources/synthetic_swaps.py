"""Fake photos: a donor's face put onto a target, with the flaws such swaps have.

The way of classic face swapping: the donor's photo is warped so that its landmarks meet the
target's, its colours are matched, and it is blended in under a soft mask of the face's hull; hair
and glasses of the target stay in front. Then the fake goes through the same camera as a real photo.
`swap` replaces the face, `blend` mixes both people's (a morph).

What gives a fake away, graded by its difficulty: a colour cast and a light that do not belong, a
face coarser or sharper than its surroundings, a visible boundary, features that do not sit right,
and ghosts of the second face.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_camera import expose, make_camera
from pipelines.sources.synthetic_geometry import BROWS, EYES, JAW, Landmarks
from pipelines.sources.synthetic_people import FAKE_STREAM, make_identity, make_shot, stream
from pipelines.sources.synthetic_portraits import Portrait, Scene, stage, wear

METHODS = ("swap", "blend")
_FIELD = 12  # cells of the coarse grid on which the warp is computed


@dataclass(frozen=True, slots=True)
class Flaws:
    """What goes wrong in one swap.

    Args:
        difficulty: How hard it is to see, 0 coarse to 1 subtle; sets the ranges of the rest.
        share: Share of the donor under the mask: 1 for a swap, less for a blend.
        misfit: Standard deviation of the landmark errors, fractions of the distance of the eyes.
        resolution: Factor the donor's face was scaled down by before it was warped.
        restore: Strength of the sharpening that tries to make up for it.
        colour_match: How far the donor's colours are moved to the target's, [0, 1].
        cast: Colour shift that remains, (red, green, blue), fractions of the full range.
        checker: Strength of the checkerboard that transposed convolutions leave, at the lowered
            resolution; relative to the brightness.
        seam: Brightness of the pale rim left along the edge, fraction of the full range.
        feather: Width of the soft edge, as a fraction of the distance of the eyes.
        grow: Scale of the mask.
        noise_seed: Seed of the landmark errors.
    """

    difficulty: float
    share: float
    misfit: float
    resolution: float
    restore: float
    colour_match: float
    cast: tuple[float, float, float]
    checker: float
    seam: float
    feather: float
    grow: float
    noise_seed: int


def make_flaws(seed: int, target: int, shot: int, method: str) -> Flaws:
    """Draws the flaws of the fake with this key; they do not depend on the donor."""
    rng = stream(seed, FAKE_STREAM, target, shot)
    difficulty = rng.uniform(0.0, 1.0)
    ease = 1.0 - difficulty
    cast = rng.normal(0, 0.01 + 0.025 * ease, 3)
    return Flaws(
        difficulty=difficulty,
        share=rng.uniform(0.5, 0.7) if method == "blend" else 1.0,
        misfit=rng.uniform(0.005, 0.015 + 0.03 * ease),
        resolution=rng.uniform(0.55 - 0.25 * ease, 0.8 - 0.3 * ease),
        restore=rng.uniform(0.4, 1.6),
        colour_match=rng.uniform(0.8 - 0.5 * ease, 0.95),
        cast=(float(cast[0]), float(cast[1]), float(cast[2])),
        checker=rng.uniform(0.03, 0.06 + 0.04 * ease),
        seam=rng.uniform(0.02, 0.05 + 0.06 * ease),
        feather=rng.uniform(0.14, 0.22) - 0.1 * ease,
        grow=rng.uniform(0.84, 1.0),
        noise_seed=int(rng.integers(0, 2**31)),
    )


@dataclass(frozen=True)
class Fake(Portrait):
    """A fake photo and how it was made.

    Args:
        mask: float32 (size, size), how much of the donor there is, [0, 1].
        flaws: What went wrong.
    """

    mask: np.ndarray
    flaws: Flaws


def render_swap(
    seed: int, target: int, donor: int, shot: int, size: int, method: str = "swap"
) -> Fake:
    """Renders the target's photo `shot` with the face of the donor.

    Pose, light, background and camera are those of `render_face(seed, target, shot, size)`; the
    donor's face comes from a photo of its own.

    Args:
        seed: Which world of people.
        target: Number of the person whose photo it is.
        donor: Number of the person whose face is put in.
        shot: Number of the photo.
        size: Side of the square image, pixels.
        method: One of `METHODS`.
    """
    if method not in METHODS:
        raise ValueError(f"method {method!r}, expected one of {METHODS}")
    flaws = make_flaws(seed, target, shot, method)
    scene = stage(make_identity(seed, target), make_shot(seed, target, shot), size)
    source = stage(make_identity(seed, donor), make_shot(seed, donor, shot), size, face_only=True)
    mask = _face_mask(scene, flaws)
    left, top, width, height = cv2.boundingRect((mask > 0).astype(np.uint8))
    area = slice(top, top + height), slice(left, left + width)
    columns, rows = _warp(source.landmarks, scene.landmarks, size, flaws)
    face = cv2.remap(
        _degrade(source.picture, flaws),
        columns[area],
        rows[area],
        cv2.INTER_CUBIC,
        borderMode=cv2.BORDER_REFLECT,
    )
    share = cv2.merge([mask[area]] * 3)
    face = _match_colours(face, scene.picture[area], mask[area], flaws)
    face = face + 4.0 * flaws.seam * (1.0 - share)
    mask *= flaws.share
    picture = scene.picture.copy()
    picture[area] += flaws.share * share * (face - picture[area])
    picture = wear(np.clip(picture, 0.0, 1.0), scene.glasses)
    pixels = expose(picture, make_camera(seed, target, shot))
    return Fake(pixels, scene.landmarks, mask, flaws)


def _degrade(picture: np.ndarray, flaws: Flaws) -> np.ndarray:
    """Lowers the donor's resolution, as a generator's decoder does, and sharpens what is left."""
    height, width = picture.shape[:2]
    small = round(width * flaws.resolution), round(height * flaws.resolution)
    coarse = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    rows, columns = np.ogrid[: small[1], : small[0]]
    squares = np.where((rows + columns) % 2, 1.0 - flaws.checker, 1.0 + flaws.checker)
    coarse = coarse * squares[..., None].astype(np.float32)
    coarse = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(coarse, (0, 0), 1.2)
    return coarse + flaws.restore * (coarse - smooth)


def _warp(
    source: Landmarks, target: Landmarks, size: int, flaws: Flaws
) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of the donor's photo that belong at each pixel of the target's.

    A smoothing thin-plate spline through the landmarks; float32 (size, size) each.
    """
    rng = np.random.default_rng(flaws.noise_seed)
    distance = float(np.linalg.norm(target.eyes[1] - target.eyes[0]))
    common = rng.normal(0, flaws.misfit * distance, (1, 2))
    own = rng.normal(0, 0.6 * flaws.misfit * distance, target.points.shape)
    points = target.points + common + own
    spline = _ThinPlate(points / size, source.points / size)
    nodes = (np.arange(_FIELD) + 0.5) / _FIELD
    grid = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    coarse = (spline(grid) * size - 0.5).astype(np.float32).reshape(_FIELD, _FIELD, 2)
    # Bicubic resizing repeats the border cells; faces lie well inside.
    columns, rows = cv2.split(cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC))
    return columns, rows


class _ThinPlate:
    """Smoothing thin-plate spline from points (n, 2) to values (n, 2)."""

    _STIFFNESS = 2e-3

    def __init__(self, points: np.ndarray, values: np.ndarray) -> None:
        count = len(points)
        affine = np.concatenate([np.ones((count, 1)), points], axis=1)
        system = np.zeros((count + 3, count + 3))
        system[:count, :count] = self._kernel(points, points) + self._STIFFNESS * np.eye(count)
        system[:count, count:] = affine
        system[count:, :count] = affine.T
        self._points = points
        self._weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 2))]))

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        affine = np.concatenate([np.ones((len(positions), 1)), positions], axis=1)
        basis = np.concatenate([self._kernel(positions, self._points), affine], axis=1)
        return np.einsum("pn,nd->pd", basis, self._weights)

    @staticmethod
    def _kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        squared = ((left[:, None] - right[None]) ** 2).sum(axis=-1)
        return 0.5 * squared * np.log(np.maximum(squared, 1e-12))


def _face_mask(scene: Scene, flaws: Flaws) -> np.ndarray:
    """Soft mask of the hull of the face, without what hair covers; float32 (size, size)."""
    points = scene.landmarks.points
    eyes = scene.landmarks.eyes
    distance = float(np.linalg.norm(eyes[1] - eyes[0]))
    # Some forehead above the brows: a tenth of the way from the chin to the eyes.
    up = 0.1 * (eyes.mean(axis=0) - points[JAW][5])
    outline = np.concatenate([points[JAW], points[BROWS] + up, points[EYES]])
    middle = outline.mean(axis=0)
    outline = middle + (0.94 * flaws.grow) * (outline - middle)
    hull = cv2.convexHull(outline.astype(np.float32))
    inside = np.zeros(scene.cover.shape, np.float32)
    cv2.fillConvexPoly(inside, np.round(hull * 16).astype(np.int32), 1.0, shift=4)
    soft = max(flaws.feather * distance, 1.0)
    return cv2.GaussianBlur(inside, (0, 0), 0.5 * soft) * (1.0 - scene.cover)


def _match_colours(
    face: np.ndarray, picture: np.ndarray, mask: np.ndarray, flaws: Flaws
) -> np.ndarray:
    """Moves mean and spread of each channel under the mask towards the target's."""
    inside = (mask > 0.5).astype(np.uint8)
    mean, spread = (value.ravel() for value in cv2.meanStdDev(face, mask=inside))
    wanted_mean, wanted_spread = (value.ravel() for value in cv2.meanStdDev(picture, mask=inside))
    match = flaws.colour_match
    scale = 1.0 + match * (np.clip(wanted_spread / np.maximum(spread, 1e-3), 0.6, 1.5) - 1.0)
    offset = mean + match * (wanted_mean - mean) + flaws.cast - scale * mean
    return face * scale.astype(np.float32) + offset.astype(np.float32)
