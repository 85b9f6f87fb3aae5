"""Folds for cross-fitting: what is fitted without a person, video or image is then asked about it.

Both a stack's weights (`stacking`) and the choice of a probability map (`calibrator_choice`) are
judged on scores of images that were not fitted on.
"""

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from pipelines.media_item import FAKE, REAL

MOST_FOLDS = 5


class TooFewClustersError(ValueError):
    """The samples cannot be parted so that each side has both classes."""


def cluster_folds(
    labels: np.ndarray, clusters: np.ndarray, seed: int | None = None
) -> tuple[np.ndarray, int]:
    """Parts samples into folds by whole clusters, the classes in proportion.

    Args:
        labels: (n,) 0 real, 1 fake, -1 unknown.
        clusters: (n,) names; samples of one are never parted.
        seed: Of the shuffling; None: no shuffling.

    Returns:
        (n,) fold numbers, and how many folds there are: up to five.

    Raises:
        TooFewClustersError: Fewer than two clusters of a class, or one holds all of a class.
    """
    groups = [len(np.unique(clusters[labels == label])) for label in (REAL, FAKE)]
    if min(groups) < 2:
        raise TooFewClustersError(f"{groups[REAL]} real and {groups[FAKE]} fake clusters")
    known = np.flatnonzero(labels >= 0)
    count = min(MOST_FOLDS, *groups)
    folds = StratifiedGroupKFold(count, shuffle=seed is not None, random_state=seed)
    fold_of: dict[str, int] = {}
    for number, (_, held) in enumerate(folds.split(known, labels[known], clusters[known])):
        fold_of |= dict.fromkeys(clusters[known[held]].tolist(), number)
    # Clusters without any label go with the first fold: what is fitted there has not seen them.
    fold = np.array([fold_of.get(cluster, 0) for cluster in clusters.tolist()])
    for number in range(count):
        if len(np.unique(labels[(fold != number) & (labels >= 0)])) < 2:
            raise TooFewClustersError("one cluster holds all images of a class")
    return fold, count
