"""Errors averaged over windows: small faults are local."""

from typing import Any

from keras import ops


def top_patch_mean(errors: Any, patch: int, count: int) -> Any:
    """Averages the worst windows of error maps.

    Args:
        errors: (batch, height, width) float.
        patch: Side of a window, pixels; windows start every half side and lie inside the map.
        count: Number of worst windows, at most as many as there are.

    Returns:
        (batch,), the mean of the means of the `count` worst windows.
    """
    windows = ops.average_pool(errors[..., None], patch, strides=patch // 2, padding="valid")
    windows = ops.reshape(windows, (-1, windows.shape[1] * windows.shape[2]))
    return ops.mean(ops.top_k(windows, count)[0], axis=-1)


def patch_map(errors: Any, patch: int) -> Any:
    """Averages error maps over the window around each pixel, cut off at the border.

    Args:
        errors: (batch, height, width) float.
        patch: Side of a window, pixels.

    Returns:
        The same shape.
    """
    return ops.average_pool(errors[..., None], patch, strides=1, padding="same")[..., 0]
