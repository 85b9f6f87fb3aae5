"""Arrays of a `.pth` or `.pt` file that `torch.save` wrote of a state dict (PyTorch 1.6 or newer).

The file is an uncompressed zip: `NAME/data.pkl` describes the tensors, `NAME/data/KEY` holds the
bytes of each storage. Nothing here unpickles; `torch_pickle` reads the description.
"""

import zipfile
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np

from dfd_tf.networks.torch_pickle import RefusedError, Storage, Tensor, interpret
from pipelines.errors import ModelFileError, printable

MAX_PICKLE_BYTES = 2**20


def read_torch_file(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict; the caller has bounded the file's size.

    Raises:
        ModelFileError: The file is damaged, or holds anything but a flat dict of plain tensors.
    """
    label = printable(str(path))
    try:
        with zipfile.ZipFile(path) as archive:
            return dict(_arrays(archive, Path(path).stat().st_size))
    except RefusedError as error:
        raise ModelFileError(f"{label}: refused: {error}") from error
    # NotImplementedError of odd zip features is a RuntimeError, odd member names a ValueError.
    except (zipfile.BadZipFile, OSError, EOFError, RuntimeError, ValueError) as error:
        raise ModelFileError(f"{label}: not a readable PyTorch file ({error})") from error


def _arrays(archive: zipfile.ZipFile, size: int) -> Iterator[tuple[str, np.ndarray]]:
    for info in archive.infolist():
        if info.compress_type != zipfile.ZIP_STORED:
            name = printable(info.filename)
            raise RefusedError(f"its member {name} is compressed, PyTorch's are not")
    if sum(info.file_size for info in archive.infolist()) > size:
        raise RefusedError("its members take more bytes than the file")
    descriptions = [name for name in archive.namelist() if name.endswith("/data.pkl")]
    if len(descriptions) != 1:
        raise RefusedError(f"{len(descriptions)} members are called data.pkl, expected one")
    folder = descriptions[0].removesuffix("data.pkl")
    if f"{folder}byteorder" in archive.namelist():
        order = _content(archive, f"{folder}byteorder", limit=16)
        if order != b"little":
            raise RefusedError(f"its byte order is {order!r}, only b'little' is read")
    tensors = interpret(_content(archive, descriptions[0], limit=MAX_PICKLE_BYTES))
    if not isinstance(tensors, dict):
        raise RefusedError("it does not hold a state dict")
    storages: dict[Storage, np.ndarray] = {}
    for name, tensor in tensors.items():
        if not isinstance(tensor, Tensor):
            raise RefusedError(
                f"the entry {printable(name)} is not a tensor; save model.state_dict() alone"
            )
        storage = tensor.storage
        if storage not in storages:
            data = _content(archive, f"{folder}data/{storage.key}")
            if len(data) % storage.dtype.itemsize:
                raise RefusedError(f"storage {printable(storage.key)} ends within an element")
            storages[storage] = np.frombuffer(data, storage.dtype)
        yield name, _view(tensor, storages[storage], name)


def _content(archive: zipfile.ZipFile, name: str, limit: int | None = None) -> bytes:
    try:
        info = archive.getinfo(name)
    except KeyError:
        raise RefusedError(f"the member {printable(name)} is missing") from None
    if limit is not None and info.file_size > limit:
        raise RefusedError(f"the member {printable(name)} takes more than {limit} bytes")
    return archive.read(info)


def _view(tensor: Tensor, storage: np.ndarray, name: str) -> np.ndarray:
    numbers = (tensor.offset, *tensor.shape, *tensor.strides)
    if not all(type(number) is int and 0 <= number < 2**40 for number in numbers):
        raise RefusedError(f"place or shape of {printable(name)} are not natural numbers")
    if len(tensor.shape) != len(tensor.strides) or len(tensor.shape) > 8:
        raise RefusedError(f"shape and strides of {printable(name)} do not fit")
    count = prod(tensor.shape)
    last = tensor.offset + sum(
        (length - 1) * stride for length, stride in zip(tensor.shape, tensor.strides, strict=True)
    )
    # A stride of 0 would make a huge array of one number.
    if count and (last >= storage.size or count > storage.size):
        raise RefusedError(f"{printable(name)} reaches beyond its storage")
    strides = tuple(stride * storage.itemsize for stride in tensor.strides)
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset :], tensor.shape, strides, writeable=False
    )
