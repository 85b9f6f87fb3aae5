"""FaceRecord <-> the bytes of a tf.train.Example, without TensorFlow.

The protobuf runtime is given the three messages of tensorflow/core/example/{example,feature}.proto
in a pool of its own, so that TensorFlow may register the same names beside it. Serialisation is
deterministic: map entries are sorted by key.
"""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from pipelines.media_item import LABEL_NAMES
from pipelines.records.schema import FIELDS, SCHEMA_VERSION, FaceRecord, Field

_TYPE = descriptor_pb2.FieldDescriptorProto
_LISTS = {
    "bytes": ("BytesList", "bytes_list", _TYPE.TYPE_BYTES),
    "float": ("FloatList", "float_list", _TYPE.TYPE_FLOAT),
    "int64": ("Int64List", "int64_list", _TYPE.TYPE_INT64),
}


class ExampleError(ValueError):
    """Bytes that are no example of the schema: which field, what was found, what was expected."""


def encode_example(record: FaceRecord) -> bytes:
    """Returns the record as a serialised tf.train.Example; equal records give equal bytes."""
    example = _Example()
    for field in FIELDS:
        value = getattr(record, field.attribute)
        if field.kind == "text":
            value = value.encode("utf-8", "surrogateescape")
        values = [value] if field.length == 1 else value
        feature = example.features.feature[field.name]
        getattr(feature, _list_name(field)).value.extend(values)
    return example.SerializeToString(deterministic=True)


def decode_example(data: bytes) -> FaceRecord:
    """Returns the record in a serialised tf.train.Example; features beyond the schema are ignored.

    Raises:
        ExampleError: The bytes are no Example, a field is missing, of another type or length, or
            label and its text or the schema version contradict each other or this code.
    """
    try:
        example = _Example.FromString(data)
    except DecodeError:
        raise ExampleError("not a tf.train.Example") from None
    values = {field.attribute: _value(field, example.features.feature) for field in FIELDS}
    version, text = values.pop("schema_version"), values.pop("text")
    if version != SCHEMA_VERSION:
        raise ExampleError(f"schema_version is {version}, expected {SCHEMA_VERSION}")
    if LABEL_NAMES.get(values["label"], text) != text:
        raise ExampleError(f"image/class/text is {text!r} for image/class/label {values['label']}")
    return FaceRecord(**values)


def _value(field: Field, features: Any) -> Any:
    if field.name not in features:
        raise ExampleError(f"{field.name} is missing")
    feature, expected = features[field.name], _list_name(field)
    found = feature.WhichOneof("kind")
    if found != expected:
        raise ExampleError(f"{field.name} is {found or 'empty'}, expected {expected}")
    values = tuple(getattr(feature, expected).value)
    if len(values) != field.length:
        raise ExampleError(f"{field.name} has {len(values)} values, expected {field.length}")
    if field.kind == "text":
        return values[0].decode("utf-8", "surrogateescape")
    return values[0] if field.length == 1 else values


def _list_name(field: Field) -> str:
    return _LISTS["bytes" if field.kind == "text" else field.kind][1]


def _build_example_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="dfd_tf/example.proto", package="dfd_tf", syntax="proto3"
    )
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (message, name, scalar) in enumerate(_LISTS.values(), start=1):
        values = file.message_type.add(name=message)
        values.field.add(name="value", number=1, type=scalar, label=_TYPE.LABEL_REPEATED)
        feature.field.add(
            name=name, number=number, type=_TYPE.TYPE_MESSAGE, label=_TYPE.LABEL_OPTIONAL,
            type_name=f".dfd_tf.{message}", oneof_index=0,
        )  # fmt: skip
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _TYPE.TYPE_STRING)
    _add_field(entry, "value", 2, _TYPE.TYPE_MESSAGE, ".dfd_tf.Feature")
    features.field.add(
        name="feature", number=1, type=_TYPE.TYPE_MESSAGE, label=_TYPE.LABEL_REPEATED,
        type_name=".dfd_tf.Features.FeatureEntry",
    )  # fmt: skip
    example = file.message_type.add(name="Example")
    _add_field(example, "features", 1, _TYPE.TYPE_MESSAGE, ".dfd_tf.Features")
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("dfd_tf.Example"))


def _add_field(message: Any, name: str, number: int, kind: Any, type_name: str = "") -> None:
    field = message.field.add(name=name, number=number, type=kind, label=_TYPE.LABEL_OPTIONAL)
    if type_name:
        field.type_name = type_name


_Example = _build_example_class()
