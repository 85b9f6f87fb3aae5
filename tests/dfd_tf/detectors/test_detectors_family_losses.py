"""Losses by family against a plain computation, and what happens to absent families."""

import math

import keras
import numpy as np
import pytest
from keras import ops

from dfd_tf.detectors.family_losses import NAMES, FamilyLosses, drop_absent


def targets(label, family):
    return {"label": ops.array(label, "int32"), "family": ops.array(family, "int32")}


def test_means_by_family_over_batches():
    metric = FamilyLosses()
    metric.update_from_logits(
        targets([0, 1, 1, -1], [0, 1, 1, 1]), ops.array([0.5, -1.0, 2.0, 9.0])
    )
    metric.update_from_logits(targets([0, 1], [0, 2]), ops.array([-3.0, 0.25]))

    def loss(logit, label):
        probability = 1.0 / (1.0 + math.exp(-logit))
        return -math.log(probability if label else 1.0 - probability)

    results = {name: float(value) for name, value in metric.result().items()}
    assert results["loss_dataset"] == pytest.approx((loss(0.5, 0) + loss(-3, 0)) / 2, rel=1e-5)
    assert results["loss_self_blend"] == pytest.approx((loss(-1, 1) + loss(2, 1)) / 2, rel=1e-5)
    assert results["loss_splice"] == pytest.approx(loss(0.25, 1), rel=1e-5)
    assert math.isnan(results["loss_resample"])
    metric.reset_state()
    assert all(math.isnan(float(value)) for value in metric.result().values())


def test_nothing_is_reported_without_families():
    metric = FamilyLosses()
    metric.update_from_logits({"label": ops.array([0, 1])}, ops.array([1.0, 1.0]))
    assert metric.result() == {}


def test_names_do_not_look_like_the_loss_that_must_be_finite():
    assert not any(name.endswith("loss") for name in NAMES)


def test_absent_families_leave_the_logs():
    logs = {"loss": math.nan, "loss_splice": math.nan, "val_loss_splice": math.nan, "val_auc": None}
    logs |= {"loss_dataset": 0.5, "val_loss_dataset": 0.25}
    drop_absent(logs)
    assert set(logs) == {"loss", "val_auc", "loss_dataset", "val_loss_dataset"}


def test_half_precision_logits_are_summed_in_single():
    with keras.device("cpu"):
        metric = FamilyLosses()
        logits = ops.cast(np.full(3000, 20.0), "float16")
        metric.update_from_logits(targets(np.zeros(3000), np.zeros(3000)), logits)
        assert float(metric.result()["loss_dataset"]) == pytest.approx(20.0, rel=1e-4)
