"""Fixed input sizes for ONNX files that leave them open, without the onnx package.

OpenCV 4's importer refuses a network whose input size is symbolic ("dynamic 'zero' shapes are not
supported"), as in the YuNet files exported for other runtimes, although it runs YuNet at any size
once it is loaded. Field numbers are those of onnx.proto; wire format: protobuf's encoding guide.
"""

from collections.abc import Iterator

_VARINT, _LENGTH_DELIMITED = 0, 2
_FIXED_BYTES = {1: 8, 5: 4}
# ModelProto.graph, GraphProto.input, ValueInfoProto.type, TypeProto.tensor_type, .shape, .dim
_INPUT_DIMENSIONS = (7, 11, 2, 1, 2, 1)
_DIM_VALUE, _DIM_PARAM = 1, 2


def with_input_shape(model: bytes, shape: tuple[int, ...]) -> bytes:
    """Writes numbers over the symbolic dimensions of the model's only input.

    The number takes the very bytes of the name (a varint may be padded), so no length around it
    changes. A model without symbolic dimensions comes back as it is.

    Args:
        model: Serialised ONNX ModelProto.
        shape: Size to fix for each dimension of the input.

    Raises:
        ValueError: not an ONNX model, or its input has another number of dimensions.
    """
    dimensions = list(_descend(model, 0, len(model), _INPUT_DIMENSIONS))
    if len(dimensions) != len(shape):
        raise ValueError(f"input has {len(dimensions)} dimensions, expected {len(shape)}")
    patched = bytearray(model)
    for (start, stop), size in zip(dimensions, shape, strict=True):
        if any(field == _DIM_PARAM for field, _, _ in _fields(model, start, stop)):
            patched[start:stop] = _padded_dimension(size, stop - start)
    return bytes(patched)


def _padded_dimension(size: int, length: int) -> bytes:
    varint = bytearray((size >> (7 * i)) & 0x7F | 0x80 for i in range(length - 1))
    varint[-1] &= 0x7F
    if size >> (7 * len(varint)):
        raise ValueError(f"the name of a dimension is too short to hold {size}")
    return bytes([_DIM_VALUE << 3 | _VARINT]) + bytes(varint)


def _descend(
    data: bytes, start: int, stop: int, path: tuple[int, ...]
) -> Iterator[tuple[int, int]]:
    """Yields where the messages at the end of a path of field numbers start and stop."""
    if not path:
        yield start, stop
        return
    for field, first, last in _fields(data, start, stop):
        if field == path[0]:
            yield from _descend(data, first, last, path[1:])


def _fields(data: bytes, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Yields (number, start of value, end of value) of each field of a message."""
    while start < stop:
        tag, start = _varint(data, start)
        field, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, end = _varint(data, start)
        elif wire == _LENGTH_DELIMITED:
            length, start = _varint(data, start)
            end = start + length
        elif wire in _FIXED_BYTES:
            end = start + _FIXED_BYTES[wire]
        else:
            raise ValueError("not an ONNX model")
        if end > stop:
            raise ValueError("not an ONNX model")
        yield field, start, end
        start = end


def _varint(data: bytes, start: int) -> tuple[int, int]:
    value = 0
    for position in range(start, min(start + 10, len(data))):
        value |= (data[position] & 0x7F) << (7 * (position - start))
        if data[position] < 0x80:
            return value, position + 1
    raise ValueError("not an ONNX model")
