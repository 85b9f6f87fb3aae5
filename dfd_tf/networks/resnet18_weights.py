"""Weights for ResNet18: from a user's file, or ImageNet's through keras-hub.

Every source is turned into one form, arrays under torchvision's keys in PyTorch's axis order
(timm's keys are the same), and from there into the network. A file is recognised by its first
bytes: PyTorch zip, safetensors, or HDF5 as `save_weights` of keras-hub's `ResNetBackbone` (or of
`resnet18` here) writes it. The weights want images standardised by ImageNet's mean and deviation.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

from dfd_tf.networks.resnet18 import BLOCKS_PER_STAGE, STAGE_WIDTHS
from dfd_tf.networks.safetensors_file import read_safetensors
from dfd_tf.networks.torch_file import read_torch_file
from dfd_tf.networks.weight_files import refuse_unsafe
from pipelines.errors import InputError, ModelFileError, printable

PRESET = "resnet_18_imagenet"
MAX_FILE_BYTES = 256 * 2**20  # The whole network takes 47 MB, 94 MB in double precision.
LARGEST_ARRAY = 3 * 3 * 512 * 512

# In Keras's order; other layers have the first one or two of them.
_NORMALIZATION_ARRAYS = ("weight", "bias", "running_mean", "running_var")


def load_resnet18_weights(network: keras.Model, source: str, option: str) -> None:
    """Sets all weights of a network of `dfd_tf.networks.resnet18`, whole or cut short.

    Args:
        network: Its layers bear torchvision's names.
        source: `imagenet` or the path of a file; parts the network lacks are left out.
        option: Configuration key that names the source, for messages.

    Raises:
        InputError: The weights cannot be had, or are not ResNet18's.
        ModelFileError: The file is damaged or was refused as unsafe.
    """
    arrays = _keras_hub_arrays(option) if source == "imagenet" else _file_arrays(Path(source))
    label = option if source == "imagenet" else printable(source)
    foreign = sorted(set(arrays) - _known_keys())
    if foreign:
        raise InputError(f"{label}: holds {printable(foreign[0])}, which is no part of ResNet18")
    pairs = [pair for layer in network.layers for pair in _layer_values(layer, arrays, label)]
    for weight, value in pairs:
        weight.assign(value)


def _known_keys() -> frozenset[str]:
    normalizations = [keys for _, keys in _normalization_keys()]
    return frozenset(
        {
            *(key for _, keys in _convolution_keys() for key in keys),
            *(key for keys in normalizations for key in keys),
            *(f"{keys[0].removesuffix('weight')}num_batches_tracked" for keys in normalizations),
            "fc.weight",
            "fc.bias",
        }
    )


def _convolution_keys() -> Iterator[tuple[str, list[str]]]:
    """Yields keras-hub's name and torchvision's keys of each convolution, in Keras's file order."""
    yield "conv1_conv", ["conv1.weight"]
    for block, keras_block, projects in _blocks():
        yield f"{keras_block}_1_conv", [f"{block}.conv1.weight"]
        if projects:
            yield f"{keras_block}_0_conv", [f"{block}.downsample.0.weight"]
        yield f"{keras_block}_2_conv", [f"{block}.conv2.weight"]


def _normalization_keys() -> Iterator[tuple[str, list[str]]]:
    """Yields the same of each batch normalisation."""
    names = [("conv1_bn", "bn1")]
    for block, keras_block, projects in _blocks():
        names.append((f"{keras_block}_1_bn", f"{block}.bn1"))
        if projects:
            names.append((f"{keras_block}_0_bn", f"{block}.downsample.1"))
        names.append((f"{keras_block}_2_bn", f"{block}.bn2"))
    for keras_name, name in names:
        yield keras_name, [f"{name}.{array}" for array in _NORMALIZATION_ARRAYS]


def _blocks() -> Iterator[tuple[str, str, bool]]:
    for stage in range(len(STAGE_WIDTHS)):
        for block in range(BLOCKS_PER_STAGE):
            projects = stage > 0 and block == 0
            yield f"layer{stage + 1}.{block}", f"stack{stage}_block{block}", projects


