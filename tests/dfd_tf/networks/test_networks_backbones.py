import sys

import keras
import numpy as np
import pytest

from dfd_tf.networks.backbones import KERAS_NETWORKS, Backbone, backbone_names, preprocessing_of
from dfd_tf.networks.batch_normalization import BatchNormalization
from pipelines.errors import InputError

OFFLINE = "URL fetch failure on https://storage.googleapis.com/x: None -- [Errno -3] no name\nmore"


def images(size=32, count=2, seed=0):
    return np.random.default_rng(seed).uniform(0, 1, (count, size, size, 3)).astype("float32")


def test_every_classification_network_of_keras_has_a_name():
    expected = {
        name.lower()
        for name, item in vars(keras.applications).items()
        if callable(item) and name[0].isupper()
    }
    assert set(KERAS_NETWORKS) == expected
    assert len(expected) > 30


@pytest.mark.parametrize("name", sorted(KERAS_NETWORKS))
def test_preprocessing_is_that_of_keras(name):
    reference = sys.modules[KERAS_NETWORKS[name].__module__].preprocess_input
    batch = images(4)
    expected = reference(batch * 255.0)
    np.testing.assert_allclose(
        preprocessing_of(name, "imagenet").apply(batch), expected, rtol=1e-4, atol=1e-4
    )


def test_squeezenet_wants_caffe_pixels_only_with_trained_weights():
    batch = images(4)
    caffe = batch[..., ::-1] * 255.0 - np.array([104.006, 116.669, 122.679])
    trained = preprocessing_of("squeezenet", "some_file.h5").apply(batch)
    np.testing.assert_allclose(trained, caffe, rtol=1e-4, atol=1e-4)
    random = preprocessing_of("squeezenet", "none").apply(batch)
    np.testing.assert_allclose(random, batch * 2 - 1, atol=1e-6)


def test_unknown_network_is_refused_with_the_known_ones():
    with pytest.raises(
        InputError, match=r"backbone: unknown network 'resnet5'; known: .*resnet50,"
    ):
        Backbone("resnet5", 32)
    assert {"resnet32", "squeezenet", "resnet50", "efficientnetv2b0"} <= set(backbone_names())


@pytest.mark.parametrize("name", ["xception", "squeezenet"])
def test_too_small_images_are_refused(name):
    with pytest.raises(InputError, match=f"{name} cannot take images of 16 pixels"):
        Backbone(name, 16)


def test_keras_network_is_the_same_function_with_fused_normalization(monkeypatch, tmp_path):
    """EfficientNet v1: `imagenet` adds a layer that `weights=None` leaves out."""
    batch = images()
    plain = KERAS_NETWORKS["efficientnetb0"](
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    randomize_statistics(plain)
    plain.save_weights(tmp_path / "b0.weights.h5")
    # Keras would download a file here; it gets ours.
    monkeypatch.setattr(
        "keras.src.utils.file_utils.get_file", lambda *_, **__: str(tmp_path / "b0.weights.h5")
    )
    reference = KERAS_NETWORKS["efficientnetb0"](
        include_top=False, weights="imagenet", input_shape=(32, 32, 3)
    )
    expected = reference(batch * 255.0, training=False)
    assert float(np.std(expected)) > 0

    downloaded = Backbone("efficientnetb0", 32, "imagenet")
    downloaded.load_initial_weights()
    np.testing.assert_allclose(downloaded(batch), expected, rtol=1e-3, atol=1e-4)

    from_file = Backbone("efficientnetb0", 32, str(tmp_path / "b0.weights.h5"))
    from_file.load_initial_weights()
    np.testing.assert_array_equal(from_file(batch), downloaded(batch))

    kinds = {type(x) for x in downloaded.network.layers if "BatchNorm" in type(x).__name__}
    assert kinds == {BatchNormalization}


def randomize_statistics(model):
    random = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization | keras.layers.Normalization):
            for weight in layer.weights:
                if weight.dtype == "float32":
                    weight.assign(random.uniform(0.5, 1.5, weight.shape))


def test_missing_imagenet_weights_offline_name_the_choices(monkeypatch):
    def fail(*args, **kwargs):
        raise Exception(OFFLINE)  # Keras raises the bare class.

    monkeypatch.setattr("keras.src.utils.file_utils.get_file", fail)
    backbone = Backbone("mobilenetv3small", 32, "imagenet")  # Building needs no download.
    with pytest.raises(
        InputError, match=r"mobilenetv3small could not be had \(URL fetch"
    ) as caught:
        backbone.load_initial_weights()
    message = str(caught.value)
    assert "weights: FILE" in message
    assert "weights: none" in message
    assert "\n" not in message


@pytest.mark.parametrize("name", ["resnet32", "squeezenet"])
def test_imagenet_weights_that_nobody_hosts(name):
    with pytest.raises(InputError, match="cannot be downloaded; choose `weights: FILE`"):
        Backbone(name, 32, "imagenet").load_initial_weights()


def test_preprocessing_stays_in_float32_under_mixed_precision():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        backbone = Backbone("mobilenetv3small", 32)
        rescaling = [x for x in backbone.network.layers if isinstance(x, keras.layers.Rescaling)]
        assert [layer.compute_dtype for layer in rescaling] == ["float32"]
        assert backbone(images()).dtype == "float16"
    finally:
        keras.config.set_dtype_policy(before)


def test_config_round_trip():
    backbone = Backbone("resnet32", 32)
    clone = Backbone.from_config(backbone.get_config())
    assert clone.get_config() == backbone.get_config()
    assert clone.num_channels == 64
