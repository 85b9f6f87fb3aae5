"""How far explanation maps point at what was changed, where that is known.

The pointing game (Zhang et al., "Top-down neural attention by excitation backprop", IJCV 2018,
section 4.1): a map hits when its highest place lies in the changed region. The share of the map's
sum inside the region is the energy-based variant (Wang et al., "Score-CAM", CVPR Workshops 2020,
section 4.3). Both are compared with what a map that knows nothing gets: the region's share of the
area. And a map that stays the same with random weights shows the image, not the network (Adebayo
et al. 2018, arXiv:1810.03292).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

from dfd_tf.evaluation.intervals import wilson_interval
from dfd_tf.inference.calibration import Interval


@dataclass(frozen=True)
class PointingGame:
    """The outcome of a pointing game.

    Args:
        num_maps: Maps played, those without evidence among them.
        num_empty: Maps without any evidence: they point nowhere, and miss.
        hits: Maps whose highest place lies in the region.
        interval: 95 % Wilson interval of the accuracy; None without maps.
        chance: Mean share of the area that the regions take: the accuracy, and the energy, of maps
            that know nothing; None without maps.
        energy: Mean share of the maps' sums inside the regions, of the maps that have any evidence;
            None where none has.
    """

    num_maps: int
    num_empty: int
    hits: int
    interval: Interval | None
    chance: float | None
    energy: float | None

    @property
    def accuracy(self) -> float | None:
        return self.hits / self.num_maps if self.num_maps else None

    @property
    def accuracy_if_any(self) -> float | None:
        """Of the maps that have any evidence."""
        pointing = self.num_maps - self.num_empty
        return self.hits / pointing if pointing else None


def play(maps: np.ndarray, regions: np.ndarray) -> PointingGame:
    """Plays the pointing game.

    A map hits when more than half of its highest places (one, as a rule) lie in the region.

    Args:
        maps: (n, height, width), any float dtype, >= 0.
        regions: Boolean, of the same shape: what was changed.

    Raises:
        ValueError: The shapes differ, or a map is negative or not finite.
    """
    if maps.shape != regions.shape or maps.ndim != 3:
        raise ValueError(f"maps {maps.shape} and regions {regions.shape} must be (n, h, w) both")
    if not np.all(maps >= 0) or not np.isfinite(maps).all():
        raise ValueError("maps must be >= 0 and finite")
    count = len(maps)
    area = maps.shape[1] * maps.shape[2]
    flat = maps.reshape(count, area).astype(np.float64)
    inside = regions.reshape(count, area).astype(bool)
    highest = flat.max(axis=1, initial=0.0)
    pointing = highest > 0
    places = flat == highest[:, np.newaxis]
    hits = pointing & (2 * (places & inside).sum(axis=1) > places.sum(axis=1))
    sums = flat[pointing].sum(axis=1)
    energies = (flat * inside)[pointing].sum(axis=1) / sums
    return PointingGame(
        num_maps=count,
        num_empty=int(np.sum(~pointing)),
        hits=int(hits.sum()),
        interval=wilson_interval(int(hits.sum()), count) if count else None,
        chance=float(inside.mean()) if count else None,
        energy=float(energies.mean()) if len(energies) else None,
    )


def rank_correlations(maps: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each map with its counterpart.

    Args:
        maps: (n, height, width).
        others: Of the same shape.

    Returns:
        (m,) float64 in [-1, 1], m <= n: a constant map has no ranks, and its pair is left out.
    """
    ranks = [
        rankdata(values.reshape(len(values), -1).astype(np.float64), axis=1)
        for values in (maps, others)
    ]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    norms = np.prod([np.linalg.norm(values, axis=1) for values in centred], axis=0)
    products = np.sum(centred[0] * centred[1], axis=1)
    return products[norms > 0] / norms[norms > 0]
