"""Arrays of a `.safetensors` file: huggingface.co/docs/safetensors, "Format".

Eight bytes of little-endian length, a JSON header of that length that gives each array its dtype,
shape and place, then the bytes. Every figure of the header is checked against the file before a
byte is believed.
"""

import json
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ml_dtypes
import numpy as np

from pipelines.errors import ModelFileError, printable

MAX_HEADER_BYTES = 2**20

DTYPES = MappingProxyType(
    {
        "F64": np.dtype("<f8"),
        "F32": np.dtype("<f4"),
        "F16": np.dtype("<f2"),
        "BF16": np.dtype(ml_dtypes.bfloat16),
        "I64": np.dtype("<i8"),
        "I32": np.dtype("<i4"),
    }
)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads all arrays of a file; the caller has bounded its size.

    Raises:
        ModelFileError: The file breaks the format, or holds a dtype not in `DTYPES`.
    """
    label = printable(str(path))
    content = Path(path).read_bytes()
    length = int.from_bytes(content[:8], "little")
    if not 2 <= length <= min(len(content) - 8, MAX_HEADER_BYTES):
        raise _refusal(label, f"its header is {length} bytes long, the file {len(content)}")
    try:
        header = json.loads(content[8 : 8 + length], object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise _refusal(label, f"its header is not JSON ({error})") from error
    if not isinstance(header, dict):
        raise _refusal(label, "its header is not an object")
    header.pop("__metadata__", None)
    data = memoryview(content)[8 + length :]
    arrays, ranges = {}, []
    for name, entry in header.items():
        dtype, shape, begin, end = _checked(entry, name, label)
        ranges.append((begin, end))
        if end <= len(data):
            arrays[name] = np.frombuffer(data[begin:end], dtype).reshape(shape)
    # The format leaves no gaps and no overlaps.
    position = 0
    for begin, end in sorted(ranges):
        if begin != position:
            raise _refusal(label, f"bytes {position} to {begin} belong to no array or to several")
        position = end
    if position != len(data):
        raise _refusal(label, f"its arrays take {position} bytes, the file has {len(data)}")
    return arrays


def _checked(entry: Any, name: str, label: str) -> tuple[np.dtype, tuple[int, ...], int, int]:
    name = printable(name)
    try:
        dtype_name, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        numbers = [*shape, begin, end]
    except (TypeError, KeyError, ValueError) as error:
        raise _refusal(label, f"the entry of {name} is incomplete") from error
    if not all(type(number) is int and number >= 0 for number in numbers):
        raise _refusal(label, f"shape or offsets of {name} are not natural numbers")
    if not isinstance(dtype_name, str) or dtype_name not in DTYPES:
        raise _refusal(label, f"{name} has the dtype {dtype_name!r}, known: {', '.join(DTYPES)}")
    dtype = DTYPES[dtype_name]
    # An array of 2 ** 60 axes of length 1 takes no bytes more than one of none.
    if len(shape) > 8 or end - begin != prod(shape) * dtype.itemsize:
        raise _refusal(label, f"{name} takes {end - begin} bytes, which is not {shape} {dtype}")
    return dtype, tuple(shape), begin, end


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) != len(pairs):
        raise ValueError("a name occurs twice")
    return entries


def _refusal(label: str, reason: str) -> ModelFileError:
    return ModelFileError(f"{label}: not a sound safetensors file: {reason}")
