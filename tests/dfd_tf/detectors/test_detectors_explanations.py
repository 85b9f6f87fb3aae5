"""Sanity checks of explanation maps (Adebayo et al. 2018, arXiv:1810.03292), for every detector.

A map that does not change with the weights, or from image to image, explains nothing: it would be
an edge detector, or a picture of where faces are.
"""

import cv2
import keras
import numpy as np
import pytest

from dfd_tf.config.detectors import (
    DaeDetector,
    DannDetector,
    EnsembleDetector,
    EnsembleMember,
    GanDetector,
    Phase,
    ResidualAutoencoderDetector,
    SpatialDetector,
)
from dfd_tf.config.score_maps import LogOdds, RobustZScore
from dfd_tf.detectors.registry import DETECTORS, build_detector
from dfd_tf.evaluation.pointing_game import rank_correlations

SIZE = 32
# ResNet32 keeps 8 x 8 locations of 32 pixels.
SMALL = {
    "dae": DaeDetector(image_size=SIZE, widths=(4, 6), latent=5, perceptual_weights="none"),
    "dann": DannDetector(image_size=SIZE, backbone="resnet32", weights="none"),
    "gan": GanDetector(image_size=SIZE, generator_width=8, latent=6),
    "residual_ae": ResidualAutoencoderDetector(image_size=SIZE, widths=(4, 6), latent=5, patch=8),
    "spatial": SpatialDetector(image_size=SIZE, backbone="resnet32", weights="none"),
}
SMALL["ensemble"] = EnsembleDetector(
    combine="weighted",
    members=tuple(
        EnsembleMember(name=name, detector=SMALL[name], score_map=score_map, weight=0.5)
        for name, score_map in (
            ("spatial", LogOdds(slope=1.0, offset=0.0)),
            ("residual_ae", RobustZScore(median=0.0, spread=0.5)),
        )
    ),
)
STEPS = {"dae": 15, "residual_ae": 60}
PHASE = Phase(name="all", epochs=1, learning_rate=1e-2)


@pytest.fixture(scope="module")
def faces(plain_faces):
    """(24, 32, 32, 3) float32 in [0, 1]."""
    small = [cv2.resize(f, (SIZE, SIZE), interpolation=cv2.INTER_AREA) for f in plain_faces[:24]]
    return np.stack(small).astype("float32") / 255


@pytest.fixture(scope="module")
def autoencoders(faces):
    """Trained ones: untrained they all draw the same grey, and so do their errors."""
    trained = {}
    for name, steps in STEPS.items():
        detector = build(name)
        detector.begin_phase(PHASE)
        detector.compile_phase(lambda: keras.optimizers.AdamW(PHASE.learning_rate))
        targets = {"label": np.zeros(8, "int32"), "domain": np.zeros(8, "int32")}
        detector.fit(faces[:8], targets, epochs=steps, batch_size=8, verbose=0)
        trained[name] = detector
    return trained


def build(name, seed=7):
    keras.utils.set_random_seed(seed)
    return build_detector(SMALL[name])


def working(name, autoencoders):
    if name in autoencoders:
        return autoencoders[name]
    detector = build(name)
    if name == "ensemble":
        weights = autoencoders["residual_ae"].get_weights()
        detector.members[1].detector.set_weights(weights)
    return detector


def test_every_detector_has_a_small_config_here():
    assert set(SMALL) == set(DETECTORS)


@pytest.mark.parametrize("name", sorted(DETECTORS))
def test_maps_change_with_weights_and_image_and_are_empty_without_evidence(
    name, faces, autoencoders
):
    maps = np.asarray(working(name, autoencoders).explain(faces))
    other = build(name, seed=8)
    with_weights = rank_correlations(maps, np.asarray(other.explain(faces)))
    assert len(with_weights) >= 4  # of the other faces one of the two has no evidence
    assert with_weights.mean() < 0.9
    maps = maps[maps.any(axis=(1, 2))]
    between_images = rank_correlations(maps, np.roll(maps, 1, axis=0))
    assert between_images.mean() < 0.9
    # Without weights every logit is 0, and every autoencoder draws grey: there is no evidence.
    for weight in other.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    grey = np.full_like(faces[:2], 0.5)
    np.testing.assert_array_equal(other.explain(grey), np.zeros((2, SIZE, SIZE)))


def test_a_map_of_edges_would_fail(faces):
    edges = np.stack([np.abs(cv2.Laplacian(face.mean(-1), cv2.CV_32F)) for face in faces])
    assert rank_correlations(edges, edges).mean() > 0.9
