"""Descriptions of tensors in PyTorch files, read without unpickling.

Unpickling can run any code the file names. This is an interpreter of the few instructions a pickled
state dict needs, whose only values are numbers, strings, lists, tuples, dicts and the markers
below. It looks no name up and refuses all the rest.
"""

import pickletools
import warnings
from collections.abc import Iterable, Iterator
from types import MappingProxyType
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from pipelines.errors import printable

STORAGES = MappingProxyType(
    {
        "torch DoubleStorage": np.dtype("<f8"),
        "torch FloatStorage": np.dtype("<f4"),
        "torch HalfStorage": np.dtype("<f2"),
        "torch BFloat16Storage": np.dtype(ml_dtypes.bfloat16),
        "torch LongStorage": np.dtype("<i8"),
        "torch IntStorage": np.dtype("<i4"),
    }
)
ORDERED_DICT = "collections OrderedDict"
REBUILD_TENSOR = "torch._utils _rebuild_tensor_v2"

# Instructions that push their argument, or a fixed value.
_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINUNICODE", "SHORT_BINUNICODE", "BINFLOAT"}
)
_CONSTANTS = MappingProxyType({"NEWFALSE": False, "NEWTRUE": True, "NONE": None})
_TUPLE_LENGTHS = MappingProxyType({"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3})
_IGNORED = frozenset({"PROTO", "FRAME", "STOP"})
_MARK = object()


class _Global(NamedTuple):
    """A name the file refers to; only a name, never looked up."""

    name: str


class Storage(NamedTuple):
    """A storage the file refers to."""

    dtype: np.dtype
    key: str


class Tensor(NamedTuple):
    """A tensor as the file describes it, offset and strides in elements."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class RefusedError(Exception):
    """What the file holds is not a plain state dict; says what it is instead."""


def interpret(pickle: bytes) -> Any:
    """Builds the value of a pickle out of plain data and markers; runs nothing it names."""
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        with warnings.catch_warnings():
            # pickletools warns of odd escapes in strings of a kind that is refused here.
            warnings.simplefilter("ignore", DeprecationWarning)
            for instruction, argument, _ in pickletools.genops(pickle):
                _execute(instruction.name, argument, stack, memo)
    # genops raises ValueError for whatever it cannot read, the rest comes of a senseless program.
    except (ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
        raise RefusedError(f"its data.pkl is damaged ({error})") from error
    if len(stack) != 1:
        raise RefusedError("its data.pkl is damaged (it does not end in one value)")
    return stack[0]


def _execute(name: str, argument: Any, stack: list[Any], memo: dict[int, Any]) -> None:
    if name in _IGNORED:
        return
    if name in _LITERALS:
        stack.append(argument)
    elif name in _CONSTANTS:
        stack.append(_CONSTANTS[name])
    elif name == "MARK":
        stack.append(_MARK)
    elif name in ("BINPUT", "LONG_BINPUT"):
        memo[argument] = stack[-1]
    elif name == "MEMOIZE":
        memo[len(memo)] = stack[-1]
    elif name in ("BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "TUPLE":
        stack.append(tuple(_since_mark(stack)))
    elif name in _TUPLE_LENGTHS:
        stack.append(tuple(_last(stack, _TUPLE_LENGTHS[name])))
    elif name in ("APPEND", "APPENDS"):
        values = _last(stack, 1) if name == "APPEND" else _since_mark(stack)
        stack[-1].extend(values)
    elif name in ("SETITEM", "SETITEMS"):
        values = _last(stack, 2) if name == "SETITEM" else _since_mark(stack)
        stack[-1].update(_items(zip(values[::2], values[1::2], strict=True)))
    elif name in ("GLOBAL", "STACK_GLOBAL"):
        stack.append(_named(argument if name == "GLOBAL" else " ".join(_last(stack, 2))))
    elif name == "BINPERSID":
        stack.append(_storage(stack.pop()))
    elif name == "REDUCE":
        function, arguments = _last(stack, 2)
        stack.append(_call(function, arguments))
    elif name == "BUILD":
        stack.pop()  # Attributes of the state dict: versions of its modules.
    else:
        raise RefusedError(f"its data.pkl has the instruction {name}, no state dict needs that")


def _items(pairs: Iterable[Any]) -> Iterator[tuple[str, Any]]:
    for key, value in pairs:
        # The hash of a tuple of tuples that share parts can take for ever.
        if not isinstance(key, str):
            raise RefusedError("a name in it is not a string; save model.state_dict() alone")
        yield key, value


def _named(name: str) -> _Global:
    if name not in (ORDERED_DICT, REBUILD_TENSOR, *STORAGES):
        raise RefusedError(
            f"its data.pkl names {printable(name.replace(' ', '.'))}, which is neither a tensor "
            "nor a dict of tensors and could run code"
        )
    return _Global(name)


def _storage(identifier: Any) -> Storage:
    kind, storage_type, key, *_ = identifier
    if kind != "storage" or not isinstance(key, str) or not isinstance(storage_type, _Global):
        raise RefusedError("a storage is described in an unknown way")
    return Storage(STORAGES[storage_type.name], key)


def _call(function: Any, arguments: Any) -> Any:
    if function == _Global(ORDERED_DICT):
        return dict(_items(*arguments)) if arguments else {}
    if function != _Global(REBUILD_TENSOR):
        raise RefusedError("its data.pkl calls something that is not a function")
    storage, offset, shape, strides, *_ = arguments
    if not isinstance(storage, Storage) or not type(shape) is type(strides) is tuple:
        raise RefusedError("a tensor is described in an unknown way")
    return Tensor(storage, offset, shape, strides)


def _last(stack: list[Any], count: int) -> list[Any]:
    values = stack[len(stack) - count :]
    if len(values) < count or any(value is _MARK for value in values):
        raise RefusedError("its data.pkl is damaged (too few values)")
    del stack[len(stack) - count :]
    return values


def _since_mark(stack: list[Any]) -> list[Any]:
    mark = len(stack) - 1
    while stack[mark] is not _MARK:
        mark -= 1
    values = stack[mark + 1 :]
    del stack[mark:]
    return values
