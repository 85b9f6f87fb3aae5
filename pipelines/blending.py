"""Pseudo-fakes: fakes made of real faces, so that a detector can be trained on real faces alone.

- `self_blend` (Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022): a
  face is put over itself, slightly moved and warped, after either copy's statistics were changed.
- `splice` (after Li et al., "Face X-ray for More General Face Forgery Detection", CVPR 2020): a
  part of another face is put in its place, with that place's colours and a soft border.
- `resample`: the traces of resampling or of a generator's upsampling, in a part or everywhere.

Each turns one image into a pair, the real one and its fake. As in the first paper's code, a coin
decides whether the change of statistics goes to what is pasted or to the image it is pasted into,
and in the second case the pair's real image is the changed one: so nothing but what is inside the
mask tells the two apart, and no trace of the whole image gives the fakes away. Images are float32
RGB (size, size, 3) in [0, 1]; everything is a pure function of its arguments.
"""

import math
from collections.abc import Callable

import tensorflow as tf

from pipelines.augment_ops import (
    INTERPOLATIONS,
    add_noise,
    adjust_colour,
    gaussian_blur,
    jpeg_round_trip,
    rescale,
)
from pipelines.draws import Draws
from pipelines.face_layout import to_crop_coordinates, to_face_coordinates
from pipelines.face_masks import face_mask
from pipelines.settings import PseudoFakeSettings
from pipelines.smooth_warp import pixel_centres, sample, smooth_field

_NUM_DRAWS = 48
_MASK_STREAM, _WARP_STREAM = 0x510E527FADE682D1, 0x1F83D9ABFB41BD6B
_NOISE_STREAM = 0x5BE0CD19137E2179
_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
_BLUR_RADIUS = 4


