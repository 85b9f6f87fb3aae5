"""DeLong's test of the AUCs of several scores on the same samples.

DeLong, DeLong & Clarke-Pearson, Biometrics 44 (1988); the placement values come from midranks, as
in Sun & Xu, IEEE Signal Processing Letters 21 (2014), in O(n log n) rather than O(n^2).
Samples are taken for independent: where several show one person or video, the variance comes out
too small, and `comparison` goes by the cluster bootstrap.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from dfd_tf.evaluation.intervals import CONFIDENCE
from pipelines.media_item import FAKE, REAL

_NO_VARIANCE = 1e-15


@dataclass(frozen=True)
class Difference:
    """How much a metric differs between two runs.

    Args:
        value: Its value in the second less that in the first.
        low: Lower end of the 95 % interval; None: undefined.
        high: Upper end.
        p_value: Two-sided, of no difference; None: undefined.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float | None


def delong_covariance(labels: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas under the ROC curves and the covariance of their estimates.

    Args:
        labels: (n,) 0 real, 1 fake; two of each at least.
        scores: (runs, n), higher = more likely fake; ties count one half.

    Returns:
        (runs,) areas and (runs, runs) covariance.

    Raises:
        ValueError: Fewer than two samples of a class: their variance is not known.
    """
    fake, real = labels == FAKE, labels == REAL
    num_fake, num_real = int(fake.sum()), int(real.sum())
    if min(num_fake, num_real) < 2:
        raise ValueError(f"{num_real} real and {num_fake} fake samples, two of each are needed")
    ranks = stats.rankdata(scores, axis=1)
    above_reals = (ranks[:, fake] - stats.rankdata(scores[:, fake], axis=1)) / num_real
    below_fakes = 1.0 - (ranks[:, real] - stats.rankdata(scores[:, real], axis=1)) / num_fake
    covariance = np.cov(above_reals) / num_fake + np.cov(below_fakes) / num_real
    return above_reals.mean(axis=1), np.atleast_2d(covariance)


def delong_difference(
    labels: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Difference | None:
    """Tests whether two scores of the same samples have the same AUC.

    Args:
        labels: (n,) 0 real, 1 fake.
        first: (n,) scores of the run compared with.
        second: (n,) scores of the other.

    Returns:
        AUC of the second less that of the first; without interval and p-value where the placements
        do not vary, as between two perfect rankings. None with fewer than two samples of a class.
    """
    if min(np.sum(labels == FAKE), np.sum(labels == REAL)) < 2:
        return None
    areas, covariance = delong_covariance(labels, np.stack([first, second]))
    difference = float(areas[1] - areas[0])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2.0 * covariance[0, 1])
    if variance <= _NO_VARIANCE:
        return Difference(difference, None, None, None)
    deviation = variance**0.5
    margin = float(stats.norm.isf((1 - CONFIDENCE) / 2)) * deviation
    p_value = float(2.0 * stats.norm.sf(abs(difference) / deviation))
    return Difference(difference, difference - margin, difference + margin, p_value)
