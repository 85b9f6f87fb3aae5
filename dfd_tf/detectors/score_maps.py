"""The maps of `dfd_tf.config.score_maps` in the graph."""

from typing import Any

import numpy as np
from keras import ops

from dfd_tf.config.score_maps import LogOdds, RobustZScore, ScoreMap


def common_scale(scores: Any, score_map: ScoreMap) -> Any:
    """Maps scores (batch,) to log odds of fake or to robust z-scores, (batch,) float32."""
    scores = ops.cast(scores, "float32")
    if isinstance(score_map, LogOdds):
        return score_map.slope * scores + score_map.offset
    if isinstance(score_map, RobustZScore):
        # Subtracted first: scores near a large median lose no digits.
        return (scores - score_map.median) / score_map.spread
    lowest = 1.0 / (score_map.num_images + 2)
    probability = ops.clip(interpolated(scores, score_map.knots), lowest, 1.0 - lowest)
    return ops.log(probability) - ops.log1p(-probability)


def interpolated(scores: Any, knots: tuple[tuple[float, float], ...]) -> Any:
    """Interpolates linearly between knots, constant beyond them, as `numpy.interp`.

    A sum of ramps instead of a search: every export target knows its operations.

    Args:
        scores: (batch,) float32.
        knots: (score, probability) pairs, scores ascending.

    Returns:
        (batch,) float32.
    """
    places, values = np.asarray(knots, np.float32).T
    starts, rises = places[:-1], np.diff(values)
    # Knots that float32 cannot tell apart make a step of the smallest width it knows there.
    smallest = np.maximum(np.spacing(np.abs(starts)), np.finfo(np.float32).tiny)
    widths = np.maximum(np.diff(places), smallest)
    shares = ops.clip((scores[:, None] - starts) / widths, 0.0, 1.0)
    return values[0] + ops.sum(shares * rises, axis=-1)
