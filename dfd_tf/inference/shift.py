"""Whether scores look like those of the calibration's real images (RELIABILITY.md F-13)."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from dfd_tf.inference.calibration import CalibrationFile

SHIFT_ALARM = 1e-4
"""Below this p-value of equal score distributions a warning is given."""
FEWEST_IN_BATCH = 30
"""Images of a batch below which nothing is said of it."""


@dataclass(frozen=True)
class Shift:
    """Two-sample Kolmogorov-Smirnov test of scores against the real calibration scores.

    Args:
        num: Scores compared.
        distance: Largest difference of the distribution functions, in [0, 1].
        p_value: Of equal distributions.
        median_p_value: Median conformal p-value of the scores; near 0.5 without a shift.
    """

    num: int
    distance: float
    p_value: float
    median_p_value: float

    @property
    def is_alarming(self) -> bool:
        return self.p_value < SHIFT_ALARM


def score_shift(scores: np.ndarray, calibration: CalibrationFile) -> Shift:
    """Compares scores of images (n,) with those of the real calibration images.

    Two samples: p-values of fresh images are not uniform given one finite calibration set.
    """
    test = stats.ks_2samp(scores, calibration.real_scores)
    median = float(np.median(calibration.p_values(scores)))
    return Shift(len(scores), float(test.statistic), float(test.pvalue), median)


def batch_warning(scores: np.ndarray, calibration: CalibrationFile) -> str | None:
    """Says of a batch of images whose labels nobody knows that its scores are unusual, or None.

    High scores are what fakes have, and what real images of another origin may have as well: only
    the one who knows where the images come from can tell. Low scores are no sign of fakes. Images
    that show one person score alike, which the test, made for independent ones, takes for a shift.
    """
    if len(scores) < FEWEST_IN_BATCH:
        return None
    shift = score_shift(scores, calibration)
    if not shift.is_alarming:
        return None
    if shift.median_p_value < 0.5:
        meaning = (
            "many fakes would do that, and so would real images of another origin, for which"
            " promised rates do not hold"
        )
    else:
        meaning = (
            "they are lower or more alike, which fakes do not explain: for images of another"
            " origin promised rates do not hold"
        )
    return (
        f"scores of this batch do not look like the calibration data ({calibration.dataset}): over"
        f" {shift.num} images the median p-value is {shift.median_p_value:.2g} instead of 0.5"
        f" (Kolmogorov-Smirnov distance {shift.distance:.2f}, p = {shift.p_value:.1e}); {meaning};"
        " photos of one person or one series would do that, too"
    )
