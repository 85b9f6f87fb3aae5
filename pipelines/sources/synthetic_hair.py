"""Hair, ears and glasses of a synthetic head: layers over and under its skin."""

import functools
import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_geometry import (
    PIXELS_PER_UNIT,
    X,
    Y,
    bumps,
    edge,
    outline_radius2,
    pair,
    smoothstep,
)
from pipelines.sources.synthetic_people import Identity, Shot
from pipelines.sources.synthetic_shading import light_direction
from pipelines.sources.synthetic_skin import linear, window
from pipelines.sources.synthetic_textures import TILE, cut, noise_tile, strand_tile

# A dome over the head: the normals of the hair's surface.
_DOME_X, _DOME_Y = 0.75 * X, 0.6 * np.minimum(Y, 0.6) - 0.05
_DOME_Z = np.sqrt(np.clip(1.0 - _DOME_X**2 - _DOME_Y**2, 0.04, 1.0))
_LENGTHS = {"short": 0.05, "crop": -0.1, "fringe": 0.35, "bob": 1.05, "long": 1.7, "bald": -0.25}


@dataclass(frozen=True)
class Hair:
    """Hair on the head's grid, unlit; all maps float32 (h, w).

    Args:
        front: How much it covers skin, [0, 1].
        back: How much of what is behind the head it covers, [0, 1].
        strands: Its texture, unit variance.
        radius2: Squared distance from the hair's axis, 1 on its silhouette.
    """

    front: np.ndarray
    back: np.ndarray
    strands: np.ndarray
    radius2: np.ndarray


