"""Operating points from validation scores: split-conformal quantiles and Youden's index."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np

from dfd_tf.evaluation.intervals import wilson_interval
from dfd_tf.inference.calibration import Threshold

TARGETS = {"sensitive": Fraction(1, 10), "balanced": Fraction(1, 20), "strict": Fraction(1, 100)}
"""Operating points and the false positive rates they promise."""

DEFAULT_MISS = TARGETS["balanced"]
"""Share of fakes that may be taken for implausible at `optimal`, which promises no rate itself; the
others take their own false positive rate for it."""
MOST_MISS = TARGETS["sensitive"]
"""Where so few fakes are labelled that only a larger share could be promised, none is."""


def conformal_rank(num_real: int, target: Fraction) -> int:
    """Rank k = ceil((1 - target) (n + 1)) of the threshold among the ascending real scores.

    An exchangeable fresh real score is above the k-th smallest of n with probability at most
    `target` (Vovk et al. 2005; Angelopoulos & Bates 2021, section 1). Exact integer arithmetic.
    """
    return -((-(1 - target) * (num_real + 1)) // 1)


def fake_floor(fake_scores: np.ndarray, miss: Fraction) -> tuple[float, Fraction] | None:
    """Lowest score at which `fake` is plausible: p-value (1 + #{fake <= score}) / (m + 1) > `miss`.

    That is the j-th smallest of m fake scores with j = floor(miss (m + 1)), so that an exchangeable
    fresh fake lies below it with probability at most `miss`: the class-conditional (Mondrian)
    counterpart of `conformal_rank` (Vovk et al. 2005, section 4.5). Where m is too small for that,
    it is the smallest score, and what is promised is 1 / (m + 1).

    Returns:
        The score and the share promised; None where that would be above `MOST_MISS`.
    """
    promised = max(miss, Fraction(1, len(fake_scores) + 1))
    if promised > MOST_MISS:
        return None
    rank = int(promised * (len(fake_scores) + 1))
    return float(np.sort(fake_scores)[rank - 1]), promised


def tied_points(thresholds: Sequence[Threshold]) -> list[str]:
    """Says which operating points fall together because real scores are equal."""
    points = [threshold for threshold in thresholds if threshold.target_fpr is not None]
    return [
        f"operating points {a.name} and {b.name} have the same threshold: real scores are tied"
        for a, b in pairwise(points)
        if a.value == b.value
    ]


def conformal_thresholds(
    real_scores: np.ndarray,
    fake_scores: np.ndarray,
    num_clusters: int | None = None,
    noun: str = "images",
) -> tuple[list[Threshold], dict[str, str]]:
    """Sets `sensitive`, `balanced` and `strict` from real scores alone.

    Args:
        real_scores: (n,) scores of real validation images.
        fake_scores: (m,) scores of labelled fakes, for rates and floors; may be empty.
        num_clusters: Persons, videos or lone images the real scores come from; None: n. Many images
            of a few people can fill a rank, and promise nothing about other people.
        noun: What the scores are of.

    Returns:
        The operating points, and those that n or `num_clusters` is too small for, with the reason.
    """
    num_clusters = len(real_scores) if num_clusters is None else num_clusters
    ascending = np.sort(np.asarray(real_scores, np.float64))
    found: list[Threshold] = []
    missing: dict[str, str] = {}
    for name, target in TARGETS.items():
        rank = conformal_rank(len(ascending), target)
        # The smallest n for which the rank is one of the n.
        needed = int(1 / target) - 1
        wanted = f"a false positive rate of {float(target):.0%} needs {needed} real validation"
        if rank > len(ascending):
            missing[name] = f"{wanted} {noun}, found {len(ascending)}"
            continue
        if num_clusters < needed:
            missing[name] = (
                f"{wanted} {noun} of as many persons or videos, found {len(ascending)} of"
                f" {num_clusters}"
            )
            continue
        rule = f"split-conformal: rank {rank} of {len(ascending)} ascending real scores"
        value = float(ascending[rank - 1])
        found.append(_threshold(name, value, rule, target, ascending, fake_scores))
    return found, missing


def youden_threshold(real_scores: np.ndarray, fake_scores: np.ndarray) -> Threshold:
    """Sets `optimal`: the score that maximises TPR - FPR; of equals, the lowest FPR.

    Both arrays must hold at least one score.
    """
    candidates = np.unique(np.concatenate([real_scores, fake_scores]))
    real, fake = np.sort(real_scores), np.sort(fake_scores)
    fpr = 1 - np.searchsorted(real, candidates, side="right") / len(real)
    tpr = 1 - np.searchsorted(fake, candidates, side="right") / len(fake)
    best = np.flatnonzero(tpr - fpr >= np.max(tpr - fpr) - 1e-12)[-1]
    value = float(candidates[best])
    return _threshold("optimal", value, "maximum of TPR - FPR (Youden)", None, real, fake)


def _threshold(
    name: str,
    value: float,
    rule: str,
    target: Fraction | None,
    real_scores: np.ndarray,
    fake_scores: np.ndarray,
) -> Threshold:
    alarms = int(np.sum(real_scores > value))
    floor = fake_floor(fake_scores, DEFAULT_MISS if target is None else target)
    return Threshold(
        name=name,
        value=value,
        rule=rule,
        target_fpr=None if target is None else float(target),
        num_real=len(real_scores),
        observed_fpr=alarms / len(real_scores),
        observed_fpr_interval=wilson_interval(alarms, len(real_scores)),
        observed_tpr=float(np.mean(fake_scores > value)) if len(fake_scores) else None,
        fake_floor=floor and floor[0],
        target_miss=floor and float(floor[1]),
    )
