"""The container of a training state: a JSON header, raw arrays and a sha256 over both.

Layout: magic line, header length (8 bytes, little endian), header (UTF-8 JSON: `meta` and a table
`arrays` of name, dtype and shape), the arrays' bytes in table order (little endian, C order), and
at the end 32 bytes of sha256 over everything before. Nothing in it is ever executed or unpickled.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes  # noqa: F401 - teaches numpy the name "bfloat16"
import numpy as np
from etils import epath

from dfd_tf.config.atomic_files import write_atomically
from pipelines.errors import CheckpointError

_MAGIC = b"dfd-tf training state 1\n"
_DIGEST_BYTES = 32


@dataclass(frozen=True)
class StateFile:
    """Content of a state file.

    Args:
        meta: What JSON can hold: position, history, fields of callbacks, configuration.
        arrays: Variables by name.
    """

    meta: dict[str, Any]
    arrays: dict[str, np.ndarray] = field(default_factory=dict)


def write_state_file(path: epath.Path, state: StateFile) -> None:
    """Writes a state whole or not at all.

    Raises:
        CheckpointError: It could not be written; what was there before is intact.
    """
    try:
        write_atomically(path, _chunks(state))
    except OSError as error:
        raise CheckpointError(
            f"{path}: the training state cannot be written ({error.strerror}); the states before "
            "it are intact: make room, then go on with --resume"
        ) from error


def read_state_file(path: epath.Path) -> StateFile:
    """Reads a state after checking its sha256.

    Raises:
        CheckpointError: It is missing, cut, changed, or not a state file.
    """
    try:
        content = memoryview(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    body = content[:-_DIGEST_BYTES]
    if bytes(body[: len(_MAGIC)]) != _MAGIC:
        raise CheckpointError(f"{path}: not a training state, or damaged ({len(content)} bytes)")
    if hashlib.sha256(body).digest() != bytes(content[-_DIGEST_BYTES:]):
        raise CheckpointError(f"{path}: damaged, its sha256 does not fit ({len(content)} bytes)")
    start = len(_MAGIC) + 8
    length = int.from_bytes(body[len(_MAGIC) : start], "little")
    header = json.loads(bytes(body[start : start + length]))
    arrays = {}
    offset = start + length
    for name, dtype, shape in header["arrays"]:
        array = np.empty(shape, np.dtype(dtype))
        array.reshape(-1).view(np.uint8)[:] = body[offset : offset + array.nbytes]
        arrays[name] = array
        offset += array.nbytes
    return StateFile(header["meta"], arrays)


def _chunks(state: StateFile) -> Iterator[bytes | memoryview]:
    arrays = {name: np.asarray(array) for name, array in state.arrays.items()}
    table = [[name, str(array.dtype), list(array.shape)] for name, array in arrays.items()]
    header = json.dumps({"meta": state.meta, "arrays": table}, allow_nan=False).encode()
    digest = hashlib.sha256()
    parts: list[bytes | memoryview] = [_MAGIC, len(header).to_bytes(8, "little"), header]
    parts.extend(_bytes(array) for array in arrays.values())
    for part in parts:
        digest.update(part)
        yield part
    yield digest.digest()


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