@functools.lru_cache(maxsize=8)
def grow_hair(identity: Identity) -> Hair:
    """Covers a head with the hair of its owner."""
    style = identity.hair_style
    thin = style in ("crop", "bald")
    volume = identity.hair_volume * (0.25 if thin else 1.0)
    ragged = cut(noise_tile(4.0), identity.texture // 17, Y.size, X.size)
    strands = _strands(identity)

    # The silhouette: the skull made thicker on top, and below the ears straight down.
    radius2 = outline_radius2(identity, widen=0.75 * volume, raise_crown=volume)
    sides = identity.cheek_width + 0.75 * volume + 0.1 * smoothstep(0.2, 1.6, Y)
    reach = np.where(Y < 0, 0.6 * (1.0 - radius2), sides - np.abs(X))
    silhouette = edge(reach + 0.02 * ragged + 0.012 * strands, 3.0)
    hanging = smoothstep(0.09, -0.09, Y - _LENGTHS[style] + 0.04 * ragged + 0.03 * strands)
    back = silhouette * hanging
    neck = edge(0.66 - np.abs(X), 6.0) * smoothstep(0.6, 0.8, Y)

    fade = 0.06 if thin else 0.045
    line = _hairline(identity)
    front = back * smoothstep(fade, -fade, Y - line + 0.02 * ragged + 0.022 * strands)
    if thin:
        front = front * (0.72 + 0.12 * strands)
    return Hair(np.clip(front, 0.0, 1.0), back * (1.0 - neck), strands, radius2)


def _hairline(identity: Identity) -> np.ndarray:
    """Y above which the head is covered, at each x; float32 (1, w)."""
    swept = np.abs(X - 0.35 * identity.parting) / (0.98 * identity.cheek_width)
    temples = np.abs(X) / (0.98 * identity.cheek_width)
    match identity.hair_style:
        case "fringe":
            return identity.hairline + 0.34 + 0.1 * swept**2 + 1.2 * smoothstep(0.78, 1.0, temples)
        case "bob" | "long":
            sides = 3.0 * smoothstep(0.82, 0.98, temples)
            return identity.hairline - 0.12 + 0.75 * swept**2.2 + sides
        case "bald":
            return identity.hairline - 0.75 + 0.9 * swept**2.5
        case _:
            return identity.hairline + 0.28 * swept**3 + 1.3 * smoothstep(0.84, 1.0, temples)


def _strands(identity: Identity) -> np.ndarray:
    """Hair texture that runs away from the parting, unit variance."""
    dx = np.broadcast_to(X - 0.4 * identity.parting, (Y.size, X.size))
    dy = np.broadcast_to(Y + identity.crown - 0.05, (Y.size, X.size))
    radius, angle = cv2.cartToPolar(np.ascontiguousarray(dy), np.ascontiguousarray(dx))
    across = angle * (TILE / (2 * np.pi))
    offset = identity.texture % TILE
    return cv2.remap(
        strand_tile(),
        np.mod(across + offset, TILE),
        np.mod(radius * (0.55 * PIXELS_PER_UNIT) + offset // 2, TILE),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_WRAP,
    )


def light_hair(hair: Hair, identity: Identity, shot: Shot) -> np.ndarray:
    """Colour of the hair under the shot's light, float32 (3, h, w), linear."""
    light = light_direction(shot)
    facing = _DOME_X * light[0] + _DOME_Y * light[1] + _DOME_Z * light[2]
    depth = 1.1 - 0.35 * np.clip(hair.radius2, 0.0, 1.2)
    diffuse = np.clip(0.25 + 0.75 * facing, 0.05, 1.0) * depth
    base = linear(identity.hair) * np.float32(0.9)
    # A band of gloss where the strands bend towards the light.
    band = np.exp(-(((Y + 0.95 * identity.crown - 0.25 + 0.1 * light[1]) / 0.16) ** 2))
    strength = (0.02 + 0.12 * float(base.mean())) * band
    gloss = strength * np.clip(facing, 0.0, 1.0) * (1.0 + 0.6 * hair.strands)
    texture = np.clip(1.0 + 0.32 * hair.strands, 0.25, 2.0)
    diffuse *= texture
    colour = np.empty((3, *diffuse.shape), np.float32)
    for channel, plane in enumerate(colour):
        key, fill = shot.key[channel], 0.6 * shot.fill[channel]
        share = float(base[channel, 0, 0])
        np.multiply(diffuse, key * share, out=plane)
        plane += texture * (fill * share)
        plane += gloss * key
    return np.maximum(colour, 0.001, out=colour)


@functools.lru_cache(maxsize=8)
def ear_mask(identity: Identity) -> tuple[np.ndarray, np.ndarray]:
    """Coverage of the two ears and a factor that darkens their folds; float32 (h, w) each."""
    x = (np.abs(X) - identity.cheek_width - 0.02) / 0.13
    y = (Y - 0.16) / (0.27 - 0.04 * x)
    inside = 1.0 - np.sqrt(x * x + y * y)
    folds = bumps([*pair(0.55, identity.cheek_width + 0.05, 0.17, 0.035, 0.11)])
    rim = 1.0 - 0.25 * smoothstep(0.3, 0.05, inside)
    return edge(0.13 * inside, 1.5), rim * (1.0 - folds)


def draw_glasses(identity: Identity, shot: Shot) -> np.ndarray:
    """Draws frame and lenses, float32 (4, h, w): linear premultiplied RGB and coverage."""
    layer = np.zeros((4, Y.size, X.size), np.float32)
    area = window(-1.2, 1.2, -0.45, 0.5)
    x, y = X[:, area[1]], Y[area[0]]
    size, power = identity.glasses_size, identity.glasses
    half_width, half_height = 0.33 * size, (0.29 - 0.012 * power) * size
    dx = np.abs(np.abs(x) - identity.eye_spacing - 0.03) / half_width
    dy = np.abs(y - 0.03) / half_height
    distance = ((dx**power + dy**power) ** (1.0 / power) - 1.0) * half_height
    frame = edge(identity.glasses_thickness - np.abs(distance), 1.5)
    bridge = edge(0.015 - np.abs(y + 0.05 - 0.25 * x * x), 1.5) * (np.abs(x) < identity.eye_spacing)
    arms = edge(0.015 - np.abs(y + 0.06), 1.5) * (np.abs(x) > identity.eye_spacing)
    arms = arms * edge(identity.cheek_width + 0.05 - np.abs(x), 2.0)
    frame = np.maximum(frame, np.maximum(bridge, arms) * edge(distance))
    glare = np.exp(-(((x - y - 0.9 * math.sin(shot.azimuth)) / 0.12) ** 2)) * edge(-distance, 4.0)
    frame_light = 0.7 + 0.5 * np.clip(-y / half_height, -1.0, 1.0)
    patch = layer[:, *area]
    for channel in range(3):
        lit = linear(identity.glasses_colour)[channel, 0, 0] * shot.key[channel] * frame_light
        patch[channel] = lit * frame + 0.07 * glare * shot.key[channel] * (1.0 - frame)
    patch[3] = frame + 0.1 * edge(-distance, 4.0) * (1.0 - frame)
    return layer
