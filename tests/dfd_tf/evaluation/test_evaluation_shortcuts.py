"""The shortcut audit against planted nuisances, scikit-learn, theory, and the absence of any."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfd_tf.evaluation.shortcuts import TOGETHER, measure_shortcuts
from pipelines.nuisances import FORMAT, NUISANCES, NUMERIC
from pipelines.shared_content import AuditedMedium


def media(labels, clusters=None, formats=None, **columns):
    """Media whose nuisances are the columns given; all others have no value."""
    values = np.full((len(labels), len(NUMERIC)), np.nan)
    for name, column in columns.items():
        values[:, NUMERIC.index(name)] = column
    return [
        AuditedMedium(
            path=f"{place}",
            label=int(label),
            domain="d",
            split="train",
            shard="s",
            cluster=place if clusters is None else int(clusters[place]),
            source_format="JPEG" if formats is None else formats[place],
            values=values[place],
        )
        for place, label in enumerate(labels)
    ]


def measured(*args, limit=0.65, **columns):
    return {s.name: s for s in measure_shortcuts(media(*args, **columns), limit)}


def halves(num):
    return np.repeat([0, 1], [num // 2, num - num // 2])


def test_a_shift_is_measured_as_its_theoretical_auc():
    labels = halves(1000)
    values = np.random.default_rng(0).normal(labels * 1.0, 1.0)
    found = measured(labels, noise=values)["noise"]
    # Two normals one deviation apart: Phi(1 / sqrt 2) = 0.760. A monotone model cannot change it.
    assert found.auc == pytest.approx(0.760, abs=0.035)
    assert found.auc == pytest.approx(roc_auc_score(labels, values), abs=0.02)
    assert found.low < 0.760 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.015, rel=0.15)  # DeLong's
    assert found.verdict == "over"
    assert measured(labels, noise=-values)["noise"].auc == pytest.approx(found.auc, abs=0.01)


def test_the_class_in_the_middle_is_found_as_well():
    rng = np.random.default_rng(1)
    labels = halves(200)
    qualities = np.where(labels == 0, 75, rng.choice([60, 95], 200))
    assert abs(roc_auc_score(labels, qualities) - 0.5) < 0.1
    assert measured(labels, jpeg_quality=qualities)["jpeg_quality"].auc == 1.0


def test_names_and_missing_values_are_values():
    labels = halves(60)
    formats = ["PNG" if label else "JPEG" for label in labels]
    qualities = np.where(labels == 0, 90.0, np.nan)
    found = measured(labels, formats=formats, jpeg_quality=qualities)
    for name in (FORMAT, "jpeg_quality", TOGETHER):
        assert found[name].auc == 1.0
        assert found[name].verdict == "over"
        # 30 disjoint pairs, all ranked right; Wilson by hand: n / (n + 1.959964^2).
        assert (found[name].low, found[name].high) == pytest.approx((30 / (30 + 3.841459), 1.0))


def test_nuisances_of_little_power_add_up():
    rng = np.random.default_rng(2)
    labels = halves(600)
    names = ("noise", "sharpness", "bytes", "aspect")
    found = measured(labels, **{name: rng.normal(labels * 0.5, 1.0) for name in names})
    # Together they are two halves' worth: one deviation, 0.760; each alone Phi(0.354) = 0.638.
    assert all(found[name].auc < 0.7 for name in names)
    assert found[TOGETHER].auc == pytest.approx(0.760, abs=0.05)
    assert found[TOGETHER].verdict == "over"


def test_what_only_tells_a_person_is_no_shortcut():
    rng = np.random.default_rng(3)
    clusters = np.arange(40).repeat(10)
    labels = clusters % 2
    values = rng.normal(0, 1, 40)[clusters] + rng.normal(0, 0.01, 400)
    found = measured(labels, clusters=clusters, noise=values)["noise"]
    assert found.verdict == "below"
    assert found.low < 0.55
    assert found.high - found.low > 0.15, "the interval is that of 40 people, not of 400 images"


def test_chance_does_not_trip_the_limit():
    rng = np.random.default_rng(4)
    names = ("noise", "sharpness", "bytes", "border")
    for trial in range(12):
        labels = halves(20 + 4 * trial)
        values = {name: rng.normal(size=len(labels)) for name in names}
        assert all(s.verdict == "below" for s in measured(labels, **values).values() if s.auc)


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (np.zeros(30), "30 real and 0 fake clusters"),
        (np.ones(30), "0 real and 30 fake clusters"),
        (-np.ones(30), "0 real and 0 fake clusters"),
    ],
)
def test_without_a_class_everything_is_undefined(labels, reason):
    found = measured(labels, noise=np.arange(30.0))
    assert list(found) == [*(nuisance.name for nuisance in NUISANCES), TOGETHER]
    assert {(s.auc, s.low, s.verdict, s.reason) for s in found.values()} == {
        (None, None, "undefined", reason)
    }


def test_few_media_give_a_figure_and_no_verdict():
    found = measured(halves(18), noise=np.arange(18.0))["noise"]
    assert found.auc > 0.9
    assert found.verdict == "undecided"
    assert "fewer than 10" in found.reason


def test_constant_and_absent_nuisances_are_told_apart():
    found = measured(halves(40), noise=np.random.default_rng(5).normal(size=40), width=np.ones(40))
    assert (found["width"].auc, found["width"].reason) == (None, "constant")
    assert (found["frame_rate"].auc, found["frame_rate"].reason) == (None, "no value recorded")
    assert found[FORMAT].reason == "constant"
    assert found[TOGETHER].auc == found["noise"].auc


def test_media_of_unknown_label_are_left_out():
    labels = np.append(halves(60), -np.ones(40))
    values = np.append(np.random.default_rng(6).normal(halves(60), 1.0), np.full(40, 99.0))
    with_them = measured(labels, noise=values)["noise"]
    assert with_them == measured(halves(60), noise=values[:60])["noise"]


def test_the_limit_is_compared_with_the_lower_end():
    labels = halves(200)
    values = np.random.default_rng(7).normal(labels * 1.0, 1.0)
    found = measured(labels, noise=values)["noise"]
    assert measured(labels, noise=values, limit=found.low - 0.001)["noise"].verdict == "over"
    assert measured(labels, noise=values, limit=found.low + 0.001)["noise"].verdict == "below"