def self_blend(
    image: tf.Tensor, layout: tf.Tensor, seed: tf.Tensor, settings: PseudoFakeSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a real image and the fake made of it alone.

    Args:
        image: Float32 (size, size, 3) in [0, 1].
        layout: Float32 (4,), where its face is (`face_layout`).
        seed: Int64 (2,), the example's own.
        settings: Strength and masks.
    """
    draws = Draws(seed, _NUM_DRAWS)
    changed = _other_colours(image, draws, settings.strength)
    changed = _detail_change(draws, seed, settings.strength)(changed)
    change_real = draws.chance(settings.change_real)
    source, target = tf.where(change_real, image, changed), tf.where(change_real, changed, image)
    pasted = _moved(source, layout, layout, draws, seed)
    return target, _blend(target, pasted, layout, draws, seed, settings)


def splice(
    image: tf.Tensor,
    layout: tf.Tensor,
    donor: tf.Tensor,
    donor_layout: tf.Tensor,
    seed: tf.Tensor,
    settings: PseudoFakeSettings,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a real image and the fake that has a part of another face.

    Args:
        image: Float32 (size, size, 3) in [0, 1].
        layout: Float32 (4,), where its face is.
        donor: Like `image`.
        donor_layout: Float32 (4,), where the donor's face is.
        seed: Int64 (2,), the example's own.
        settings: Strength and masks.
    """
    draws = Draws(seed, _NUM_DRAWS)
    change = _detail_change(draws, seed, settings.strength)
    source = draws.maybe(0.5, change, donor)
    pasted = _moved(source, donor_layout, layout, draws, seed)
    mask = _mask(image, layout, seed, settings)[..., tf.newaxis]
    pasted = _with_colours_of(pasted, image, mask, draws.between(0.7, 1.0))
    # What Poisson blending comes to: the detail of the one on the shades of the other.
    pasted = draws.maybe(0.3, lambda x: x + _shades(image - x), pasted)
    pasted = tf.clip_by_value(pasted, 0.0, 1.0)
    ratio = tf.maximum(_ratio(draws), 0.75)
    return image, image + ratio * mask * (pasted - image)


def resample(
    image: tf.Tensor, layout: tf.Tensor, seed: tf.Tensor, settings: PseudoFakeSettings
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a real image and the fake that was resampled, in a part or everywhere.

    A generator's upsampling may be anywhere; plain scaling down and up only in a part, since
    honest images were scaled as a whole too.

    Args:
        image: Float32 (size, size, 3) in [0, 1].
        layout: Float32 (4,), where its face is.
        seed: Int64 (2,), the example's own.
        settings: Strength and masks.
    """
    draws = Draws(seed, _NUM_DRAWS)
    generated, everywhere = draws.chance(0.6), draws.chance(0.5)
    factor = 1.0 - settings.strength * draws.between(0.2, 0.7)
    down, up = (draws.integer(0, len(INTERPOLATIONS) - 1) for _ in range(2))
    pasted = tf.cond(
        generated,
        lambda: _generator_upsampled(image, up, seed, settings.strength),
        lambda: rescale(image, tf.maximum(factor, 0.2), down, up),
    )
    pasted = tf.clip_by_value(pasted, 0.0, 1.0)
    return image, tf.cond(
        generated & everywhere,
        lambda: pasted,
        lambda: _blend(image, pasted, layout, draws, seed, settings),
    )


def _other_colours(image: tf.Tensor, draws: Draws, strength: float) -> tf.Tensor:
    shifts = tf.stack([draws.between(-0.08, 0.08) for _ in range(3)]) * strength
    image = draws.maybe(0.4, lambda x: x + shifts, image)
    adjusted = adjust_colour(
        image,
        brightness=strength * draws.between(-0.08, 0.08),
        contrast=1.0 + strength * draws.between(-0.12, 0.12),
        saturation=1.0 + strength * draws.between(-0.2, 0.2),
        hue=strength * draws.between(-0.02, 0.02),
    )
    return tf.clip_by_value(adjusted, 0.0, 1.0)


def _detail_change(
    draws: Draws, seed: tf.Tensor, strength: float
) -> Callable[[tf.Tensor], tf.Tensor]:
    """One of: scaled down and up, blurred, sharpened, noise; then JPEG now and then."""
    factor = tf.maximum(1.0 - strength * draws.between(0.15, 0.7), 0.2)
    down, up = (draws.integer(0, len(INTERPOLATIONS) - 1) for _ in range(2))
    sigma = strength * draws.between(0.4, 1.2)
    sharpness = strength * draws.between(0.3, 1.0)
    stddev = strength * draws.between(0.005, 0.03)
    quality = draws.integer(30, 95)
    kind, is_jpeg = draws.weighted((0.4, 0.2, 0.25, 0.15)), draws.chance(0.3)

    def change(image: tf.Tensor) -> tf.Tensor:
        changes = [
            lambda: rescale(image, factor, down, up),
            lambda: gaussian_blur(image, sigma, _BLUR_RADIUS),
            lambda: image + sharpness * (image - gaussian_blur(image, 1.0, _BLUR_RADIUS)),
            lambda: add_noise(image, stddev, _stream(seed, _NOISE_STREAM)),
        ]
        changed = tf.clip_by_value(tf.switch_case(kind, changes), 0.0, 1.0)
        return tf.cond(is_jpeg, lambda: jpeg_round_trip(changed, quality), lambda: changed)

    return change


def _moved(
    source: tf.Tensor, source_layout: tf.Tensor, layout: tf.Tensor, draws: Draws, seed: tf.Tensor
) -> tf.Tensor:
    """Puts one face where another is, a little off and warped, in one resampling."""
    size = source.shape[0]
    x, y = pixel_centres(size)
    u, v = to_face_coordinates(x, y, tf.unstack(layout))
    scale_u, scale_v = (tf.exp(draws.between(-0.06, 0.06)) for _ in range(2))
    field = smooth_field(size, _stream(seed, _WARP_STREAM)) * draws.between(0.0, 0.03)
    u = u * scale_u + draws.between(-0.08, 0.08) + field[0]
    v = v * scale_v + draws.between(-0.06, 0.06) + field[1]
    moved = sample(source, *to_crop_coordinates(u, v, tf.unstack(source_layout)))
    # Interpolation blurs like a Gaussian of a sixth of a square pixel. Left like that, nearly every
    # fake would be softer than its real image, and that is all a detector would learn.
    sharpness = draws.between(0.2, 1.2)
    moved += sharpness * (moved - gaussian_blur(moved, 0.6, 1))
    return tf.clip_by_value(moved, 0.0, 1.0)


def _blend(
    target: tf.Tensor,
    pasted: tf.Tensor,
    layout: tf.Tensor,
    draws: Draws,
    seed: tf.Tensor,
    settings: PseudoFakeSettings,
) -> tf.Tensor:
    mask = _ratio(draws) * _mask(target, layout, seed, settings)[..., tf.newaxis]
    return target + mask * (pasted - target)


def _mask(
    image: tf.Tensor, layout: tf.Tensor, seed: tf.Tensor, settings: PseudoFakeSettings
) -> tf.Tensor:
    return face_mask(
        image.shape[0],
        layout,
        _stream(seed, _MASK_STREAM),
        parts=settings.parts,
        border=settings.border,
    )


def _ratio(draws: Draws) -> tf.Tensor:
    return tf.gather(tf.constant(_RATIOS), draws.integer(0, len(_RATIOS) - 1))


def _with_colours_of(
    pasted: tf.Tensor, target: tf.Tensor, mask: tf.Tensor, share: tf.Tensor
) -> tf.Tensor:
    """Gives `pasted` the mean and deviation of `target` under the mask, or a share of the way."""
    weights = mask / (tf.reduce_sum(mask) + 1e-6)

    def moments(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean = tf.reduce_sum(weights * image, axis=(0, 1))
        variance = tf.reduce_sum(weights * tf.square(image - mean), axis=(0, 1))
        return mean, tf.sqrt(variance + 1e-5)

    (mean, deviation), (new_mean, new_deviation) = moments(pasted), moments(target)
    gain = tf.clip_by_value(new_deviation / deviation, 0.5, 2.0)
    return pasted + share * ((pasted - mean) * gain + new_mean - pasted)


def _shades(image: tf.Tensor) -> tf.Tensor:
    size = image.shape[0]
    small = tf.image.resize(image, (12, 12), "bilinear", antialias=True)
    return tf.image.resize(small, (size, size), "bicubic")


def _generator_upsampled(
    image: tf.Tensor, interpolation: tf.Tensor, seed: tf.Tensor, strength: float
) -> tf.Tensor:
    """Half the size and back as a transposed convolution does it.

    Its kernel overlaps unevenly, so each of the four phases of the doubled grid has a gain of its
    own: the checkerboard.
    """
    size = image.shape[0]
    doubled = rescale(image, tf.constant(0.5), tf.constant(1), interpolation)
    noise_seed = _stream(seed, _NOISE_STREAM)
    gains = 1.0 + 0.03 * strength * tf.random.stateless_normal((2, 2, 3), noise_seed, alg="philox")
    half = math.ceil(size / 2)
    return doubled * tf.tile(gains, (half, half, 1))[:size, :size]


def _stream(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(seed, tf.constant([stream, 0], tf.int64))
