"""The camera every synthetic image is taken with, real or fake: optics, sensor, delivery, JPEG.

Its settings are drawn from a stream of their own that never sees the label, so nothing here can
tell the classes apart.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipelines.sources.synthetic_people import CAMERA_STREAM, stream
from pipelines.sources.synthetic_textures import cut, white_tile

_GAMMA_STEPS = 4096
_EXPOSURE_LIMIT = 1.6


def _gamma_table() -> np.ndarray:
    """sRGB-like tone curve with a soft shoulder, over linear light [0, 1.6]."""
    light = np.linspace(0.0, _EXPOSURE_LIMIT, _GAMMA_STEPS, dtype=np.float64)
    shoulder = np.where(light < 0.6, light, 0.6 + 0.4 * np.tanh((light - 0.6) / 0.4))
    return (shoulder ** (1 / 2.2)).astype(np.float32)


_TONE_CURVE = _gamma_table()


def develop(light: np.ndarray) -> np.ndarray:
    """Turns linear light into display values, float32 [0, 1] of the same shape."""
    index = np.clip(light * ((_GAMMA_STEPS - 1) / _EXPOSURE_LIMIT), 0, _GAMMA_STEPS - 1)
    return _TONE_CURVE[index.astype(np.int32)]


@dataclass(frozen=True, slots=True)
class Camera:
    """Settings of one exposure.

    Args:
        blur: Standard deviation of the optical blur, pixels.
        vignette: Darkening of the corners, fraction.
        noise: Standard deviation of the sensor noise at mid-grey, fraction of the full range.
        chroma_noise: Share of the noise that differs between the channels, [0, 1].
        resample: Factor the picture was scaled down by and back up again on delivery.
        sharpen: Strength of unsharp masking.
        jpeg_quality: Quality of the file.
        noise_seed: Seed of the noise.
    """

    blur: float
    vignette: float
    noise: float
    chroma_noise: float
    resample: float
    sharpen: float
    jpeg_quality: int
    noise_seed: int


def make_camera(seed: int, *picture: int) -> Camera:
    """Draws the camera of the picture with this key."""
    rng = stream(seed, CAMERA_STREAM, *picture)
    return Camera(
        blur=rng.uniform(0.3, 0.9),
        vignette=rng.uniform(0.0, 0.2),
        noise=float(np.exp(rng.uniform(np.log(0.004), np.log(0.02)))),
        chroma_noise=rng.uniform(0.1, 0.5),
        resample=rng.uniform(0.7, 1.0),
        sharpen=rng.uniform(0.0, 0.8),
        jpeg_quality=int(rng.integers(72, 97)),
        noise_seed=int(rng.integers(0, 2**31)),
    )


def expose(picture: np.ndarray, camera: Camera) -> np.ndarray:
    """Takes a photo of a display-referred scene.

    Args:
        picture: float32 (height, width, 3), [0, 1].
        camera: Settings of the exposure.

    Returns:
        uint8 (height, width, 3), RGB.
    """
    height, width = picture.shape[:2]
    picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), camera.blur))
    rows = np.linspace(-1, 1, height, dtype=np.float32)[:, None] ** 2
    columns = np.linspace(-1, 1, width, dtype=np.float32)[None, :] ** 2
    picture *= cv2.merge([1.0 - camera.vignette / 2 * (rows + columns)] * 3)
    picture += _sensor_noise(camera, height, width) * (0.4 + picture)
    small = round(width * camera.resample), round(height * camera.resample)
    picture = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC)
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.2)
    picture = picture + camera.sharpen * (picture - smooth)
    return np.clip(picture * 255.0 + 0.5, 0, 255).astype(np.uint8)


def _sensor_noise(camera: Camera, height: int, width: int) -> np.ndarray:
    grey = np.random.default_rng(camera.noise_seed).standard_normal((height, width), np.float32)
    planes = [
        (1.0 - camera.chroma_noise) * grey + camera.chroma_noise * colour
        for colour in (
            cut(white_tile(), camera.noise_seed // divisor, height, width) for divisor in (1, 3, 7)
        )
    ]
    return camera.noise * cv2.merge(planes)


def encode(pixels: np.ndarray, camera: Camera) -> bytes:
    """Compresses an RGB uint8 photo to the bytes of a JPEG file."""
    done, data = cv2.imencode(
        ".jpg",
        cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR),
        [cv2.IMWRITE_JPEG_QUALITY, camera.jpeg_quality],
    )
    if not done:
        raise ValueError(f"OpenCV cannot encode an image of shape {pixels.shape}")
    return data.tobytes()
