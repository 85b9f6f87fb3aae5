"""The format: one table behind writer, parsers and README; equal to TensorFlow's own bytes."""

import io
import json
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import google_crc32c
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from record_samples import encode, noise, sample_record, write_folder

from pipelines.records.example import ExampleError, decode_example, encode_example
from pipelines.records.framing import FramingError, frame, read_frames
from pipelines.records.manifest import load_manifest
from pipelines.records.reader import (
    decode_image,
    decode_to_size,
    iter_records,
    parse_example,
    parse_examples,
)
from pipelines.records.schema import FIELDS, FaceRecord, field_table, record_fault, schema_json
from pipelines.records.verification import verify_records
from pipelines.records.writer import encode_record

ROOT = Path(__file__).resolve().parents[3]
COUNT = st.integers(0, 2**63 - 1)
FLOAT = st.floats(width=32, allow_nan=False, allow_infinity=False)
FRACTION = st.floats(0, 0.5, width=32)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12) | st.just("not UTF-8: \udce9")
RECORDS = st.builds(
    FaceRecord,
    encoded=st.binary(max_size=50),
    format=st.sampled_from(["jpeg", "png"]),
    height=COUNT,
    width=COUNT,
    sha256=TEXT,
    label=st.sampled_from([0, 1, -1]),
    domain=TEXT,
    dataset=TEXT,
    method=TEXT,
    video=TEXT,
    identity=TEXT,
    path=TEXT,
    frame=COUNT,
    time_seconds=FLOAT,
    face_index=COUNT,
    face_box=st.tuples(FRACTION, FRACTION, FRACTION, FRACTION),
    face_score=FLOAT,
    source_format=TEXT,
    source_bytes=COUNT,
    source_jpeg_quality=st.integers(-1, 100),
    source_width=COUNT,
    source_height=COUNT,
)


def stored(value):
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


@settings(max_examples=60, deadline=None)
@given(record=RECORDS)
def test_any_record_survives_and_is_what_tensorflow_reads(record):
    data = encode_example(record)
    assert decode_example(data) == record

    example = tf.train.Example.FromString(data)
    assert set(example.features.feature) == {field.name for field in FIELDS}
    parsed = parse_example(tf.constant(data))
    assert set(parsed) == set(example.features.feature)
    for field in FIELDS:
        expected = stored(getattr(record, field.attribute))
        feature = example.features.feature[field.name]
        (values,) = (list(feature_list.value) for _, feature_list in feature.ListFields())
        assert values == (list(expected) if field.length > 1 else [expected])
        assert np.array_equal(parsed[field.name].numpy(), expected)


def test_bytes_of_an_example_are_those_of_sorted_keys():
    record = sample_record(0)
    keys = sorted(field.name for field in FIELDS)
    data = encode_example(record)
    places = [data.index(b"\x0a" + bytes([len(key)]) + key.encode()) for key in keys]
    assert places == sorted(places)
    assert encode_example(replace(record)) == data


def test_records_are_parsed_in_batches_too():
    records = [sample_record(number) for number in range(3)]
    parsed = parse_examples(tf.constant([encode_record(record) for record in records]))
    assert parsed["face/box"].shape == (3, 4)
    assert parsed["media/path"].numpy().tolist() == [b"000.png", b"001.png", b"002.png"]


@pytest.mark.parametrize(
    ("data", "crc"),
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"123456789", 0xE3069283)],
)
def test_the_checksum_is_crc32c(data, crc):
    # RFC 3720, B.4, and the check value of the CRC catalogues.
    assert google_crc32c.value(data) == crc


@settings(max_examples=30, deadline=None)
@given(records=st.lists(st.binary(max_size=300), max_size=5))
def test_frames_are_those_of_tensorflow(records, tmp_path_factory):
    path = tmp_path_factory.mktemp("frames") / "a.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)
    ours = b"".join(frame(record) for record in records)
    assert ours == path.read_bytes()
    assert [f.data for f in read_frames(io.BytesIO(ours), len(ours))] == records


