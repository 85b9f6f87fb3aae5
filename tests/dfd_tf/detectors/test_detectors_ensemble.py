"""The ensemble against NumPy: maps, combination, resizing, explanation."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from pydantic import ValidationError

from dfd_tf.config.detectors import EnsembleDetector, ResidualAutoencoderDetector, SpatialDetector
from dfd_tf.config.score_maps import IsotonicLogOdds, LogOdds, RobustZScore
from dfd_tf.detectors.base import to_unit
from dfd_tf.detectors.ensemble import Ensemble
from dfd_tf.detectors.registry import build_detector
from dfd_tf.detectors.score_maps import common_scale, interpolated
from dfd_tf.evaluation.calibrators import fit_probability
from dfd_tf.inference.calibration import Probability
from pipelines.records.reader import decode_to_size

SIDE, SMALL = 32, 16
KNOTS = ((-0.5, 0.0), (0.1, 0.2), (0.1, 0.7), (2.0, 1.0))
LARGE_MEMBER = {
    "name": "large",
    "detector": {"name": "spatial", "image_size": SIDE, "backbone": "resnet32", "weights": "none"},
    "score_map": {"kind": "log_odds", "slope": 0.7, "offset": -2.0},
    "weight": 0.75,
}
SMALL_MEMBER = {
    "name": "small",
    "detector": {"name": "residual_ae", "image_size": SMALL, "widths": [4, 6], "latent": 5},
    "score_map": {"kind": "z_score", "median": 0.3, "spread": 0.02},
    "weight": 0.25,
}


def ensemble(combine="weighted", offset=0.0, *, large=0.75, small=0.25):
    keras.utils.set_random_seed(3)
    members = [LARGE_MEMBER | {"weight": large}, SMALL_MEMBER | {"weight": small}]
    return build_detector(EnsembleDetector(combine=combine, members=members, offset=offset))


def pictures(count=4):
    """8-bit images as the decoder gives them, float32 in [0, 1]."""
    values = np.random.default_rng(0).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)
    return values, (values / np.float32(255)).astype("float32")


def decoded(values, side):
    """As the decoder of records gives them to a network of that size."""
    encoded = [tf.io.encode_png(one) for one in values]
    return to_unit(tf.stack([decode_to_size(one, side) for one in encoded]))


@pytest.mark.parametrize(
    ("combine", "offset", "large", "small"),
    [("mean", 0.0, 0.5, 0.5), ("weighted", 0.0, 0.75, 0.25), ("logistic", -0.4, 1.7, 0.3)],
)
def test_score_is_the_weighted_sum_of_mapped_scores(combine, offset, large, small):
    detector = ensemble(combine, offset, large=large, small=small)
    values, images = pictures()
    ours, theirs = (member.detector for member in detector.members)
    log_odds = 0.7 * np.asarray(ours.score(images), "float64") - 2.0
    z_scores = (np.asarray(theirs.score(decoded(values, SMALL)), "float64") - 0.3) / 0.02
    expected = offset + large * log_odds + small * z_scores
    np.testing.assert_allclose(detector.score(images), expected, rtol=0, atol=1e-4)


def test_a_smaller_member_sees_what_the_decoder_would_give_it():
    values, images = pictures()
    found = ensemble().members[1].resized(images)
    np.testing.assert_array_equal(found, decoded(values, SMALL))


def test_a_member_of_the_ensembles_size_sees_the_images_themselves():
    _, images = pictures()
    assert ensemble().members[0].resized(images) is images


def test_a_member_of_weight_0_is_not_run(monkeypatch):
    detector = ensemble("logistic", large=0.5, small=0.0)
    monkeypatch.setattr(detector.members[1].detector, "score", None)
    monkeypatch.setattr(detector.members[1].detector, "explain", None)
    _, images = pictures()
    expected = 0.5 * detector.members[0].score(images)
    np.testing.assert_array_equal(detector.score(images), expected)
    assert detector.explain(images).shape == (4, SIDE, SIDE)
    assert detector.score_is_logit


@pytest.mark.parametrize(
    ("combine", "small", "expected"),
    [("mean", 0.5, False), ("weighted", 0.0, True), ("logistic", 0.5, True)],
)
def test_only_log_odds_add_up_to_log_odds(combine, small, expected):
    assert ensemble(combine, large=0.5, small=small).score_is_logit is expected


@pytest.mark.parametrize("large", [0.75, -0.75])
def test_explanation_is_the_maps_weighed_by_what_the_members_add(large):
    worst = {"kind": "z_score", "median": 0.0, "spread": 0.02}  # no error is below 0
    members = [LARGE_MEMBER, SMALL_MEMBER | {"score_map": worst}]
    detector = build_detector(EnsembleDetector(combine="weighted", members=members))
    _, images = pictures()
    # One member calls everything fake, or real: then its map is of no matter.
    detector.members[0].detector.head.bias.assign([30.0 * np.sign(large)])
    log_odds, z_scores = (np.asarray(member.score(images)) for member in detector.members)
    assert z_scores.min() > 0
    added = np.maximum(0.75 * log_odds, 0)[:, None, None], 0.25 * z_scores[:, None, None]
    assert (added[0].min() > 0) == (large > 0)
    own = np.asarray(detector.members[0].detector.explain(images))
    other = np.asarray(detector.members[1].detector.explain(detector.members[1].resized(images)))
    # The map of a coarse network, scaled up, peaks below 1.
    own = own / own.max(axis=(1, 2), keepdims=True)
    # Half-pixel centres, as Keras: twice the size without any filter.
    centres = (np.arange(SIDE) + 0.5) / 2 - 0.5
    rows = np.clip(centres, 0, SMALL - 1)
    low = np.floor(rows).astype(int)
    high, share = np.minimum(low + 1, SMALL - 1), rows - low
    matrix = np.zeros((SIDE, SMALL))
    np.add.at(matrix, (np.arange(SIDE), low), 1 - share)
    np.add.at(matrix, (np.arange(SIDE), high), share)
    mixed = added[0] * own + added[1] * np.einsum("ij,bjk,lk->bil", matrix, other, matrix)
    expected = mixed / mixed.max(axis=(1, 2), keepdims=True)
    found = np.asarray(detector.explain(images))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(found.max(axis=(1, 2)), 1.0, atol=1e-6)


def test_embedding_is_the_members_each_of_length_1():
    detector = ensemble("weighted", large=0.5, small=0.5)
    _, images = pictures()
    parts = [m.detector.embed(m.resized(images)) for m in detector.members]
    parts = [np.asarray(part) for part in parts]
    expected = [part / np.linalg.norm(part, axis=1, keepdims=True) for part in parts]
    np.testing.assert_allclose(detector.embed(images), np.hstack(expected), atol=1e-5)


def test_isotonic_map_in_the_graph_is_that_of_the_calibration():
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 150)
    fitted_on = (random.normal(0, 0.01, 300) + 0.004 * labels + 0.2).astype("float32")
    fitted = fit_probability("isotonic", fitted_on, labels, are_logits=False)
    assert len(fitted.knots) > 10
    everywhere = np.linspace(0.1, 0.3, 1000).astype("float32")
    for scores in (fitted_on, everywhere, np.float32([-9.0, 9.0])):
        found = np.asarray(interpolated(keras.ops.convert_to_tensor(scores), fitted.knots))
        np.testing.assert_allclose(found, fitted.apply(scores), rtol=0, atol=1e-5)


@pytest.mark.parametrize("knots", [KNOTS, KNOTS[:1], ((0.0, 0.1), (1e-44, 0.9))])
def test_steps_and_single_knots_are_interpolated(knots):
    probability = Probability(method="isotonic", knots=knots)
    scores = np.float32([-1, -0.5, 0, 0.099, 0.1001, 1, 2, 3])
    found = np.asarray(interpolated(keras.ops.convert_to_tensor(scores), knots))
    close = scores != 0  # where the third case has its step
    np.testing.assert_allclose(found[close], probability.apply(scores)[close], atol=1e-3)
    assert np.isfinite(found).all()


def test_isotonic_log_odds_are_bounded_by_the_number_of_images():
    score_map = IsotonicLogOdds(knots=KNOTS, num_images=8)
    scores = keras.ops.convert_to_tensor(np.float32([-9.0, 9.0, 1.05]))
    found = np.asarray(common_scale(scores, score_map))
    np.testing.assert_allclose(found, np.log([1 / 9, 9, 0.85 / 0.15]), atol=1e-5)


def test_linear_maps():
    scores = np.float32([0.0100001, 0.0101, 0.02])
    tensor = keras.ops.convert_to_tensor(scores)
    found = common_scale(tensor, LogOdds(slope=3.0, offset=-1.0))
    np.testing.assert_allclose(found, 3.0 * scores - 1.0, atol=1e-6)
    found = common_scale(tensor, RobustZScore(median=0.01, spread=1e-4))
    expected = (scores.astype("float64") - np.float32(0.01)) / 1e-4
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_numbers_of_domains_and_caveats_reach_the_members():
    member = LARGE_MEMBER | {
        "name": "two domains",
        "num_domains": 2,
        "detector": {"name": "dann", "image_size": SIDE, "backbone": "resnet32", "weights": "none"},
    }
    vanilla = LARGE_MEMBER | {"name": "faces", "detector": {"name": "gan", "mode": "vanilla"}}
    settings = EnsembleDetector(combine="mean", members=[member, vanilla])
    assert settings.image_size == 64
    detector = build_detector(settings)
    assert isinstance(detector, Ensemble)
    assert detector.members[0].detector.num_domains == 2
    (caveat,) = detector.members[1].detector.caveats
    assert detector.caveats == (f"faces: {caveat}",)


@pytest.mark.parametrize(
    "changes",
    [
        {"members": [LARGE_MEMBER]},
        {"members": [LARGE_MEMBER, LARGE_MEMBER]},
        {"members": [LARGE_MEMBER | {"weight": 0}, SMALL_MEMBER | {"weight": 0}]},
        {"members": [LARGE_MEMBER, SMALL_MEMBER | {"weight": -1}]},
        {"members": [LARGE_MEMBER, SMALL_MEMBER | {"detector": {"name": "ensemble"}}]},
        {"phases": [{"name": "all", "epochs": 1, "learning_rate": 1}]},
    ],
)
def test_impossible_configurations_are_refused(changes):
    good = {"combine": "mean", "members": [LARGE_MEMBER, SMALL_MEMBER]}
    assert EnsembleDetector.model_validate(good).phases == ()
    with pytest.raises(ValidationError):
        EnsembleDetector.model_validate(good | changes)


def test_the_input_is_the_largest_members():
    detector = ensemble()
    assert detector.image_size == SIDE
    kinds = [type(member.settings.detector) for member in detector.members]
    assert kinds == [SpatialDetector, ResidualAutoencoderDetector]
