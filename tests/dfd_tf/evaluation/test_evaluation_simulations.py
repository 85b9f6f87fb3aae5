"""Promises kept on made-up data of known law, seeds fixed: what intervals and bands cover."""

import numpy as np
from scipy import stats

from dfd_tf.evaluation.intervals import bootstrap_intervals, fresh_fpr_band
from dfd_tf.evaluation.metrics import decision_metrics, ranking_metrics
from dfd_tf.evaluation.thresholds import TARGETS, conformal_rank, conformal_thresholds
from dfd_tf.inference.calibration import CalibrationFile


def test_f10_bootstrap_intervals_cover_the_truth_as_often_as_they_say():
    """400 test sets of 120 real and 120 fake images in clusters of two, nominal 95 %."""
    generator = np.random.default_rng(20)
    labels = np.repeat([0, 1], 120)
    clusters = np.repeat(np.arange(120), 2).astype(str)
    limit, distance, shared = 1.0, 1.2, 0.5
    truth = {
        "auc": stats.norm.cdf(distance / np.sqrt(2)),
        "fpr": stats.norm.sf(limit),
    }
    covered = dict.fromkeys(truth, 0)
    for _ in range(400):
        # Images of a person share half of their variance.
        person = np.repeat(generator.normal(size=120), 2)
        own = generator.normal(size=240)
        scores = np.sqrt(shared) * person + np.sqrt(1 - shared) * own + distance * labels

        def metrics(weights, scores=scores):
            found = ranking_metrics(labels, scores, weights)
            return {
                "auc": found["auc"],
                "fpr": decision_metrics(labels, scores > limit, weights)["fpr"],
            }

        intervals = bootstrap_intervals(metrics, clusters, labels, seed=0, num_replicates=400)
        for name, value in truth.items():
            low, high = intervals[name]
            covered[name] += low <= value <= high
    assert all(0.92 <= count / 400 <= 0.98 for count in covered.values()), covered


def test_f02_fresh_false_alarms_stay_in_the_betabinomial_band_and_leave_the_binomial_one():
    """4,000 calibrations on 1,000 real images at 5 %, each tried on 2,000 fresh ones."""
    generator = np.random.default_rng(21)
    num, fresh, target = 1000, 2000, TARGETS["balanced"]
    rank = conformal_rank(num, target)
    scores = np.sort(generator.normal(size=(4000, num)), axis=1)
    found, _ = conformal_thresholds(scores[0], np.array([]))
    assert found[1].value == scores[0, rank - 1]
    alarms = generator.binomial(fresh, stats.norm.sf(scores[:, rank - 1]))
    low, high = fresh_fpr_band(num, rank, fresh)
    assert (low, high) == (52, 163)  # RELIABILITY.md F-02
    left = np.mean((alarms < low) | (alarms > high))
    # 0.1 % and four standard errors of 4,000 trials at that rate.
    assert left <= 0.001 + 4 * np.sqrt(0.001 / 4000)
    binomial = stats.binom(fresh, 0.05)
    narrow = np.mean((alarms < binomial.ppf(0.0005)) | (alarms > binomial.ppf(0.9995)))
    assert narrow > 0.04
    assert np.mean(alarms) / fresh <= 0.05


def test_f07_both_p_values_are_super_uniform_over_calibrations_and_images():
    generator = np.random.default_rng(22)
    levels = np.array([0.01, 0.05, 0.1, 0.3, 0.7])
    below = np.zeros((2, len(levels)))
    trials = 3000
    for _ in range(trials):
        # Rounded: ties must not break the promise.
        real, fake, fresh = np.round(generator.normal(size=(3, 50)), 1)
        calibration = CalibrationFile(
            weights_sha256="0",
            dataset="d",
            dataset_fingerprint="f",
            num_real=50,
            num_real_clusters=50,
            num_fake=50,
            thresholds=(),
            real_scores=tuple(np.sort(real).tolist()),
            fake_scores=tuple(np.sort(fake).tolist()),
        )
        one = fresh[:1]
        p_values = np.array([calibration.p_values(one), calibration.fake_p_values(one)])
        assert np.all((p_values > 0) & (p_values <= 1))
        below += p_values <= levels
    errors = 4 * np.sqrt(levels * (1 - levels) / trials)
    assert np.all(below / trials <= levels + errors)
    assert np.all(below[:, 1:] / trials >= levels[1:] - 2 / 51 - 0.05)
