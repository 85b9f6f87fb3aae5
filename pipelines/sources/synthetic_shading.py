"""Light on a head: wrapped diffuse, sky light with occlusion, cast shadows and skin gloss."""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_geometry import PIXELS_PER_UNIT
from pipelines.sources.synthetic_people import Shot

# Light seeps through skin: red furthest, which softens and reddens the edge of the shadow.
_SKIN_WRAP = (0.38, 0.24, 0.18)
_SHADOW_STEPS = 6


@dataclass(frozen=True)
class Illumination:
    """Light that reaches each point of a height field.

    Args:
        diffuse: float32 (3, h, w), to be multiplied by the reflectance; linear.
        gloss: float32 (h, w), mirror-like reflection of the key light, [0, 1].
    """

    diffuse: np.ndarray
    gloss: np.ndarray


def light_direction(shot: Shot) -> np.ndarray:
    """Unit vector to the key light in the turned head's own frame; x right, y down, z out."""
    azimuth, elevation = shot.azimuth - shot.yaw, shot.elevation + shot.pitch
    return np.array(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.sin(elevation),
            np.cos(azimuth) * np.cos(elevation),
        ],
        np.float32,
    )


def illuminate(relief: np.ndarray, shot: Shot) -> Illumination:
    """Lights a relief (head units, on the head's grid) with the shot's key and fill light."""
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, ksize=3, scale=PIXELS_PER_UNIT / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, ksize=3, scale=PIXELS_PER_UNIT / 8)
    inverse_length = 1.0 / np.sqrt(slope_x * slope_x + slope_y * slope_y + 1.0)
    light = light_direction(shot)
    facing = (light[2] - light[0] * slope_x - light[1] * slope_y) * inverse_length
    up = slope_y * inverse_length
    open_sky = np.clip(1.0 + 2.2 * (relief - _wide_blur(relief, 0.13)), 0.35, 1.15)
    sky = (0.78 + 0.22 * up) * open_sky
    shadow = 1.0 - 0.75 * _cast_shadow(relief, light)
    diffuse = np.empty((3, *relief.shape), np.float32)
    for channel, wrap in enumerate(_SKIN_WRAP):
        key = np.clip((facing + wrap) / (1.0 + wrap), 0.0, 1.0) * shadow
        diffuse[channel] = shot.key[channel] * key + shot.fill[channel] * sky
    half = light + np.array([0.0, 0.0, 1.0], np.float32)
    half /= np.linalg.norm(half)
    mirror = np.clip((half[2] - half[0] * slope_x - half[1] * slope_y) * inverse_length, 0.0, 1.0)
    mirror *= mirror
    mirror *= mirror
    mirror *= mirror
    return Illumination(diffuse, mirror * mirror * shadow)


def _wide_blur(relief: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur by `sigma` head units, at half resolution, where it costs an eighth."""
    height, width = relief.shape
    small = cv2.resize(relief, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma * PIXELS_PER_UNIT / 2)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _cast_shadow(relief: np.ndarray, light: np.ndarray) -> np.ndarray:
    """How much the relief itself hides the light, [0, 1], soft; marched at half resolution."""
    height, width = relief.shape
    small = cv2.resize(relief, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    blocked = np.zeros_like(small)
    unit = PIXELS_PER_UNIT / 2
    for step in range(1, _SHADOW_STEPS + 1):
        reach = 0.07 * step
        shift = np.array(
            [[1, 0, light[0] * reach * unit], [0, 1, light[1] * reach * unit]], np.float32
        )
        towards_light = cv2.warpAffine(
            small,
            shift,
            small.shape[::-1],
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        above_ray = towards_light - small - max(float(light[2]), 0.05) * reach
        np.maximum(blocked, above_ray, out=blocked)
    soft = cv2.GaussianBlur(np.clip(blocked / 0.05, 0.0, 1.0), (0, 0), 1.4)
    return cv2.resize(soft, (width, height), interpolation=cv2.INTER_LINEAR)
