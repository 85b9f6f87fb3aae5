"""ResNet18 against a plain NumPy one, and its weights out of every kind of file."""

import sys
import types
from math import prod

import h5py
import keras
import numpy as np
import pytest
from torch_files import write_safetensors, write_torch

from dfd_tf.networks.backbones import Backbone
from dfd_tf.networks.resnet18 import resnet18, resnet18_stages
from dfd_tf.networks.resnet18_weights import load_resnet18_weights
from pipelines.errors import InputError, ModelFileError

WIDTHS = (64, 128, 256, 512)
NUM_OUTPUTS = 10


def torchvision_state(num_stages, num_outputs=None, seed=0):
    """Random weights in torchvision's layout; the scales keep features of order one."""
    random = np.random.default_rng(seed)
    state = {}

    def convolution(name, outputs, inputs, kernel):
        shape = (outputs, inputs, kernel, kernel)
        scale = np.sqrt(2 / prod(shape[1:]))
        state[f"{name}.weight"] = (random.standard_normal(shape, "float32") * scale).astype("f4")

    def normalization(name, width):
        state[f"{name}.weight"] = random.uniform(0.5, 1.5, width).astype("f4")
        state[f"{name}.bias"] = random.uniform(-0.5, 0.5, width).astype("f4")
        state[f"{name}.running_mean"] = random.uniform(-0.5, 0.5, width).astype("f4")
        state[f"{name}.running_var"] = random.uniform(0.5, 2, width).astype("f4")
        state[f"{name}.num_batches_tracked"] = np.array(7, "int64")

    convolution("conv1", 64, 3, 7)
    normalization("bn1", 64)
    for stage, width in enumerate(WIDTHS[:num_stages], 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            inputs = width // 2 if stage > 1 and block == 0 else width
            convolution(f"{name}.conv1", width, inputs, 3)
            normalization(f"{name}.bn1", width)
            convolution(f"{name}.conv2", width, width, 3)
            normalization(f"{name}.bn2", width)
            if inputs != width:
                convolution(f"{name}.downsample.0", width, inputs, 1)
                normalization(f"{name}.downsample.1", width)
    if num_outputs is not None:
        state["fc.weight"] = random.standard_normal((num_outputs, 512), "float32") * 0.05
        state["fc.bias"] = random.standard_normal(num_outputs, "float32")
    return state


def numpy_windows(x, kernel, stride, padding, value):
    """(n, c, h, w) -> (n, c, h', w', kernel, kernel) of the padded array."""
    edges = ((0, 0), (0, 0), (padding, padding), (padding, padding))
    padded = np.pad(x, edges, constant_values=value)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), (2, 3))
    return windows[:, :, ::stride, ::stride]


def numpy_convolution(x, weight, stride, padding):
    windows = numpy_windows(x, weight.shape[-1], stride, padding, 0)
    return np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)


