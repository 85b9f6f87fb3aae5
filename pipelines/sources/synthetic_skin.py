"""Skin, eyes, brows and mouth of a synthetic face, painted as linear RGB reflectance."""

import functools
import math

import numpy as np

from pipelines.sources.synthetic_geometry import (
    X,
    Y,
    brow_curve,
    bumps,
    edge,
    eye_curves,
    mouth_curves,
    pair,
    smoothstep,
)
from pipelines.sources.synthetic_people import Colour, Identity, Shot
from pipelines.sources.synthetic_textures import cut, noise_tile, strand_tile

Window = tuple[slice, slice]


def linear(colour: Colour) -> np.ndarray:
    """SRGB colour to linear reflectance, float32 (3, 1, 1)."""
    return _planes(*colour) ** np.float32(2.2)


def _planes(red: float, green: float, blue: float) -> np.ndarray:
    return np.array([red, green, blue], np.float32)[:, None, None]


def paint_face(identity: Identity, shot: Shot) -> np.ndarray:
    """Paints the reflectance of a whole face, float32 (3, 274, 230), linear, [0, 1]."""
    face = _bare_skin(identity).copy()
    _paint_mouth(face, identity, shot)
    for side in (-1, 1):
        _paint_brow(face, identity, shot, side)
        _paint_eye(face, identity, shot, side)
    return face


def window(left: float, right: float, top: float, bottom: float) -> Window:
    """The part of the grid between these head-unit bounds."""
    columns = np.searchsorted(X[0], (left, right))
    rows = np.searchsorted(Y[:, 0], (top, bottom))
    return slice(*rows), slice(*columns)


def blend_colour(target: np.ndarray, mask: np.ndarray, colour: np.ndarray) -> None:
    """Mixes a colour into `target` in place.

    Args:
        target: float32 (3, h, w).
        mask: How much of the colour there is, (h, w), [0, 1].
        colour: (3, h, w), or (3, 1, 1) for one colour.
    """
    target += mask * (colour - target)


