"""RELIABILITY.md 2b: every fault of a record folder is found and named; good data never is."""

import gzip
import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import encode, noise, sample_record, write_folder

from pipelines.errors import DatasetError, InputError
from pipelines.records.example import encode_example
from pipelines.records.framing import frame
from pipelines.records.manifest import MANIFEST_NAME, load_manifest, save_manifest, shard_name
from pipelines.records.shards import iter_records
from pipelines.records.verification import verify_records
from pipelines.records.writer import ShardWriter, encode_record

ROOT = Path(__file__).resolve().parents[3]


FIRST, VICTIM, VAL = shard_name("train", 0, 2), shard_name("train", 1, 2), shard_name("val", 0, 1)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine") / "records"
    write_folder(folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "records"))


def refuses(folder, message, *, deep=False):
    with pytest.raises(DatasetError, match=message) as caught:
        verify_records(folder, deep=deep)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def cover_up(folder, file=VICTIM):
    """Makes the manifest agree with a shard's size and digest: only its content can tell now."""
    data = (folder / file).read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    manifest = load_manifest(folder)
    shards = tuple(
        replace(shard, bytes=len(data), sha256=digest) if shard.file == file else shard
        for shard in manifest.shards
    )
    save_manifest(folder, replace(manifest, shards=shards))


def put(folder, *examples):
    """Puts other records, correctly framed, into the victim; the manifest agrees."""
    (folder / VICTIM).write_bytes(b"".join(map(frame, examples)))
    cover_up(folder)


def offsets(path):
    """Where the records begin, and the size of the file."""
    data, places = path.read_bytes(), [0]
    while places[-1] < len(data):
        length = int.from_bytes(data[places[-1] : places[-1] + 8], "little")
        places.append(places[-1] + length + 16)
    return places


@pytest.mark.parametrize("deep", [False, True])
def test_good_data_raise_no_alarm(pristine, deep):
    assert verify_records(pristine, deep=deep) == load_manifest(pristine)


def test_other_files_and_temporary_ones_are_no_fault(folder):
    for name in ("notes.txt", "contact_sheet.png", f"{VICTIM}.tmp-123", "features.json"):
        (folder / name).write_bytes(b"x")
    (folder / ".prepare").mkdir()
    verify_records(folder, deep=True)


@pytest.mark.parametrize(
    ("record", "cut", "reason"),
    [
        pytest.param(2, 100, "record 2 at byte {}: cut: 88 of", id="B-01"),
        pytest.param(3, 0, "3 records .* the manifest says 5", id="B-02"),
        pytest.param(3, 1, "record 3 at byte {}: cut after 1 bytes of its header", id="B-03-1"),
        pytest.param(3, 11, "record 3 at byte {}: cut after 11 bytes", id="B-03-11"),
        pytest.param(5, -4, "record 4 at byte {}: cut: ", id="B-04"),
    ],
)
def test_b01_to_b04_cut_shards(folder, record, cut, reason):
    path = folder / VICTIM
    places = offsets(path)
    size = places[record] + cut
    path.write_bytes(path.read_bytes()[:size])
    refuses(folder, f"{VICTIM}: {size} bytes, the manifest says {places[-1]}")
    cover_up(folder)
    begin = max(place for place in places if place <= size)
    refuses(folder, f"{VICTIM}: {reason.format(begin)}", deep=True)


@pytest.mark.parametrize(
    ("base", "offset", "reason"),
    [
        pytest.param(2, 3, "checksum of the length", id="B-05-length"),
        pytest.param(2, 9, "checksum of the length", id="B-05-length-crc"),
        pytest.param(2, 60, "checksum of the data", id="B-05-data"),
        pytest.param(3, -2, "checksum of the data", id="B-05-data-crc"),
    ],
)
def test_b05_a_flipped_bit_is_placed(folder, base, offset, reason):
    path = folder / VICTIM
    places = offsets(path)
    data = bytearray(path.read_bytes())
    data[places[base] + offset] ^= 0x10
    path.write_bytes(data)
    verify_records(folder, deep=False)  # the size is the same
    refuses(folder, f"{VICTIM}: record 2 at byte {places[2]}: {reason}", deep=True)


