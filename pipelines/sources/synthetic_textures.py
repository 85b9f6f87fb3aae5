"""Fixed noise tiles, from which skin, hair and backgrounds cut their fine texture.

The tiles are the same in every process; who needs variety cuts them at an offset of its own.
"""

import functools

import cv2
import numpy as np

TILE = 512  # period of every tile, and the largest window cut from one, pixels


@functools.cache
def noise_tile(sigma: float) -> np.ndarray:
    """Seamless noise of unit variance, smoothed with `sigma` pixels; float32 (1024, 1024)."""
    return _smooth(white_tile(), sigma, sigma)


@functools.cache
def strand_tile() -> np.ndarray:
    """Hair strands running down, unit variance; float32 (1024, 1024), seamless."""
    fine = _smooth(white_tile(), 0.8, 24.0)
    locks = _smooth(white_tile().T, 5.0, 60.0)
    return 0.8 * fine + 0.6 * locks


@functools.cache
def white_tile() -> np.ndarray:
    """White noise of unit variance; float32 (1024, 1024), two periods each way."""
    noise = np.random.default_rng(20240101).standard_normal((TILE, TILE), dtype=np.float32)
    return np.tile(noise, (2, 2))


def cut(tile: np.ndarray, key: int, height: int, width: int) -> np.ndarray:
    """A read-only window of at most 512 x 512 pixels of a tile, where `key` decides."""
    top, left = key % TILE, (key // TILE) % TILE
    return tile[top : top + height, left : left + width]


def _smooth(tile: np.ndarray, sigma_x: float, sigma_y: float) -> np.ndarray:
    wrapped = np.tile(tile[:TILE, :TILE], (2, 2))
    middle = slice(TILE // 2, TILE // 2 + TILE)
    smooth = cv2.GaussianBlur(wrapped, (0, 0), sigma_x, sigmaY=sigma_y)[middle, middle]
    return np.tile((smooth - smooth.mean()) / smooth.std(), (2, 2))