@functools.lru_cache(maxsize=8)
def _bare_skin(identity: Identity) -> np.ndarray:
    shape = (Y.size, X.size)
    key = identity.texture
    eye, tip = identity.eye_spacing, identity.nose_length
    red = bumps(
        [
            *pair(0.16, 0.55, 0.42, 0.2, 0.17),
            (0.16, 0.0, tip, 0.14, 0.12),
            (0.08, 0.0, identity.chin - 0.1, 0.2, 0.12),
            *pair(0.12, identity.cheek_width, 0.15, 0.12, 0.25),
        ]
    )
    dark = bumps(
        [
            *pair(0.2, eye - 0.04, 0.14, 0.13, 0.05),
            *pair(0.28, eye, -0.08, 0.17, 0.06),
            *pair(0.14, eye - 0.19, 0.02, 0.05, 0.08),
            *pair(0.55, 0.48 * identity.nose_width, tip + 0.085, 0.036, 0.02),
            (0.16, 0.0, tip + 0.12, 0.12, 0.025),
            *pair(0.14, identity.nose_width + 0.05, tip + 0.03, 0.02, 0.06),
        ]
    )
    blotches = cut(noise_tile(9.0), key, *shape)
    pores = cut(noise_tile(0.7), key // 3, *shape)
    brightness = 1.0 - dark + 0.035 * blotches + 0.02 * identity.wrinkles * pores
    if identity.freckles:
        spots = smoothstep(1.3, 2.2, cut(noise_tile(1.3), key // 7, *shape))
        where = bumps([*pair(1.0, 0.4, 0.35, 0.3, 0.16), (0.7, 0.0, 0.3, 0.2, 0.15)])
        brightness -= 0.3 * identity.freckles * spots * where
    if identity.beard:
        brightness -= _beard(identity)
    warm = (red + 0.03 * cut(noise_tile(17.0), key // 5, *shape)) * (0.4 + 0.6 * identity.blush)
    tint = brightness * (1.0 + _planes(0.35, -0.75, -0.6) * warm)
    return np.clip(tint * linear(identity.skin), 0.003, 1.0)


def _beard(identity: Identity) -> np.ndarray:
    mouth = identity.mouth_height
    cheek_line = mouth - 0.2 - 0.75 * smoothstep(0.3, 0.95, np.abs(X))
    below = smoothstep(-0.06, 0.16, Y - cheek_line)
    around_lips = bumps([(1.0, 0.0, mouth + 0.01, 0.24, 0.075)])
    stubble = 0.8 + 0.14 * cut(noise_tile(0.6), identity.texture // 11, Y.size, X.size)
    return 0.7 * identity.beard * below * np.clip(1.1 - 1.2 * around_lips, 0.0, 1.0) * stubble


def _paint_mouth(face: np.ndarray, identity: Identity, shot: Shot) -> None:
    middle = identity.mouth_height
    area = window(-0.45, 0.45, middle - 0.25, middle + 0.35)
    x, y, patch = X[:, area[1]], Y[area[0]], face[:, *area]
    top, inner_top, inner_bottom, bottom = mouth_curves(identity, shot, x)
    half = identity.mouth_width * (1 + 0.16 * max(shot.smile, 0.0))
    inside = edge(half - np.abs(x), 2.0)
    lips = edge(y - top, 2.5) * edge(bottom - y, 2.5) * inside
    redness = 1.0 - (0.35 + 0.65 * identity.lip_tint) * _planes(0.2, 0.55, 0.45)
    blend_colour(patch, 0.9 * lips, linear(identity.skin) * redness)
    patch *= 1.0 - 0.25 * lips * edge(inner_top - y, 4.0)
    opening = edge(y - inner_top) * edge(inner_bottom - y) * inside * min(8 * shot.mouth_open, 1.0)
    blend_colour(patch, opening, _planes(0.045, 0.012, 0.012))
    teeth = edge(y - inner_top) * edge(inner_top + 0.09 - y, 2.0) * edge(inner_bottom - y)
    teeth = teeth * inside * min(8 * shot.mouth_open, 1.0) * (1 - (x / half) ** 2)
    blend_colour(patch, 0.85 * teeth, _planes(0.5, 0.45, 0.37))
    seam = np.exp(-(((y - inner_top) / 0.016) ** 2)) * edge(half + 0.02 - np.abs(x), 4.0)
    corners = np.exp(-(((np.abs(x) - half) / 0.035) ** 2) - ((y - inner_top) / 0.03) ** 2)
    patch *= 1.0 - np.clip(0.68 * seam + 0.3 * corners, 0.0, 0.85)


def _paint_brow(face: np.ndarray, identity: Identity, shot: Shot, side: int) -> None:
    middle = side * identity.eye_spacing
    area = window(middle - 0.36, middle + 0.36, -0.5, 0.0)
    x, y, patch = X[:, area[1]], Y[area[0]], face[:, *area]
    t = (side * x - identity.eye_spacing) / (1.35 * identity.eye_width)
    thickness = identity.brow_thickness * np.clip(1.15 - 0.5 * np.maximum(t, 0.0), 0.2, 1.0)
    distance = np.abs(y - brow_curve(identity, shot, side, x)) / thickness
    hairs = 0.85 + 0.2 * cut(strand_tile().T, identity.texture // 13 + side, *patch.shape[1:])
    mask = smoothstep(1.25, 0.45, distance) * smoothstep(1.12, 0.85, np.abs(t)) * hairs
    blend_colour(patch, np.clip(0.82 * mask, 0.0, 0.92), 0.6 * linear(identity.hair))


def _paint_eye(face: np.ndarray, identity: Identity, shot: Shot, side: int) -> None:
    middle = side * identity.eye_spacing
    area = window(middle - 0.3, middle + 0.3, -0.26, 0.24)
    x, y, patch = X[:, area[1]], Y[area[0]], face[:, *area]
    upper, lower = eye_curves(identity, shot, side, x)
    within = edge(identity.eye_width - np.abs(x - middle), 2.0)
    opening = edge(y - upper, 1.2) * edge(lower - y, 1.2) * within
    crease = np.exp(-(((y - upper + 0.05) / 0.018) ** 2)) * within
    patch *= 1.0 - 0.35 * crease

    iris_x = middle + shot.gaze[0] * identity.eye_width
    iris_y = -0.015 + shot.gaze[1] * identity.eye_width
    radius = np.sqrt((x - iris_x) ** 2 + (y - iris_y) ** 2)
    corners = smoothstep(0.5, 1.05, np.abs(x - middle) / identity.eye_width)
    eyeball = _planes(0.5, 0.44, 0.4) * (1.0 - 0.5 * corners) * np.ones_like(radius)
    fibres = 1.0 + 0.3 * np.sin(17 * np.arctan2(y - iris_y, x - iris_x))
    iris = linear(identity.iris) * (0.7 * fibres * (0.5 + radius / 0.08))
    blend_colour(eyeball, edge(0.083 - radius, 1.5), iris)
    blend_colour(
        eyeball, 0.8 * np.exp(-(((radius - 0.083) / 0.012) ** 2)), _planes(0.01, 0.01, 0.01)
    )
    blend_colour(eyeball, edge(0.034 - radius, 1.5), _planes(0.006, 0.006, 0.006))
    eyeball *= 0.35 + 0.65 * smoothstep(0.0, 0.1, y - upper)
    blend_colour(patch, opening, eyeball)

    lash = np.exp(-(((y - upper + 0.004) / 0.017) ** 2)) + 0.35 * np.exp(
        -(((y - lower) / 0.013) ** 2)
    )
    blend_colour(patch, np.clip(0.85 * lash, 0.0, 1.0) * within, _planes(0.012, 0.012, 0.012))
    highlight = (x - iris_x - 0.03 * math.sin(shot.azimuth)) ** 2 + (y - iris_y + 0.03) ** 2
    blend_colour(patch, edge(0.017 - np.sqrt(highlight), 1.5) * opening, _planes(1.3, 1.3, 1.3))
