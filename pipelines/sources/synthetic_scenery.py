"""What is behind and below a synthetic head: out-of-focus background, neck and clothes."""

import math

import cv2
import numpy as np

from pipelines.sources.synthetic_geometry import Pose, smoothstep
from pipelines.sources.synthetic_people import Identity, Shot, stream
from pipelines.sources.synthetic_skin import blend_colour, linear
from pipelines.sources.synthetic_textures import cut, noise_tile


def paint_background(key: int, size: int) -> np.ndarray:
    """Paints an out-of-focus room or street, float32 (3, size, size), linear."""
    rng = stream(key)
    cells = (int(rng.integers(2, 6)), int(rng.integers(2, 6)))
    base = rng.uniform(0.05, 0.6) * rng.uniform(0.8, 1.2, 3)
    patches = base * np.exp(rng.normal(0, rng.uniform(0.1, 0.45), (*cells, 1)))
    patches = patches * np.exp(rng.normal(0, 0.07, (*cells, 3)))
    half = size // 2
    scene = cv2.resize(patches.astype(np.float32), (half, half), interpolation=cv2.INTER_CUBIC)
    for _ in range(rng.integers(2, 8)):
        # Upright and level edges: shelves, doors, windows.
        left, top = rng.uniform(-0.3, 0.9, 2) * half
        right, bottom = left + rng.uniform(0.08, 0.6) * half, top + rng.uniform(0.1, 0.9) * half
        tone = base * np.exp(rng.normal(0, 0.5)) * rng.uniform(0.85, 1.15, 3)
        corners = (int(left), int(top)), (int(right), int(bottom))
        cv2.rectangle(scene, *corners, tone.tolist(), thickness=-1)
    scene = cv2.GaussianBlur(scene, (0, 0), float(rng.uniform(0.01, 0.04)) * half)
    scene = cv2.resize(scene, (size, size), interpolation=cv2.INTER_LINEAR)
    grain = 1.0 + float(rng.uniform(0.0, 0.06)) * cut(noise_tile(2.0), key, size, size)
    return np.clip(np.stack(cv2.split(scene)) * grain, 0.005, 2.0)


def paint_body(canvas: np.ndarray, identity: Identity, shot: Shot, pose: Pose) -> None:
    """Paints neck and shoulders over a linear canvas (3, size, size) in place."""
    chin = identity.chin
    x, y = pose.upright(canvas.shape[1], roll=False)
    below = int(np.searchsorted(y[:, 0], 0.4))
    y, canvas = y[below:], canvas[:, below:]
    x = x + 0.25 * math.sin(shot.roll)
    key, fill = (np.array(light, np.float32)[:, None, None] for light in (shot.key, shot.fill))
    side = math.sin(shot.azimuth)
    soft = 1.2 / pose.scale

    neck_width = 0.62 * identity.jaw_width + 0.1
    outline = neck_width + 0.5 * smoothstep(chin + 0.1, chin + 0.75, y) ** 2
    neck = np.clip((outline - np.abs(x)) / soft + 0.5, 0.0, 1.0) * smoothstep(0.4, 0.6, y)
    round_off = np.clip(0.6 + 0.5 * side * x / neck_width, 0.1, 1.0)
    round_off = np.clip(round_off * (1.0 - 0.45 * (x / (1.3 * neck_width)) ** 2), 0.1, 1.0)
    under_chin = smoothstep(chin - 0.1, chin + 0.5, y)
    lit_neck = key * (round_off * (0.35 + 0.55 * under_chin)) + fill * (0.28 + 0.28 * under_chin)
    blend_colour(canvas, neck, lit_neck * linear(identity.skin))

    shoulders = chin + 0.21 + 0.42 * np.maximum(np.abs(x) - 0.55, 0.0) ** 1.5
    collar = chin + 0.42 - 0.35 * (x / (neck_width + 0.35)) ** 2
    shirt = np.clip((y - np.maximum(shoulders, collar)) / soft + 0.5, 0.0, 1.0)
    folds = 1.0 + 0.12 * cut(noise_tile(9.0), shot.background // 3, *shirt.shape)
    light = np.clip(0.55 + 0.3 * side * x, 0.1, 1.2) * folds
    blend_colour(canvas, shirt, (key * light + 0.6 * fill) * linear(shot.shirt))