def numpy_resnet18(state, images):
    """Torchvision's ResNet18 in inference mode: float64 (n, 3, h, w) -> features after each stage,
    and the logits where the state has a classifier."""

    def convolution(x, name, stride, padding):
        return numpy_convolution(x, state[f"{name}.weight"].astype("f8"), stride, padding)

    def normalization(x, name):
        weight, bias, mean, variance = (
            state[f"{name}.{array}"].astype("f8")[:, None, None]
            for array in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias

    x = np.maximum(normalization(convolution(images, "conv1", 2, 3), "bn1"), 0)
    x = numpy_windows(x, 3, 2, 1, -np.inf).max((-2, -1))
    stages = []
    for stage in range(1, 5):
        for block in range(2):
            name = f"layer{stage}.{block}"
            if f"{name}.conv1.weight" not in state:
                return stages, None
            stride = 2 if stage > 1 and block == 0 else 1
            y = np.maximum(
                normalization(convolution(x, f"{name}.conv1", stride, 1), f"{name}.bn1"), 0
            )
            y = normalization(convolution(y, f"{name}.conv2", 1, 1), f"{name}.bn2")
            if stride == 2:
                x = normalization(
                    convolution(x, f"{name}.downsample.0", 2, 0), f"{name}.downsample.1"
                )
            x = np.maximum(x + y, 0)
        stages.append(x)
    logits = x.mean((2, 3)) @ state["fc.weight"].T.astype("f8") + state["fc.bias"]
    return stages, logits


def pixels(size=64, count=2):
    shape = (count, size, size, 3)
    return np.random.default_rng(1).uniform(-2, 2, shape).astype("float32")


@pytest.fixture(scope="module")
def state():
    return torchvision_state(4, NUM_OUTPUTS)


@pytest.fixture(scope="module")
def state_file(state, tmp_path_factory):
    return write_safetensors(tmp_path_factory.mktemp("weights") / "whole.safetensors", state)


@pytest.fixture(scope="module")
def short_state():
    return torchvision_state(3, seed=3)


@pytest.fixture(scope="module")
def stages():
    return resnet18_stages(64, 3)


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


def nhwc(array):
    return array.transpose(0, 2, 3, 1)


def trainable(network):
    return sum(prod(weight.shape) for weight in network.trainable_weights)


def test_parameter_counts_of_the_published_network(stages):
    assert trainable(resnet18(32, 1000)) == 11_689_512
    assert trainable(stages) == 2_782_784


@pytest.mark.parametrize("size", [64, 50])
def test_every_stage_gives_what_the_reference_gives(state, state_file, size):
    expected, logits = numpy_resnet18(state, pixels(size).transpose(0, 3, 1, 2).astype("f8"))
    network = resnet18_stages(size, 4)
    load_resnet18_weights(network, str(state_file), "weights")
    found = network(pixels(size), training=False)
    assert len(found) == 4
    for one, other in zip(found, expected, strict=True):
        close(one, nhwc(other))
    whole = resnet18(size, NUM_OUTPUTS)
    load_resnet18_weights(whole, str(state_file), "weights")
    close(whole(pixels(size), training=False), logits)


@pytest.mark.parametrize("form", ["zip", "safetensors", "half", "keras", "keras_hub"])
def test_every_form_gives_the_same_features(
    stages, short_state, state, tmp_path, monkeypatch, form
):
    used, source = short_state, tmp_path / "weights.bin"
    if form == "zip":
        write_torch(source, short_state)
    elif form == "safetensors":
        write_safetensors(source, short_state)
    elif form == "half":
        used = {key: value.astype("f2") for key, value in short_state.items()}
        write_safetensors(source, used)
    elif form == "keras":
        used, source = state, tmp_path / "kept.weights.h5"
        keras_hub_like(state).save_weights(source)
    else:
        used, source = state, "imagenet"
        presets = {("resnet_18_imagenet", "float32"): keras_hub_like(state)}
        install_keras_hub(monkeypatch, lambda preset, dtype: presets[preset, dtype])
    load_resnet18_weights(stages, str(source), "detector.weights")
    expected, _ = numpy_resnet18(used, pixels().transpose(0, 3, 1, 2).astype("f8"))
    for one, other in zip(stages(pixels(), training=False), expected[:3], strict=True):
        close(one, nhwc(other))


def keras_hub_like(state):
    """The layers keras-hub's ResNetBackbone has for ResNet18, by its names and in its topology."""
    layers = keras.layers
    inputs = keras.Input((None, None, 3))
    values = {}

    def convolution(x, name, key, stride=1):
        weight = state[f"{key}.weight"].transpose(2, 3, 1, 0)
        if stride == 2 and weight.shape[0] > 1:
            x = layers.ZeroPadding2D(weight.shape[0] // 2)(x)
        values[name] = [weight]
        padding = "valid" if stride == 2 else "same"
        return layers.Conv2D(
            weight.shape[-1], weight.shape[0], stride, padding, use_bias=False, name=name
        )(x)

    def normalization(x, name, key):
        arrays = ("weight", "bias", "running_mean", "running_var")
        values[name] = [state[f"{key}.{array}"] for array in arrays]
        return layers.BatchNormalization(epsilon=1e-5, momentum=0.9, name=name)(x)

    x = normalization(convolution(inputs, "conv1_conv", "conv1", 2), "conv1_bn", "bn1")
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(layers.Activation("relu")(x)))
    for stack in range(4):
        for block in range(2):
            name, key = f"stack{stack}_block{block}", f"layer{stack + 1}.{block}"
            stride = 2 if stack > 0 and block == 0 else 1
            shortcut = x
            if stride == 2:
                shortcut = convolution(x, f"{name}_0_conv", f"{key}.downsample.0", 2)
                shortcut = normalization(shortcut, f"{name}_0_bn", f"{key}.downsample.1")
            x = convolution(x, f"{name}_1_conv", f"{key}.conv1", stride)
            x = layers.Activation("relu")(normalization(x, f"{name}_1_bn", f"{key}.bn1"))
            x = convolution(x, f"{name}_2_conv", f"{key}.conv2")
            x = normalization(x, f"{name}_2_bn", f"{key}.bn2")
            x = layers.Activation("relu")(layers.Add()([shortcut, x]))
    model = keras.Model(inputs, x)
    for name, arrays in values.items():
        model.get_layer(name).set_weights(arrays)
    return model


def install_keras_hub(monkeypatch, from_preset):
    module = types.ModuleType("keras_hub")
    module.models = types.SimpleNamespace(
        ResNetBackbone=types.SimpleNamespace(from_preset=from_preset)
    )
    monkeypatch.setitem(sys.modules, "keras_hub", module)


def test_missing_keras_hub_names_the_extra_and_the_choices(stages, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras_hub", None)
    with pytest.raises(InputError, match=r"detector\.weights: .*pip install dfd-tf\[keras-hub\]"):
        load_resnet18_weights(stages, "imagenet", "detector.weights")


def test_preset_that_cannot_be_had(stages, monkeypatch):
    def from_preset(preset, dtype):
        raise ConnectionError("no route to host\nmore")

    install_keras_hub(monkeypatch, from_preset)
    with pytest.raises(InputError, match=r"resnet_18_imagenet \(no route to host\); connect once"):
        load_resnet18_weights(stages, "imagenet", "detector.weights")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layer1.2.conv1.weight": np.zeros(3, "f4")}, "layer1.2.conv1.weight, which is no part"),
        ({"bn1.bias": None}, "bn1.bias is missing"),
        ({"bn1.bias": np.zeros(32, "f4")}, r"bn1.bias is \(32,\).*expects \(64,\)"),
        ({"bn1.running_var": -np.ones(64, "f4")}, "bn1.running_var holds values no trained"),
        ({"bn1.weight": np.full(64, np.nan, "f4")}, "bn1.weight holds values no trained"),
    ],
)
def test_other_weights_are_refused_and_change_nothing(
    stages, short_state, tmp_path, change, message
):
    before = stages.get_weights()
    changed = {**short_state, **change}
    changed = {key: value for key, value in changed.items() if value is not None}
    path = write_safetensors(tmp_path / "w.safetensors", changed)
    with pytest.raises((InputError, ModelFileError), match=message):
        load_resnet18_weights(stages, str(path), "detector.weights")
    for old, new in zip(before, stages.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_files_that_are_no_weights(stages, tmp_path):
    with pytest.raises(InputError, match="no such weights file"):
        load_resnet18_weights(stages, str(tmp_path), "weights")
    text = tmp_path / "w.pth"
    text.write_bytes(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.")  # Starts PyTorch's old files.
    with pytest.raises(ModelFileError, match="before 1.6 wrote must be saved anew"):
        load_resnet18_weights(stages, str(text), "weights")
    keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3)]).save_weights(
        tmp_path / "other.weights.h5"
    )
    with pytest.raises(InputError, match="1 layers of the kind conv2d, ResNet18 20"):
        load_resnet18_weights(stages, str(tmp_path / "other.weights.h5"), "weights")
    with h5py.File(tmp_path / "linked.h5", "w") as file:
        file["layers"] = h5py.ExternalLink("elsewhere.h5", "/")
    with pytest.raises(ModelFileError, match="layers is a link"):
        load_resnet18_weights(stages, str(tmp_path / "linked.h5"), "weights")


def test_too_large_a_file_is_not_read(stages, tmp_path):
    with (tmp_path / "w.safetensors").open("wb") as file:
        file.truncate(256 * 2**20 + 1)
    with pytest.raises(ModelFileError, match="larger than 256 MiB"):
        load_resnet18_weights(stages, str(tmp_path / "w.safetensors"), "weights")


def test_backbone_standardises_and_loads(state, state_file):
    backbone = Backbone("resnet18", 64, str(state_file))
    backbone.load_initial_weights()
    images = np.random.default_rng(2).uniform(0, 1, (1, 64, 64, 3)).astype("float32")
    standardised = (images - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    expected, _ = numpy_resnet18(state, standardised.transpose(0, 3, 1, 2))
    close(backbone(images), nhwc(expected[-1]))


def test_number_of_stages_is_checked():
    with pytest.raises(ValueError, match="Received: 5"):
        resnet18_stages(32, 5)
