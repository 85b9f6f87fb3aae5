"""From evidence per location to an explanation map."""

from typing import Any

from keras import ops


def explanation_map(evidence: Any, image_size: int) -> Any:
    """Scales evidence to maps of the size of the images.

    Args:
        evidence: (batch, height, width), any float dtype, >= 0; of any scale.
        image_size: Side of the maps, pixels.

    Returns:
        (batch, image_size, image_size) float32 in [0, 1], each map divided by its own maximum, all
        zeros where there is no evidence.
    """
    evidence = ops.cast(evidence, "float32")
    peak = ops.max(evidence, axis=(1, 2), keepdims=True)
    maps = ops.divide_no_nan(evidence, peak)
    if maps.shape[1:3] != (image_size, image_size):
        maps = ops.image.resize(
            maps[..., None], (image_size, image_size), data_format="channels_last"
        )[..., 0]
    # Subnormal peaks can push a quotient beyond 1.
    return ops.clip(maps, 0.0, 1.0)
