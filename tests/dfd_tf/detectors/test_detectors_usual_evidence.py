"""Maps above what real faces have: the numbers, and that a planted fault is found."""

import numpy as np
import pytest

from dfd_tf.config.detectors import DaeDetector, ResidualAutoencoderDetector
from dfd_tf.detectors.registry import build_detector
from dfd_tf.detectors.usual_evidence import MOST_IMAGES, UsualEvidence

SIZE = 32


def test_deviations_above_the_median_by_hand():
    layer = UsualEvidence(2)
    layer.fit([np.array([[[1, 5], [0, 2]], [[2, 5], [0, 4]]]), np.array([[[6, 5], [0, 6]]])])
    np.testing.assert_array_equal(layer.median, [[2, 5], [0, 4]])
    # Deviations 1, 0, 4 and 2, 0, 2; those that never vary get a thousandth of the mean 0.75.
    np.testing.assert_allclose(layer.spread, [[1, 0.00075], [0.00075, 2]], rtol=1e-6)
    found = np.asarray(layer(np.array([[[4, 5], [0, 3]]], "float32")))
    np.testing.assert_allclose(found, [[[2, 0], [0, 0]]], atol=1e-6)


def test_without_faces_nothing_is_usual():
    layer = UsualEvidence(2)
    layer.fit([])
    evidence = np.array([[[0.5, 0.0], [2.0, -1.0]]], "float32")
    np.testing.assert_array_equal(layer(evidence), np.maximum(evidence, 0))
    layer.fit([np.ones((3, 2, 2))])  # nothing varies at all
    np.testing.assert_array_equal(layer(evidence + 1), np.maximum(evidence, 0))


def test_no_more_faces_are_read_than_a_median_needs():
    read = []

    def batches():
        for number in range(MOST_IMAGES):
            read.append(number)
            yield np.full((100, 2, 2), float(number))

    layer = UsualEvidence(2)
    layer.fit(batches())
    assert len(read) == -(-MOST_IMAGES // 100)
    expected = np.median(np.arange(MOST_IMAGES) // 100)
    np.testing.assert_array_equal(layer.median, np.full((2, 2), expected))


@pytest.mark.parametrize(
    "settings",
    [
        DaeDetector(image_size=SIZE, widths=(4, 6), latent=5, perceptual_weights="none", patch=8),
        ResidualAutoencoderDetector(image_size=SIZE, widths=(4, 6), latent=5, patch=8),
    ],
    ids=lambda settings: settings.name,
)
def test_what_every_face_has_is_not_shown_and_a_planted_fault_is(settings):
    """Every face has a corner the network rebuilds worst; one has a fault as well."""
    detector = build_detector(settings)
    random = np.random.default_rng(5)
    faces = random.uniform(0.4, 0.6, (40, SIZE, SIZE, 3)).astype("float32")
    faces[:, :8, :8] = random.uniform(0.9, 1.0, (40, 8, 8, 3))
    faulty = faces[:1].copy()
    faulty[:, 18:26, 18:26] = random.uniform(0.75, 0.85, (1, 8, 8, 3))

    def highest(images):
        found = np.asarray(detector.explain(images))[0]
        return np.unravel_index(found.argmax(), found.shape)

    assert max(highest(faulty)) < 12  # in the corner, before real faces are known
    detector.fit_score([np.round(faces * 255).astype("uint8")])
    assert all(14 <= place < 30 for place in highest(faulty))
