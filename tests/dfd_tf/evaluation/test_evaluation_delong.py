"""DeLong's test against the formulas of 1988, their own data, and simulations."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_auc_score

from dfd_tf.evaluation.delong import delong_covariance, delong_difference

OVARIAN_CANCER = """
3.0 5.8 10 0   3.2 6.3  5 1   3.9 6.8  3 1   2.8 4.8  6 0   3.2 5.8  3 1   0.9 4.0  5 0
2.5 5.7  8 0   1.6 5.6  5 1   3.8 5.7  5 1   3.7 6.7  6 1   3.2 5.4  4 1   3.8 6.6  6 1
4.1 6.6  5 1   3.6 5.7  5 1   4.3 7.0  4 1   3.6 6.7  4 0   2.3 4.4  6 1   4.2 7.6  4 0
4.0 6.6  6 0   3.5 5.8  6 1   3.8 6.8  7 1   3.0 4.7  8 0   4.5 7.4  5 1   3.7 7.4  5 1
3.1 6.6  6 1   4.1 8.2  6 1   4.3 7.0  5 1   4.3 6.5  4 1   3.2 5.1  5 1   2.6 4.7  6 1
3.3 6.8  6 0   1.7 4.0  7 0   3.7 6.1  5 1   3.3 6.3  7 1   4.2 7.7  6 1   3.5 6.2  5 1
2.9 5.7  9 0   2.1 4.8  7 1   2.8 6.2  8 0   4.0 7.0  7 1   3.3 5.7  6 1   3.7 6.9  5 1
3.6 6.6  5 1
"""
"""Albumin, total protein, K-G score (high is bad) and outcome: the complete cases of the example of
DeLong, DeLong & Clarke-Pearson (1988)."""


def placements(labels, scores):
    """The kernel of section 2, pair by pair: fakes against reals, in exact arithmetic."""
    fakes = [score for score, label in zip(scores, labels, strict=True) if label == 1]
    reals = [score for score, label in zip(scores, labels, strict=True) if label == 0]

    def kernel(fake, real):
        return Fraction(1) if real < fake else Fraction(1, 2) if real == fake else Fraction(0)

    of_fakes = [sum(kernel(x, y) for y in reals) / len(reals) for x in fakes]
    of_reals = [sum(kernel(x, y) for x in fakes) / len(fakes) for y in reals]
    return of_fakes, of_reals


def by_the_formulas(labels, scores):
    """Areas and covariance (equations 3 to 5) by explicit sums."""
    found = [placements(labels, one) for one in scores]
    areas = [sum(of_fakes) / len(of_fakes) for of_fakes, _ in found]

    def covariance(first, second, component):
        first_values, second_values = found[first][component], found[second][component]
        products = [
            (x - areas[first]) * (y - areas[second])
            for x, y in zip(first_values, second_values, strict=True)
        ]
        return sum(products) / (len(products) - 1) / len(products)

    runs = range(len(scores))
    matrix = [[covariance(i, j, 0) + covariance(i, j, 1) for j in runs] for i in runs]
    return np.array(areas, float), np.array(matrix, float)


def ovarian_cancer():
    table = np.array(OVARIAN_CANCER.split(), float).reshape(-1, 4)
    return table[:, 3].astype(int), np.stack([10 - table[:, 2], table[:, 0], table[:, 1]])


def test_the_example_of_1988():
    labels, scores = ovarian_cancer()
    assert (np.sum(labels == 0), np.sum(labels == 1)) == (12, 31)
    areas, covariance = delong_covariance(labels, scores)
    expected = by_the_formulas(labels, scores)
    assert areas == pytest.approx(expected[0], abs=1e-14)
    assert covariance == pytest.approx(expected[1], abs=1e-14)
    # K-G score, albumin, total protein: by counting pairs, and by the formulas' own digits.
    assert areas == pytest.approx([270 / 372, 274 / 372, 241 / 372])
    assert np.sqrt(np.diag(covariance)) == pytest.approx([0.1028, 0.0927, 0.1000], abs=5e-5)


@st.composite
def tied_samples(draw):
    n = draw(st.integers(4, 30))
    labels = np.array(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    labels[:4] = (0, 0, 1, 1)
    rows = st.lists(st.integers(0, draw(st.integers(0, 6))), min_size=n, max_size=n)
    return labels, np.array([draw(rows) for _ in range(3)], float)


@settings(max_examples=60, deadline=None)
@given(tied_samples())
def test_midranks_equal_the_formulas(sample):
    labels, scores = sample
    areas, covariance = delong_covariance(labels, scores)
    expected_areas, expected = by_the_formulas(labels, scores)
    assert areas == pytest.approx(expected_areas, abs=1e-12)
    assert areas == pytest.approx([roc_auc_score(labels, one) for one in scores], abs=1e-12)
    assert covariance == pytest.approx(expected, abs=1e-12)


def test_a_difference_turns_its_sign_with_the_order():
    labels, scores = ovarian_cancer()
    forth = delong_difference(labels, scores[0], scores[2])
    back = delong_difference(labels, scores[2], scores[0])
    assert forth.value == pytest.approx((241 - 270) / 372)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low))
    assert forth.p_value == pytest.approx(back.p_value)
    deviation = (forth.high - forth.low) / 2 / 1.959963985
    assert forth.p_value == pytest.approx(2 * stats.norm.sf(abs(forth.value) / deviation))


def correlated_scores(generator, num_real, num_fake, shifts, correlation=0.6):
    """Two normal scores of the same samples; fakes are shifted by `shifts`."""
    labels = np.repeat([0, 1], [num_real, num_fake])
    noise = generator.multivariate_normal(
        [0, 0], [[1, correlation], [correlation, 1]], len(labels)
    ).T
    return labels, noise + np.array(shifts)[:, None] * labels


def test_p_values_of_equal_detectors_are_uniform():
    generator = np.random.default_rng(0)
    p_values = []
    for _ in range(600):
        labels, (first, second) = correlated_scores(generator, 60, 80, (1.0, 1.0))
        p_values.append(delong_difference(labels, first, second).p_value)
    assert stats.kstest(p_values, "uniform").pvalue > 0.01


def test_intervals_cover_the_true_difference():
    generator = np.random.default_rng(1)
    true = stats.norm.cdf(1.6 / 2**0.5) - stats.norm.cdf(1.0 / 2**0.5)
    covered = 0
    for _ in range(400):
        labels, (first, second) = correlated_scores(generator, 100, 100, (1.0, 1.6))
        found = delong_difference(labels, first, second)
        covered += found.low <= true <= found.high
    low, high = stats.binom.interval(0.999, 400, 0.95)
    assert low <= covered <= high


def test_what_has_no_variance_has_no_p_value():
    labels = np.array([0, 0, 0, 1, 1])
    perfect = labels + np.arange(5.0) / 10
    found = delong_difference(labels, perfect, 3 * perfect)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, None, None, None)
    constant = delong_difference(labels, np.zeros(5), perfect)
    assert (constant.value, constant.p_value) == (0.5, None)


@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [1, 1, 1, 1], [0, 1, 1, 1]])
def test_too_few_of_a_class_are_undefined(labels):
    scores = np.arange(4.0)
    assert delong_difference(np.array(labels), scores, scores) is None
    with pytest.raises(ValueError, match="two of each"):
        delong_covariance(np.array(labels), scores[None])