def test_a_forged_length_is_not_trusted_with_memory():
    header = frame(b"")[:12]
    huge = (2**62).to_bytes(8, "little")
    crc = google_crc32c.value(huge)
    masked = (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    data = huge + masked.to_bytes(4, "little") + header
    with pytest.raises(FramingError, match="record 0 at byte 0: cut: 12 of"):
        list(read_frames(io.BytesIO(data), len(data)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, "image/class/label is 2"),
        ({"format": "gif"}, "image/format is 'gif'"),
        ({"sha256": "0" * 63}, "image/key/sha256"),
        ({"domain": ""}, "media/domain is empty"),
        ({"frame": -1}, "media/frame is -1"),
        ({"source_width": 0}, "source/width is 0"),
        ({"time_seconds": float("nan")}, "media/time_seconds is nan"),
        ({"face_score": float("inf")}, "face/score is inf"),
        ({"face_box": (0.5, 0.0, 0.6, 1.0)}, "face/box"),
        ({"face_box": (-0.1, 0.0, 0.6, 1.0)}, "face/box"),
        ({"face_box": (0.0, 0.0, 1.0)}, "face/box"),
    ],
)
def test_values_that_cannot_be_are_refused(changes, message):
    assert record_fault(sample_record(0)) is None
    with pytest.raises(ValueError, match=message):
        encode_record(sample_record(0, **changes))


def test_label_and_its_text_must_agree():
    example = tf.train.Example.FromString(encode_example(sample_record(0)))
    example.features.feature["image/class/text"].bytes_list.value[0] = b"fake"
    with pytest.raises(ExampleError, match="'fake' for image/class/label 0"):
        decode_example(example.SerializeToString())


def test_another_schema_version_is_named():
    example = tf.train.Example.FromString(encode_example(sample_record(0)))
    example.features.feature["schema_version"].int64_list.value[0] = 99
    with pytest.raises(ExampleError, match="schema_version is 99, expected 1"):
        decode_example(example.SerializeToString())


@pytest.mark.parametrize("image_format", ["png", "jpeg"])
@pytest.mark.parametrize("mapped", [False, True])
def test_pixels_are_pillows(image_format, mapped):
    encoded = encode(noise(3, 61), image_format)
    expected = np.asarray(Image.open(io.BytesIO(encoded)))

    def both(data):
        return decode_image(data), decode_to_size(data, 61)

    if mapped:
        dataset = tf.data.Dataset.from_tensors(encoded).map(both)
        assert dataset.element_spec[1].shape == (61, 61, 3)
        pixels, kept = next(iter(dataset))
    else:
        pixels, kept = both(tf.constant(encoded))
    assert pixels.dtype == tf.uint8
    assert np.array_equal(pixels, expected)
    assert np.array_equal(kept, expected)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (20, 20), (48, 30)])
def test_b16_pictures_of_any_size_become_one_size(height, width):
    gradient = np.linspace(0, 255, height * width * 3).reshape(height, width, 3).astype(np.uint8)
    pixels = gradient ^ np.random.default_rng(0).integers(0, 64, gradient.shape, np.uint8)
    expected = np.asarray(Image.fromarray(pixels).resize((24, 24), Image.Resampling.BILINEAR))
    ours = decode_to_size(tf.constant(encode(pixels)), 24)
    assert ours.shape == (24, 24, 3)
    # Pillow rounds after each of its two passes.
    assert np.abs(ours.numpy().astype(int) - expected).max() <= 1


def test_a_shard_reads_back_in_order(tmp_path):
    records = [sample_record(number) for number in range(5)]
    manifest = write_folder(tmp_path, [("train", 5)], records)
    path = tmp_path / manifest.shards[0].file
    assert list(iter_records(path)) == records
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(path))] == [*map(encode_record, records)]


def test_readme_and_schema_file_follow_the_table():
    assert f"\n{field_table()}\n" in (ROOT / "tfrecords" / "README.md").read_text()
    assert (ROOT / "tfrecords" / "schema.json").read_text() == schema_json()
    described = {f["name"]: f["shape"] for f in json.loads(schema_json())["fields"]}
    assert described["face/box"] == [4]
    assert described["image/class/label"] == []


def test_every_field_is_an_attribute_and_the_other_way_round():
    attributes = {field.attribute for field in FIELDS}
    assert attributes == {*asdict(sample_record(0)), "text", "schema_version"}
    assert len({field.name for field in FIELDS}) == len(FIELDS)


def test_the_sample_is_good_small_and_of_these_bytes():
    folder = ROOT / "tfrecords" / "sample"
    manifest = verify_records(folder, deep=True)
    assert manifest == load_manifest(folder)
    assert sum(path.stat().st_size for path in folder.iterdir()) < 60_000
    for shard in manifest.shards:
        records = list(iter_records(folder / shard.file))
        again = b"".join(frame(encode_record(record)) for record in records)
        assert again == (folder / shard.file).read_bytes()


def test_writing_and_verifying_need_no_tensorflow():
    code = (
        "import sys, pipelines.records.writer, pipelines.records.verification\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
