"""Image degradations as pure functions of one image, float32 RGB (height, width, 3) in [0, 1].

Every strength is an argument, nothing here draws a random number except `add_noise`, whose seed is
an argument too. Each function is the identity at zero strength, works eagerly and inside
`tf.data`, and never sees a label. `pipelines.augment` draws the strengths and composes them.
"""

import math

import tensorflow as tf

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, what Pillow's "L" uses
_RGB_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos3")
CUTOUT_GREY = 0.5


def warp(
    image: tf.Tensor,
    *,
    flip: tf.Tensor,
    left: tf.Tensor,
    top: tf.Tensor,
    side: tf.Tensor,
    degrees: tf.Tensor,
) -> tf.Tensor:
    """Rotates a square image, crops a square of it, scales it back and flips it: one resampling.

    Bilinear; what lies outside the image is its mirror image.

    Args:
        image: Float32 (size, size, 3).
        flip: Bool, mirror left and right.
        left: Left edge of the crop, fraction of the size.
        top: Top edge of the crop, fraction of the size.
        side: Side of the crop, fraction of the size in (0, 1].
        degrees: Counter-clockwise rotation about the centre.
    """
    size = tf.cast(tf.shape(image)[1], tf.float32)
    # Input position of an output pixel (x, y): u = a x + b into the crop, likewise v, then the
    # rotation about the centre c. Pixel i has its centre at i; edges lie at -0.5 and size - 0.5.
    x_scale = tf.where(flip, -side, side)
    x_shift = tf.where(
        flip,
        left * size + side * (size - 0.5) - 0.5,
        left * size + side * 0.5 - 0.5,
    )
    y_shift = top * size + side * 0.5 - 0.5
    centre = (size - 1.0) / 2.0
    angle = degrees * (math.pi / 180.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    x_offset, y_offset = x_shift - centre, y_shift - centre
    transform = tf.stack(
        [
            cos * x_scale,
            -sin * side,
            cos * x_offset - sin * y_offset + centre,
            sin * x_scale,
            cos * side,
            sin * x_offset + cos * y_offset + centre,
            0.0,
            0.0,
        ]
    )
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=image[tf.newaxis],
        transforms=transform[tf.newaxis],
        output_shape=tf.shape(image)[:2],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="REFLECT",
    )[0]


def adjust_colour(
    image: tf.Tensor,
    *,
    brightness: tf.Tensor,
    contrast: tf.Tensor,
    saturation: tf.Tensor,
    hue: tf.Tensor,
) -> tf.Tensor:
    """Brightness, then contrast, saturation and hue, as the one affine map they amount to.

    Not clipped.

    Args:
        image: Float32 (height, width, 3).
        brightness: Added to every value.
        contrast: Factor on the distance from the image's mean luma; 1 changes nothing.
        saturation: Factor on the distance from the pixel's own luma; 1 changes nothing.
        hue: Rotation in the IQ plane of YIQ, turns; luma stays.
    """
    luma = tf.constant(LUMA)
    rgb_to_yiq = tf.constant(_RGB_TO_YIQ)
    cos, sin = tf.cos(hue * 2.0 * math.pi), tf.sin(hue * 2.0 * math.pi)
    rotation = tf.reshape(tf.stack([1.0, 0.0, 0.0, 0.0, cos, -sin, 0.0, sin, cos]), (3, 3))
    turn = tf.linalg.inv(rgb_to_yiq) @ rotation @ rgb_to_yiq
    saturate = saturation * tf.eye(3) + (1.0 - saturation) * tf.tile(luma[tf.newaxis], (3, 1))
    # Both matrices leave greys alone, so the constant part of the first two steps passes through.
    matrix = contrast * (turn @ saturate)
    mean_luma = tf.reduce_sum(tf.reduce_mean(image, axis=(0, 1)) * luma)
    shift = brightness + (1.0 - contrast) * mean_luma
    pixels = tf.reshape(image, (-1, 3))
    return tf.reshape(tf.matmul(pixels, matrix, transpose_b=True) + shift, tf.shape(image))