def test_b05_other_records_with_right_checksums_are_found(folder):
    # A-12 too: nothing but the digest can tell that somebody put in other values.
    records = list(iter_records(folder / VICTIM))
    changed = [replace(record, face_score=2.5) for record in records]
    size = (folder / VICTIM).stat().st_size
    (folder / VICTIM).write_bytes(b"".join(frame(encode_record(record)) for record in changed))
    assert (folder / VICTIM).stat().st_size == size
    verify_records(folder, deep=False)
    refuses(folder, f"{VICTIM}: not the bytes that were written .sha256.", deep=True)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_b05_any_byte_changed_is_found(pristine, tmp_path_factory, data):
    folder = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("flip") / "records"))
    content = bytearray((folder / VICTIM).read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    (folder / VICTIM).write_bytes(content)
    refuses(folder, f"{VICTIM}: record", deep=True)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_b01_any_cut_is_found(pristine, tmp_path_factory, data):
    folder = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("cut") / "records"))
    content = (folder / VICTIM).read_bytes()
    (folder / VICTIM).write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    refuses(folder, f"{VICTIM}: .*the manifest says")
    cover_up(folder)
    refuses(folder, VICTIM, deep=True)


@pytest.mark.parametrize("junk", [b"junk", bytes(64)])
def test_b06_bytes_behind_the_end(folder, junk):
    with (folder / VICTIM).open("ab") as file:
        file.write(junk)
    refuses(folder, f"{VICTIM}: .* bytes, the manifest says")
    cover_up(folder)
    refuses(folder, f"{VICTIM}: record 5 at byte", deep=True)


def test_b07_empty_shards(folder, tmp_path):
    (folder / VICTIM).write_bytes(b"")
    refuses(folder, f"{VICTIM}: 0 bytes, the manifest says")
    empty = tmp_path / "empty"
    write_folder(empty, [("train", 2), ("train", 0), ("val", 0)])
    assert [s.records for s in verify_records(empty, deep=True).shards] == [2, 0, 0]


def test_b08_a_missing_shard(folder):
    (folder / VICTIM).unlink()
    refuses(folder, f"{VICTIM}: missing;")
    (folder / FIRST).unlink()
    refuses(folder, rf"{FIRST}: missing; .* \(and 1 more faults\)")


def test_b08_a_renamed_shard(folder):
    name = shard_name("train", 7, 9)
    (folder / VICTIM).rename(folder / name)
    refuses(folder, f"{VICTIM}: missing, it was renamed to {name}")


def test_b08_an_extra_shard(folder):
    name = shard_name("train", 2, 3)
    (folder / name).write_bytes(frame(encode_record(sample_record(99))))
    refuses(folder, f"{name}: not in the manifest; remove it")


def test_b08_a_copied_shard(folder):
    name = f"{VICTIM} (copy)"
    shutil.copy(folder / VICTIM, folder / name)
    with pytest.raises(DatasetError) as caught:
        verify_records(folder, deep=False)
    assert f"{name}: not in the manifest, a copy of {VICTIM};" in str(caught.value)


def test_b08_a_shard_copied_over_another(folder, tmp_path):
    shutil.copy(folder / FIRST, folder / VICTIM)
    refuses(folder, rf"{VICTIM}: .* bytes \(it is a copy of {FIRST}\), the manifest says")
    # Two shards of one size: only their content tells them apart.
    alike = tmp_path / "alike"
    records = [sample_record(n, noise(0), label=0, domain="here") for n in (2, 4, 6, 8)]
    write_folder(alike, [("train", 2), ("train", 2)], records)
    shutil.copy(alike / FIRST, alike / VICTIM)
    verify_records(alike, deep=False)
    refuses(alike, f"{VICTIM}: a copy of {FIRST}", deep=True)


