"""Random degradations of training images, stateless: the same seed gives the same picture.

The strengths of all steps are drawn from one counter-based generator call keyed by the example's
seed; steps an example does not take cost nothing. Labels are not an argument: what happens to
real and fake images has the same distribution by construction.
"""

import math

import tensorflow as tf

from pipelines.augment_ops import (
    INTERPOLATIONS,
    add_noise,
    adjust_colour,
    cut_out,
    gaussian_blur,
    jpeg_round_trip,
    rescale,
    warp,
)
from pipelines.draws import Draws
from pipelines.settings import AugmentSettings

_NUM_DRAWS = 32
_NOISE_STREAM = 0x5DEECE66D5DEECE6  # keeps the noise apart from the draws of the same example


def augment(image: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Returns a degraded copy of one image.

    Order: rotation, crop and flip (one resampling), colour, blur, resizing, noise, JPEG, cut-out.

    Args:
        image: (size, size, 3), uint8 or float32 in [0, 1].
        seed: Int64 (2,), the example's own.
        settings: Probabilities and ranges.

    Returns:
        Float32 (size, size, 3) in [0, 1].
    """
    if image.dtype == tf.uint8:
        image = tf.cast(image, tf.float32) * (1.0 / 255.0)
    draws = Draws(seed, _NUM_DRAWS)
    image = _geometry(image, draws, settings)
    if settings.brightness or settings.contrast or settings.saturation or settings.hue:
        image = adjust_colour(
            image,
            brightness=draws.between(-settings.brightness, settings.brightness),
            contrast=1.0 + draws.between(-settings.contrast, settings.contrast),
            saturation=1.0 + draws.between(-settings.saturation, settings.saturation),
            hue=draws.between(-settings.hue, settings.hue),
        )
    if settings.blur:
        sigma = draws.between(*settings.blur_sigma)
        radius = max(1, math.ceil(3.0 * settings.blur_sigma[1]))
        image = draws.maybe(settings.blur, lambda x: gaussian_blur(x, sigma, radius), image)
    if settings.resize:
        factor = draws.between(*settings.resize_scale)
        down, up = (draws.integer(0, len(INTERPOLATIONS) - 1) for _ in range(2))
        image = draws.maybe(settings.resize, lambda x: rescale(x, factor, down, up), image)
    if settings.noise:
        stddev = draws.between(*settings.noise_stddev)
        noise_seed = tf.bitwise.bitwise_xor(seed, tf.constant([_NOISE_STREAM, 0], tf.int64))
        image = draws.maybe(settings.noise, lambda x: add_noise(x, stddev, noise_seed), image)
    image = tf.clip_by_value(image, 0.0, 1.0)
    if settings.jpeg:
        quality = draws.integer(*settings.jpeg_quality)
        image = draws.maybe(settings.jpeg, lambda x: jpeg_round_trip(x, quality), image)
    if settings.cutout:
        side = draws.between(*settings.cutout_size)
        left, top = draws.between(0.0, 1.0 - side), draws.between(0.0, 1.0 - side)
        image = draws.maybe(settings.cutout, lambda x: cut_out(x, left, top, side), image)
    return image


def augment_mask(mask: tf.Tensor, seed: tf.Tensor, settings: AugmentSettings) -> tf.Tensor:
    """Moves a mask as `augment` moves the image of the same seed; nothing else happens to it.

    Args:
        mask: Float32 (size, size, 1).
        seed: Int64 (2,), the example's own.
        settings: Those of the image.
    """
    return _geometry(mask, Draws(seed, _NUM_DRAWS), settings)


def _geometry(image: tf.Tensor, draws: Draws, settings: AugmentSettings) -> tf.Tensor:
    low, high = settings.crop_scale
    side = tf.sqrt(draws.between(low, high))
    left, top = draws.between(0.0, 1.0 - side), draws.between(0.0, 1.0 - side)
    flip = draws.chance(settings.flip)
    degrees = draws.between(-settings.rotation, settings.rotation)
    rotate = draws.chance(settings.rotation_probability if settings.rotation else 0.0)

    def resampled() -> tf.Tensor:
        angle = tf.where(rotate, degrees, 0.0)
        return warp(image, flip=flip, left=left, top=top, side=side, degrees=angle)

    if low < 1.0:
        return resampled()
    return tf.cond(
        rotate, resampled, lambda: tf.cond(flip, lambda: tf.reverse(image, [1]), lambda: image)
    )