def _file_arrays(path: Path) -> Mapping[str, np.ndarray]:
    label = printable(str(path))
    try:
        if not path.is_file():
            raise InputError(f"{label}: no such weights file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ModelFileError(f"{label}: refused, larger than {MAX_FILE_BYTES >> 20} MiB")
        with path.open("rb") as file:
            start = file.read(9)
        if start[:4] == b"PK\x03\x04":
            return read_torch_file(path)
        if start[:8] == b"\x89HDF\r\n\x1a\n":
            return _hdf5_arrays(path, label)
        if start[8:] == b"{":
            return read_safetensors(path)
    except OSError as error:
        raise ModelFileError(f"{label}: cannot be read ({error})") from error
    raise ModelFileError(
        f"{label}: neither a PyTorch zip, safetensors nor HDF5 file; what PyTorch before 1.6 wrote "
        "must be saved anew: torch.save(torch.load(FILE, weights_only=True), NEW)"
    )


def _hdf5_arrays(path: Path, label: str) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    try:
        with h5py.File(path, "r") as file:
            num_arrays = sum(len(keys) for _, keys in _normalization_keys()) + 20
            refuse_unsafe(file, label, "ResNet18", LARGEST_ARRAY, num_arrays)
            # The groups bear class names and numbers only, `conv2d`, `conv2d_1`, ..., in the order
            # of the network's layers.
            for kind, expected in (
                ("conv2d", [keys for _, keys in _convolution_keys()]),
                ("batch_normalization", [keys for _, keys in _normalization_keys()]),
            ):
                found = sum(name.startswith(kind) for name in file["layers"])
                if found != len(expected):
                    raise InputError(
                        f"{label}: has {found} layers of the kind {kind}, ResNet18 {len(expected)}"
                    )
                for number, keys in enumerate(expected):
                    group = file[f"layers/{kind}_{number}" if number else f"layers/{kind}"]["vars"]
                    for index, key in enumerate(keys):
                        arrays[key] = _to_torch(group[str(index)][()])
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise ModelFileError(
            f"{label}: not the Keras 3 weights file of a ResNet18 without its top ({error})"
        ) from error
    return arrays


def _keras_hub_arrays(option: str) -> dict[str, np.ndarray]:
    choices = f"or choose `{option.rpartition('.')[2]}: FILE` (torchvision, timm or keras-hub) or "
    choices += "`none` (random)"
    try:
        keras_hub: Any = import_module("keras_hub")
    except ImportError as error:
        raise InputError(
            f"{option}: ImageNet weights of ResNet18 come through keras-hub, which cannot be "
            f"imported ({error}): pip install dfd-tf[keras-hub], {choices}"
        ) from error
    try:
        backbone = keras_hub.models.ResNetBackbone.from_preset(PRESET, dtype="float32")
    # Kaggle's, Hugging Face's and the operating system's errors have no common base.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"{option}: keras-hub cannot get {PRESET} ({reason}); connect once, {choices}"
        ) from error
    return {
        key: _to_torch(np.asarray(value))
        for keras_name, keys in (*_convolution_keys(), *_normalization_keys())
        for key, value in zip(keys, backbone.get_layer(keras_name).get_weights(), strict=True)
    }


def _to_torch(array: np.ndarray) -> np.ndarray:
    return array.transpose(3, 2, 0, 1) if array.ndim == 4 else array


def _layer_values(
    layer: keras.layers.Layer, arrays: Mapping[str, np.ndarray], label: str
) -> Iterator[tuple[keras.Variable, np.ndarray]]:
    """Yields a layer's weights and their new values, checked and in Keras's order of axes."""
    # One array: a convolution; four: a batch normalisation; two: the classifier.
    names = _NORMALIZATION_ARRAYS[: len(layer.weights)]
    for weight, name in zip(layer.weights, names, strict=True):
        key = f"{layer.name.replace('_', '.')}.{name}"
        if key not in arrays:
            raise InputError(f"{label}: {key} is missing, so these are not ResNet18's weights")
        value = np.asarray(arrays[key], "float32")
        # Convolutions are (out, in, height, width) in PyTorch, the classifier is (out, in).
        value = value.transpose(2, 3, 1, 0) if value.ndim == 4 else value.T
        if value.shape != tuple(weight.shape):
            raise InputError(
                f"{label}: {key} is {value.shape} in Keras's order of axes, ResNet18 expects "
                f"{tuple(weight.shape)}"
            )
        if not np.isfinite(value).all() or (name == "running_var" and (value < 0).any()):
            raise ModelFileError(f"{label}: {key} holds values no trained network has")
        yield weight, value
