"""Intervals: cluster bootstrap for metrics, Wilson for rates, BetaBinomial for fresh-data FPR."""

from collections.abc import Callable, Hashable, Iterator
from typing import TypeVar

import numpy as np
from scipy import stats

from dfd_tf.inference.calibration import Interval

NUM_REPLICATES = 2000
CONFIDENCE = 0.95
_CHUNK_CELLS = 1_000_000

Name = TypeVar("Name", bound=Hashable)


def bootstrap_weights(
    clusters: np.ndarray, labels: np.ndarray, seed: int, num_replicates: int = NUM_REPLICATES
) -> Iterator[np.ndarray]:
    """Yields chunks of bootstrap weights, (replicates, n) float64, `num_replicates` rows in all.

    Whole clusters are drawn with replacement, within strata of equal label content, so that the
    class sizes stay what the test set's design made them (Davison & Hinkley 1997, section 3.2).
    """
    names, inverse = np.unique(clusters, return_inverse=True)
    has_fake = np.bincount(inverse, labels == 1, len(names)) > 0
    has_real = np.bincount(inverse, labels == 0, len(names)) > 0
    strata = has_fake.astype(np.int64) * 2 + has_real
    members = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata)]
    generator = np.random.default_rng(seed)
    rows = max(1, min(num_replicates, _CHUNK_CELLS // max(1, len(labels))))
    for start in range(0, num_replicates, rows):
        count = min(rows, num_replicates - start)
        drawn = np.empty((count, len(names)))
        for stratum in members:
            drawn[:, stratum] = _draws(generator, count, len(stratum))
        yield drawn[:, inverse]


def _draws(generator: np.random.Generator, count: int, size: int) -> np.ndarray:
    """How often each of `size` is drawn in `size` draws with replacement, (count, size)."""
    # Ten times as fast as Generator.multinomial, which draws a binomial for every cell.
    chosen = generator.integers(size, size=(count, size))
    chosen += np.arange(count)[:, None] * size
    return np.bincount(chosen.ravel(), minlength=count * size).reshape(count, size)


def bootstrap_intervals(
    metrics: Callable[[np.ndarray], dict[Name, np.ndarray]],
    clusters: np.ndarray,
    labels: np.ndarray,
    seed: int,
    num_replicates: int = NUM_REPLICATES,
) -> dict[Name, tuple[float, float] | None]:
    """Percentile intervals of every metric that `metrics(weights)` returns.

    Returns:
        Metric -> its `percentile_interval`.
    """
    replicates = bootstrap_replicates(metrics, clusters, labels, seed, num_replicates)
    return {name: percentile_interval(values) for name, values in replicates.items()}


def bootstrap_replicates(
    metrics: Callable[[np.ndarray], dict[Name, np.ndarray]],
    clusters: np.ndarray,
    labels: np.ndarray,
    seed: int,
    num_replicates: int = NUM_REPLICATES,
) -> dict[Name, np.ndarray]:
    """Returns metric -> (num_replicates,) values, NaN where a replicate does not define it."""
    chunks = [metrics(w) for w in bootstrap_weights(clusters, labels, seed, num_replicates)]
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def percentile_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Returns the 95 % percentile interval of bootstrap replicates, (replicates,).

    None where fewer than nine in ten are defined, or where it would have no width: a sample with
    hardly an error cannot tell how rare errors are.
    """
    defined = values[~np.isnan(values)]
    if len(defined) < 0.9 * len(values):
        return None
    low, high = np.quantile(defined, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return (float(low), float(high)) if high - low > 1e-12 else None


def wilson_interval(successes: int, trials: int) -> Interval:
    """Wilson's score interval of a binomial proportion (Wilson 1927)."""
    result = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="wilson")
    return Interval(low=float(result.low), high=float(result.high))


def fresh_fpr_band(
    num_calibration: int, rank: int, num_fresh: int, coverage: float = 0.999
) -> tuple[int, int]:
    """Band of false alarms on fresh exchangeable real data above the rank-th smallest score.

    The false positive rate of that threshold is Beta(n + 1 - rank, rank), so the count is
    BetaBinomial, wider than the binomial that takes the rate for known (RELIABILITY.md F-02).

    Returns:
        Lowest and highest count inside the equal-tailed band of `coverage`.
    """
    law = stats.betabinom(num_fresh, num_calibration + 1 - rank, rank)
    tail = (1 - coverage) / 2
    return int(law.ppf(tail)), int(law.ppf(1 - tail))