def test_b09_a_folder_that_does_not_exist(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such record folder") as caught:
        verify_records(tmp_path / "nowhere", deep=False)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("deep", [False, True])
def test_b10_a_folder_named_like_a_shard(folder, deep):
    (folder / VICTIM).unlink()
    (folder / VICTIM).mkdir()
    refuses(folder, f"{VICTIM}: not a regular file", deep=deep)
    with pytest.raises(DatasetError, match=f"{VICTIM}: Is a directory"):
        next(iter_records(folder / VICTIM))


@pytest.mark.parametrize("content", [bytes(4000), b"text " * 800, bytes(range(256)) * 16])
def test_b11_something_else_in_a_shard(folder, content):
    (folder / VICTIM).write_bytes(content)
    refuses(folder, f"{VICTIM}: 4\\d\\d\\d bytes")
    cover_up(folder)
    refuses(folder, f"{VICTIM}: record 0 at byte 0: checksum of the length", deep=True)


def test_b12_a_compressed_shard(folder):
    path = folder / VICTIM
    data = gzip.compress(path.read_bytes())
    for content in (data, data[: len(data) // 2]):
        path.write_bytes(content)
        refuses(folder, rf"{VICTIM}: .*\(it is compressed with gzip; shards are not\)")
        cover_up(folder)
        refuses(folder, f"{VICTIM}: record 0 at byte 0: .*compressed with gzip", deep=True)


def changed(change):
    """A good record, serialised, after something was done to its features."""
    example = tf.train.Example.FromString(encode_example(sample_record(8)))
    change(example.features.feature)
    return example.SerializeToString(deterministic=True)


def as_text(feature):
    feature["image/class/label"].Clear()
    feature["image/class/label"].bytes_list.value.append(b"1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.pop("media/path"), "media/path is missing"),
        (as_text, "image/class/label is bytes_list, expected int64_list"),
        (lambda f: f["image/class/label"].Clear(), "image/class/label is empty"),
        (lambda f: f["image/class/label"].int64_list.value.append(1), "label has 2 values"),
        (lambda f: f["face/box"].float_list.value.pop(), "face/box has 3 values, expected 4"),
    ],
)
def test_b13_missing_mistyped_and_double_features(folder, change, message):
    good = encode_record(sample_record(6))
    put(folder, good, changed(change))
    refuses(folder, f"{VICTIM}: record 1 at byte {len(good) + 16}: .*{message}", deep=True)


@pytest.mark.parametrize("data", [b"\xff\xfe no protocol buffer", b"\x0a\x05\x0a\x03\x0a\x01\xff"])
def test_b14_a_record_that_is_no_example(folder, data):
    put(folder, data)
    refuses(folder, f"{VICTIM}: record 0 at byte 0: not a tf.train.Example", deep=True)


def test_b14_an_empty_record(folder):
    put(folder, b"")
    refuses(folder, f"{VICTIM}: record 0 at byte 0: image/encoded is missing", deep=True)


def test_b15_extra_features_are_allowed(tmp_path):
    write_folder(tmp_path, [("train", 1), ("train", 1)], [sample_record(0), sample_record(8)])
    put(tmp_path, changed(lambda f: f["mine"].int64_list.value.append(1)))
    verify_records(tmp_path, deep=True)
    assert list(iter_records(tmp_path / VICTIM)) == [sample_record(8)]


def test_b16_mixed_sizes_are_allowed(tmp_path):
    records = [sample_record(0), sample_record(1, noise(1, 40)), sample_record(2, noise(2, 9))]
    write_folder(tmp_path, [("train", 3)], records)
    verify_records(tmp_path, deep=True)


BAD_PICTURES = [
    ({"encoded": b""}, "cannot be decoded"),
    ({"encoded": b"no picture"}, "cannot be decoded"),
    ({"encoded": encode(noise(1))[:200]}, "does not end as a png|cannot be decoded"),
    ({"encoded": encode(noise(1), "jpeg")}, "is jpeg 24x24 RGB, expected png 24x24 RGB"),
    ({"encoded": encode(noise(1)[..., 0])}, "is png 24x24 L, expected png 24x24 RGB"),
    ({"width": 25}, "is png 24x24 RGB, expected png 24x25 RGB"),
]


@pytest.mark.parametrize(("changes", "message"), BAD_PICTURES)
def test_b17_the_writer_refuses_a_bad_picture(tmp_path, changes, message):
    record = sample_record(0, **changes)
    with (
        pytest.raises(ValueError, match=f"000.png.*{message}"),
        ShardWriter(tmp_path / VICTIM, "train") as writer,
    ):
        writer.write(record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("changes", "message"), BAD_PICTURES)
def test_b17_verification_names_a_bad_picture(folder, changes, message):
    put(folder, encode_example(sample_record(6)), encode_example(sample_record(7, **changes)))
    refuses(folder, f"{VICTIM}: record 1 at byte .*{message}", deep=True)


def test_b17_damage_inside_a_picture(folder):
    encoded = bytearray(encode(noise(1)))
    encoded[len(encoded) // 2] ^= 1
    put(folder, encode_example(sample_record(6, encoded=bytes(encoded))))
    refuses(folder, f"{VICTIM}: record 0 at byte 0: image/encoded cannot be decoded", deep=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"domain": "elsewhere"}, "media/domain is 'elsewhere', expected one of"),
        ({"label": -1}, r"image/class/label is -1, expected one of \[0, 1\]"),
        ({"face_box": (0.5, 0.0, 0.6, 1.0)}, "face/box is .*expected left, top"),
    ],
)
def test_b18_values_outside_their_range(folder, changes, message):
    put(folder, encode_example(sample_record(6, **changes)))
    refuses(folder, f"{VICTIM}: record 0 at byte 0: {message}", deep=True)


