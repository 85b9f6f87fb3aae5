"""Maps, latents and reconstructions of a loaded run: of each image alone, whatever the batch."""

from dataclasses import replace

import numpy as np
import pytest

from dfd_tf.config.detectors import ResidualAutoencoderDetector
from dfd_tf.detectors.base import to_unit
from dfd_tf.detectors.registry import build_detector
from pipelines.errors import ModelFileError


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)


@pytest.fixture(scope="module")
def autoencoder(predictor):
    """A predictor of an untrained autoencoder, with batches of four."""
    config = ResidualAutoencoderDetector(image_size=32, widths=(4, 6), latent=5)
    return replace(predictor, detector=build_detector(config), batch_size=4)


@pytest.mark.parametrize("method", ["explain", "embed", "reconstruct"])
def test_a_result_depends_on_neither_place_nor_neighbours(autoencoder, images, method):
    ask = getattr(autoencoder, method)
    together = ask(images)
    own = getattr(autoencoder.detector, method)(to_unit(images))
    np.testing.assert_allclose(together, own, atol=1e-4)
    assert together.dtype == np.float32
    assert together.shape == own.shape
    for place in (0, 4):
        np.testing.assert_array_equal(ask(images[place : place + 1])[0], together[place])
    assert ask(images[:0]).shape == (0, *own.shape[1:])


def test_maps_and_reconstructions_are_pictures(predictor, autoencoder, images):
    small = replace(predictor, batch_size=4)
    for maps in (small.explain(images), autoencoder.explain(images)):
        assert maps.shape == images.shape[:3]
        assert maps.min() >= 0
        assert maps.max() <= 1
    assert autoencoder.reconstruct(images).shape == images.shape
    assert small.reconstruct(images) is None
    assert small.embed(images).shape == (5, 64)


def test_reconstructions_out_of_range_are_clipped(autoencoder, images, monkeypatch):
    monkeypatch.setattr(autoencoder.detector, "reconstruct", lambda images: images * 3 - 1)
    found = replace(autoencoder, batch_size=2).reconstruct(images)
    np.testing.assert_allclose(found, np.clip(images / 255 * 3 - 1, 0, 1), atol=1e-6)


def test_what_is_not_finite_is_refused(autoencoder, images):
    broken = replace(autoencoder, detector=build_detector(autoencoder.experiment.detector))
    broken.detector.head.kernel.assign(np.full(broken.detector.head.kernel.shape, np.nan))
    with pytest.raises(ModelFileError, match="a score that is not finite"):
        broken.score(images)
    with pytest.raises(ModelFileError, match="a map that is not finite"):
        broken.explain(images)
