"""Files in PyTorch's and safetensors' formats, written with the standard library alone."""

import json
import pickle
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

SAFETENSORS_DTYPES = {"float64": "F64", "float32": "F32", "float16": "F16", "int64": "I64"}
TORCH_STORAGES = {
    "float64": "DoubleStorage",
    "float32": "FloatStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
}


def write_safetensors(path, arrays):
    header, chunks, position = {"__metadata__": {"format": "pt"}}, [], 0
    for name, array in arrays.items():
        chunk = np.ascontiguousarray(array).tobytes()
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[array.dtype.name],
            "shape": list(array.shape),
            "data_offsets": [position, position + len(chunk)],
        }
        chunks.append(chunk)
        position += len(chunk)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(chunks))
    return path


class _Reduced:
    """Pickles as a call of a function that is only a name."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


class _Pickler(pickle.Pickler):
    def persistent_id(self, obj):
        return obj.identifier if isinstance(obj, _StoredArray) else None


class _StoredArray:
    def __init__(self, identifier):
        self.identifier = identifier


def pickled_state(path, arrays, protocol, metadata=True):
    """Writes the pickle `torch.save` makes of a state dict, storages numbered in order."""
    modules = {name: types.ModuleType(name) for name in ("torch", "torch._utils")}

    def _rebuild_tensor_v2():
        raise AssertionError("only pickled by name")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    modules["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in TORCH_STORAGES.values():
        setattr(modules["torch"], name, type(name, (), {"__module__": "torch"}))
    state = OrderedDict()
    for number, (name, array) in enumerate(arrays.items()):
        storage = getattr(modules["torch"], TORCH_STORAGES[array.dtype.name])
        identifier = ("storage", storage, str(number), "cpu", array.size)
        strides = tuple(stride // array.itemsize for stride in array.strides)
        state[name] = _Reduced(
            _rebuild_tensor_v2,
            _StoredArray(identifier), 0, array.shape, strides, False, OrderedDict(),
        )  # fmt: skip
    if metadata:
        state._metadata = OrderedDict([("", {"version": 1}), ("bn1", {"version": 2})])
    before = {name: sys.modules.get(name) for name in modules}
    sys.modules.update(modules)
    try:
        with path.open("wb") as file:
            _Pickler(file, protocol).dump(state)
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
    return path.read_bytes()


def write_torch(path, arrays, protocol=2, order="C"):
    """Writes what `torch.save(state_dict, path)` writes; order "F": of transposed tensors."""
    arrays = {name: np.asarray(array, order=order) for name, array in arrays.items()}
    pickled = pickled_state(path, arrays, protocol)
    storages = [array.tobytes(order="A") for array in arrays.values()]
    return write_archive(path, pickled, storages)


def write_archive(path, pickled, storages, **extra):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("name/data.pkl", pickled)
        archive.writestr("name/byteorder", "little")
        for number, storage in enumerate(storages):
            archive.writestr(f"name/data/{number}", storage)
        archive.writestr("name/version", "3\n")
        for name, content in extra.items():
            archive.writestr(name, content)
    return path
