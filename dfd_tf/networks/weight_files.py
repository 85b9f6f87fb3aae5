"""Weights from a user's HDF5 file into a network built by code.

Two layouts are read: Keras 2's (`*_notop.h5`, arrays in the order of the layers) and Keras 3's
(`*.weights.h5`). A file is looked through before anything of it is read: links that leave it,
arrays stored elsewhere and arrays larger than the network's largest are refused, because HDF5
would follow them to any file of the machine or allocate what they declare.
"""

from collections.abc import Iterator
from math import prod
from pathlib import Path

import h5py
import keras

from pipelines.errors import InputError, ModelFileError, printable

# Groups and arrays a file may hold per array of the network: real files stay under 5.
OBJECTS_PER_ARRAY = 20


def load_weight_file(network: keras.Model, path: str | Path) -> None:
    """Sets all weights of a built functional network from a file.

    Args:
        network: Network whose arrays are replaced.
        path: HDF5 weights file.

    Raises:
        InputError: There is no such file, or its arrays are not those of the network.
        ModelFileError: The file is not an HDF5 weights file, or was refused as unsafe.
    """
    label = printable(str(path))
    if not Path(path).is_file():
        raise InputError(f"{label}: no such weights file")
    try:
        with h5py.File(path, "r") as file:
            largest = max(prod(weight.shape) for weight in network.weights)
            refuse_unsafe(file, label, network.name, largest, len(network.weights))
            if "layer_names" in file.attrs or "layer_names0" in file.attrs:
                _assign(network, _legacy_arrays(file), label)
                return
    except (OSError, KeyError, RuntimeError) as error:
        raise ModelFileError(f"{label}: not a readable HDF5 weights file ({error})") from error
    if not str(path).endswith(".weights.h5"):
        raise ModelFileError(
            f"{label}: neither a Keras 2 weights file (it has no `layer_names`) nor named "
            "*.weights.h5 as Keras 3 names them; whole saved models are not loaded"
        )
    try:
        network.load_weights(path)
    except (ValueError, KeyError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{label}: does not fit {network.name}: {reason}") from error


def refuse_unsafe(file: h5py.File, label: str, network: str, largest: int, num_arrays: int) -> None:
    """Looks a file through before anything of it is read.

    Args:
        file: Opened for reading.
        label: Its name, for messages.
        network: Name of the network it is meant for.
        largest: Number of values in the network's largest array.
        num_arrays: Number of arrays in the network.

    Raises:
        ModelFileError: The file is unsafe to read.
    """
    limit = OBJECTS_PER_ARRAY * num_arrays + 100
    for count, (name, item) in enumerate(_objects(file, label)):
        if count > limit:
            raise ModelFileError(f"{label}: refused, it holds more than {limit} groups and arrays")
        if not isinstance(item, h5py.Dataset):
            continue
        if item.external or item.is_virtual:
            raise ModelFileError(f"{label}: refused, {name} is stored in another file")
        if item.dtype.kind not in "fiu":
            raise ModelFileError(f"{label}: refused, {name} holds {item.dtype}, not numbers")
        if prod(item.shape) > largest:
            raise ModelFileError(
                f"{label}: refused, {name} has shape {item.shape}, larger than any array of "
                f"{network}"
            )


def _objects(file: h5py.File, label: str) -> Iterator[tuple[str, h5py.Group | h5py.Dataset]]:
    # visititems() neither reports nor follows soft and external links, so walk by hand.
    pending: list[h5py.Group] = [file]
    seen = set()
    while pending:
        group = pending.pop()
        for key in group:
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                raise ModelFileError(f"{label}: refused, {group.name}/{key} is a link")
            item = group[key]
            address = h5py.h5o.get_info(item.id).addr
            if address in seen:
                continue
            seen.add(address)
            yield item.name, item
            if isinstance(item, h5py.Group):
                pending.append(item)


def _legacy_arrays(file: h5py.File) -> list[h5py.Dataset]:
    return [
        file[layer][name]
        for layer in _names(file, "layer_names")
        for name in _names(file[layer], "weight_names")
    ]


def _names(group: h5py.Group, attribute: str) -> list[str]:
    # Keras cuts attributes over 64 KiB into `layer_names0`, `layer_names1`, ...
    chunks = [attribute] if attribute in group.attrs else []
    while f"{attribute}{len(chunks)}" in group.attrs:
        chunks.append(f"{attribute}{len(chunks)}")
    names = [name for chunk in chunks for name in group.attrs[chunk]]
    return [name.decode() if isinstance(name, bytes) else name for name in names]


def _assign(network: keras.Model, arrays: list[h5py.Dataset], label: str) -> None:
    weights = [weight for layer in network.layers for weight in layer.weights]
    if len(arrays) != len(weights):
        raise InputError(
            f"{label}: holds {len(arrays)} arrays, {network.name} without classifier has "
            f"{len(weights)}; give the weights of the same network without its top"
        )
    for weight, array in zip(weights, arrays, strict=True):
        if tuple(weight.shape) != array.shape:
            raise InputError(
                f"{label}: {array.name} has shape {array.shape}, {network.name} expects "
                f"{tuple(weight.shape)} for {weight.path}"
            )
    for weight, array in zip(weights, arrays, strict=True):
        weight.assign(array[()])
