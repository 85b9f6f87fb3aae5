"""Loss at every location of a pseudo-fake: where was it changed?

A pair of a real face and its pseudo-fake tells more than two labels, it tells which pixels differ.
Asked for at every location of the last feature map, as Face X-ray asks for the border of a blend
(Li et al., "Face X-ray for More General Face Forgery Detection", CVPR 2020, section 3), it keeps a
detector from being content with what a picture as a whole gives away.
"""

from typing import Any

import numpy as np
from keras import ops

_FULL = 3.0
"""A location counts as changed altogether from a third of its area on."""


def location_losses(logits: Any, changed: Any) -> tuple[Any, Any]:
    """Mean binary cross-entropy over the locations of each image.

    Args:
        logits: Float (batch, rows, columns), higher = more likely changed there.
        changed: Float32 (batch, cells, cells), share of each cell's pixels that were changed;
            -1: not known.

    Returns:
        Losses, float32 (batch,), 0 where nothing is known, and whether it is, float32 (batch,).
    """
    logits = ops.cast(logits, "float32")
    _, rows, columns = logits.shape
    # Two small products: unlike a resizing operation they run on every backend and under XLA.
    shares = ops.matmul(_averages(rows, changed.shape[1]), ops.maximum(changed, 0.0))
    shares = ops.matmul(shares, ops.transpose(_averages(columns, changed.shape[2])))
    targets = ops.minimum(_FULL * shares, 1.0)
    known = ops.cast(changed[:, 0, 0] >= 0, "float32")
    return known * ops.mean(ops.softplus(logits) - targets * logits, axis=(1, 2)), known


def mean_location_loss(logits: Any, changed: Any) -> Any:
    """Mean of `location_losses` over the images whose changes are known; 0 if there are none."""
    losses, known = location_losses(logits, changed)
    return ops.sum(losses) / ops.maximum(ops.sum(known), 1.0)


def _averages(parts: int, cells: int) -> Any:
    """Matrix (parts, cells) that averages a row of cells over equal parts of its length."""
    edges = np.arange(cells + 1) * parts / cells
    starts = np.arange(parts)[:, None]
    overlaps = np.clip(edges[1:], starts, starts + 1) - np.clip(edges[:-1], starts, starts + 1)
    return ops.convert_to_tensor(overlaps, "float32")