def test_b18_label_two(folder):
    def two(feature):
        feature["image/class/label"].int64_list.value[0] = 2

    put(folder, changed(two))
    refuses(folder, f"{VICTIM}: record 0 at byte 0: image/class/label is 2, expected", deep=True)


def test_b18_other_labels_than_the_manifest_counts(folder):
    records = list(iter_records(folder / VICTIM))
    put(folder, *(encode_example(replace(record, label=0)) for record in records))
    refuses(folder, f"{VICTIM}: 5 records .*the manifest says 5", deep=True)


def test_b18_unknown_labels_are_good_where_the_manifest_counts_them(tmp_path):
    records = [sample_record(0), sample_record(1, label=-1)]
    assert write_folder(tmp_path, [("test", 2)], records).labels == (-1, 0)
    verify_records(tmp_path, deep=True)


def test_b19_no_manifest_or_another(folder):
    path = folder / MANIFEST_NAME
    text = path.read_text()
    path.write_text(text.replace('"records": 6', '"records": 7'))
    refuses(folder, "manifest.json: edited or damaged")
    path.unlink()
    refuses(folder, "manifest.json: not found")


def test_b24_the_same_media_in_two_splits(tmp_path):
    records = [sample_record(0), sample_record(1), sample_record(0)]
    write_folder(tmp_path, [("train", 2), ("val", 1)], records)
    message = f"{VAL}: record 0 at byte 0 .000.png.: the same media file as .*train.* split train"
    refuses(tmp_path, message, deep=True)
    verify_records(tmp_path, deep=False)


def test_b24_frames_of_one_video_in_one_split_are_no_fault(tmp_path):
    records = [sample_record(0, frame=0), sample_record(0, frame=9), sample_record(1)]
    write_folder(tmp_path, [("train", 1), ("train", 1), ("val", 1)], records)
    verify_records(tmp_path, deep=True)


def test_b24_kept_splits_that_admit_their_overlap_are_no_damage(tmp_path):
    records = [sample_record(0), sample_record(0)]
    write_folder(tmp_path, [("train", 1), ("val", 1)], records, split_proof={"leak_free": False})
    verify_records(tmp_path, deep=True)