def to_pixels(image: tf.Tensor) -> tf.Tensor:
    """Rounds float32 in [0, 1] of any shape to uint8."""
    return tf.saturate_cast(tf.round(image * 255.0), tf.uint8)


def jpeg_round_trip(image: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """Encodes as JPEG (4:2:0, as most software does) and decodes; values land on 1/255 steps.

    Args:
        image: Float32 (height, width, 3) in [0, 1].
        quality: Int32 in [1, 100].
    """
    pixels = to_pixels(image)
    encoded = tf.raw_ops.EncodeJpegVariableQuality(images=pixels, quality=quality)
    decoded = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(tf.cast(decoded, tf.float32) * (1.0 / 255.0), image.shape)


def gaussian_blur(image: tf.Tensor, sigma: tf.Tensor, radius: int) -> tf.Tensor:
    """Separable Gaussian blur; borders are mirrored without repeating the edge.

    Args:
        image: Float32 (height, width, 3).
        sigma: Standard deviation, pixels; 0 changes nothing.
        radius: Taps on either side of the centre.
    """
    offsets = tf.range(-radius, radius + 1, dtype=tf.float32)
    weights = tf.exp(-0.5 * tf.square(offsets / tf.maximum(sigma, 1e-3)))
    weights /= tf.reduce_sum(weights)
    padded = tf.pad(image, ((radius, radius), (radius, radius), (0, 0)), mode="REFLECT")
    taps = tf.tile(weights[:, tf.newaxis, tf.newaxis, tf.newaxis], (1, 1, 3, 1))
    down = tf.nn.depthwise_conv2d(padded[tf.newaxis], taps, (1, 1, 1, 1), "VALID")
    across = tf.transpose(taps, (1, 0, 2, 3))
    return tf.nn.depthwise_conv2d(down, across, (1, 1, 1, 1), "VALID")[0]


def rescale(image: tf.Tensor, factor: tf.Tensor, down: tf.Tensor, up: tf.Tensor) -> tf.Tensor:
    """Scales a square image down and back up to its size, losing detail as a re-upload does.

    Bicubic and Lanczos overshoot at edges: not clipped.

    Args:
        image: Float32 (size, size, 3).
        factor: Size of the smaller image over that of the image, in (0, 1].
        down: Int32 index into `INTERPOLATIONS`, with antialiasing.
        up: Likewise, for the way back.
    """
    size = tf.shape(image)[0]
    small = tf.maximum(tf.cast(tf.round(factor * tf.cast(size, tf.float32)), tf.int32), 1)
    smaller = _resized(image, small, down)
    return tf.ensure_shape(_resized(smaller, size, up), image.shape)


def _resized(image: tf.Tensor, size: tf.Tensor, interpolation: tf.Tensor) -> tf.Tensor:
    def branch(method: str) -> tf.Tensor:
        return tf.image.resize(image, tf.stack([size, size]), method, antialias=True)

    branches = [lambda method=method: branch(method) for method in INTERPOLATIONS]
    return tf.switch_case(interpolation, branches)


def add_noise(image: tf.Tensor, stddev: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Adds independent Gaussian noise to every value; not clipped.

    Args:
        image: Float32 (height, width, 3).
        stddev: Standard deviation, fraction of the full range.
        seed: Int64 (2,).
    """
    noise = tf.random.stateless_normal(tf.shape(image), seed, alg="philox")
    return image + stddev * noise


def cut_out(image: tf.Tensor, left: tf.Tensor, top: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Paints a grey square; a pixel is covered when its centre lies inside.

    Args:
        image: Float32 (size, size, 3).
        left: Left edge, fraction of the size.
        top: Top edge, fraction of the size.
        side: Side, fraction of the size; 0 changes nothing.
    """
    height, width = tf.unstack(tf.shape(image)[:2])

    def covered(length: tf.Tensor, start: tf.Tensor) -> tf.Tensor:
        centres = (tf.range(length, dtype=tf.float32) + 0.5) / tf.cast(length, tf.float32)
        return (centres >= start) & (centres < start + side)

    mask = covered(height, top)[:, tf.newaxis] & covered(width, left)[tf.newaxis]
    return tf.where(mask[..., tf.newaxis], CUTOUT_GREY, image)
