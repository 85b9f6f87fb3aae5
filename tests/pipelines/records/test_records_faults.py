"""RELIABILITY.md 2b: every fault of a record folder is detected and named; good data never is."""

import gzip
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from record_samples import picture, sample_record, write_folder

from pipelines.errors import DatasetError
from pipelines.records.framing import encode_example, frame_record
from pipelines.records.manifest import FILE_NAME, load_manifest, save_manifest
from pipelines.records.schema import shard_name
from pipelines.records.verification import verify_records
from pipelines.records.writer import ShardWriter

VICTIM = shard_name("train", 1, 2)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pristine") / "records"
    write_folder(folder)
    return folder


@pytest.fixture
def folder(pristine, tmp_path):
    return Path(shutil.copytree(pristine, tmp_path / "records"))


def refuses(folder, message, deep=False):
    with pytest.raises(DatasetError, match=message) as caught:
        verify_records(folder, deep=deep)
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)


def patch_manifest(folder, shard_file):
    """Makes the manifest agree with a shard's size and hash, as somebody covering up would."""
    import hashlib

    data = (folder / shard_file).read_bytes()
    manifest = load_manifest(folder)
    shards = tuple(
        replace(s, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        if s.file == shard_file
        else s
        for s in manifest.shards
    )
    save_manifest(folder, replace(manifest, shards=shards))


def rewrite(folder, *records):
    """Puts other framed records into the victim shard and makes the manifest agree."""
    (folder / VICTIM).write_bytes(b"".join(frame_record(data) for data in records))
    patch_manifest(folder, VICTIM)


def test_good_data_raises_no_alarm(pristine):
    assert verify_records(pristine, deep=False) == verify_records(pristine, deep=True)


def record_ends(path):
    """Byte offsets at which records end."""
    data, offset, ends = path.read_bytes(), 0, []
    while offset < len(data):
        offset += int.from_bytes(data[offset : offset + 8], "little") + 16
        ends.append(offset)
    return ends


@pytest.mark.parametrize(
    ("case", "cut"),
    [("B-01", -300), ("B-02", 0), ("B-03", 5), ("B-04", -4), ("B-03", 11)],
)
def test_b01_to_b04_cut_shards(folder, case, cut):
    path = folder / VICTIM
    end = record_ends(path)[2] + cut
    path.write_bytes(path.read_bytes()[:end])
    refuses(folder, VICTIM)
    patch_manifest(folder, VICTIM)
    expected = {"B-01": "record 2 at byte", "B-02": "the manifest says", "B-03": "record 3 at byte"}
    refuses(folder, f"{VICTIM}.*{expected.get(case, 'record 2 at byte')}", deep=True)


@pytest.mark.parametrize(
    ("place", "offset"),
    [("length", 0), ("length crc", 9), ("data", 200), ("data crc", -2)],
)
def test_b05_bit_flips_anywhere(folder, place, offset):
    path = folder / VICTIM
    data = bytearray(path.read_bytes())
    ends = record_ends(path)
    position = ends[2] + offset if offset < 0 else ends[1] + offset
    data[position] ^= 0x10
    path.write_bytes(bytes(data))
    refuses(folder, f"{VICTIM}: record 2 at byte {ends[1]}", deep=True)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_b05_any_single_byte_changed_is_found(pristine, tmp_path_factory, data):
    folder = Path(shutil.copytree(pristine, tmp_path_factory.mktemp("flip") / "records"))
    content = bytearray((folder / VICTIM).read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    (folder / VICTIM).write_bytes(bytes(content))
    refuses(folder, VICTIM, deep=True)


@pytest.mark.parametrize("junk", [b"junk", bytes(64)])
def test_b06_bytes_behind_the_end(folder, junk):
    with (folder / VICTIM).open("ab") as file:
        file.write(junk)
    refuses(folder, f"{VICTIM}: .* bytes, the manifest says")
    patch_manifest(folder, VICTIM)
    refuses(folder, f"{VICTIM}: record 5 at byte", deep=True)


def test_b07_empty_shards(folder, tmp_path):
    (folder / VICTIM).write_bytes(b"")
    refuses(folder, f"{VICTIM}: 0 bytes")
    empty = tmp_path / "empty"
    write_folder(empty, [("train", 2), ("val", 0), ("test", 0)])
    assert verify_records(empty, deep=True).shards[1].records == 0


def test_b08_missing_extra_duplicate_renamed(folder, pristine):
    (folder / VICTIM).rename(folder / "kept")
    refuses(folder, f"{VICTIM}: missing")
    (folder / "kept").rename(folder / shard_name("train", 7, 9))
    refuses(folder, f"{VICTIM}: missing")
    shutil.copy(pristine / VICTIM, folder / VICTIM)
    refuses(folder, f"{shard_name('train', 7, 9)}: not in the manifest")


def test_b08_a_shard_copied_over_another(folder):
    manifest = load_manifest(folder)
    first = manifest.shards[0]
    shutil.copy(folder / first.file, folder / VICTIM)
    copied = replace(manifest.shards[1], sha256=first.sha256, bytes=first.bytes)
    shards = (first, copied, *manifest.shards[2:])
    save_manifest(folder, replace(manifest, shards=shards))
    refuses(folder, f"{VICTIM}: the same content as {first.file}")


def test_b09_a_folder_without_records(tmp_path):
    refuses(tmp_path, "no manifest.json, so no finished record folder")
    refuses(tmp_path / "nowhere", "no manifest.json")


def test_b10_a_folder_named_like_a_shard(folder):
    (folder / VICTIM).unlink()
    (folder / VICTIM).mkdir()
    refuses(folder, f"{VICTIM}: not a regular file")


@pytest.mark.parametrize("content", [b"\x00" * 4000, b"text " * 800, bytes(range(256)) * 16])
def test_b11_something_else_in_a_shard(folder, content):
    (folder / VICTIM).write_bytes(content)
    refuses(folder, VICTIM)
    patch_manifest(folder, VICTIM)
    refuses(folder, f"{VICTIM}: record 0 at byte 0", deep=True)


def test_b12_a_compressed_shard(folder):
    path = folder / VICTIM
    path.write_bytes(gzip.compress(path.read_bytes()))
    refuses(folder, f"{VICTIM}: .*gzip-compressed")


def test_b13_missing_feature_and_two_labels(folder):
    rewrite(folder, encode_example({"image/class/label": ("int64", [0])}))
    refuses(folder, f"{VICTIM}: record 0 is not of the record format", deep=True)


def test_b14_a_record_that_is_no_example(folder):
    rewrite(folder, b"\xff\xfe not a protocol buffer")
    refuses(folder, f"{VICTIM}: record 0 is not of the record format", deep=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 2}, "label 2, expected 0, 1 or -1"),
        ({"domain": "elsewhere"}, "domain 'elsewhere' is not in the manifest"),
        ({"encoded": picture(3)[:100]}, "not the one that was written"),
        ({"width": 5}, "the record says"),
    ],
)
def test_b17_b18_values_that_cannot_be(tmp_path, changes, message):
    records = [sample_record(0), replace(sample_record(1), **changes)]
    write_folder(tmp_path / "r", [("train", 2)], records)
    refuses(tmp_path / "r", f"record 1: .*{message}", deep=True)


def test_b17_a_picture_that_does_not_decode(tmp_path):
    import hashlib

    cut = picture(4)[:200]
    record = sample_record(0, encoded=cut, sha256=hashlib.sha256(cut).hexdigest())
    write_folder(tmp_path / "r", [("train", 1)], [record])
    refuses(tmp_path / "r", "record 0: the picture cannot be decoded", deep=True)


def test_b19_manifest_missing_edited_or_of_another_version(folder):
    path = folder / FILE_NAME
    text = path.read_text()
    path.write_text(text.replace('"records": 6', '"records": 7'))
    refuses(folder, "edited since it was written")
    values = json.loads(text) | {"schema_version": 99}
    path.write_text(json.dumps(values))
    refuses(folder, "record format 99, this program reads 1")
    for broken in ("", "[]", "{}", "null", text[: len(text) // 2]):
        path.write_text(broken)
        refuses(folder, "not a manifest")
    path.unlink()
    refuses(folder, "no manifest.json")


FULL_DISK = """
import resource, sys
sys.path[:0] = {path!r}
from pathlib import Path
from record_samples import sample_record
from pipelines.errors import DatasetError
from pipelines.records.writer import ShardWriter
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    with ShardWriter(Path({shard!r}), "train") as writer:
        for number in range(400):
            writer.write(sample_record(number))
except DatasetError as error:
    print(error)
    sys.exit(error.exit_code)
"""


def test_b20_a_full_disk_leaves_nothing(tmp_path):
    assert resource.RLIMIT_FSIZE
    shard = tmp_path / "faces-train.tfrecord-00000-of-00001"
    code = FULL_DISK.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parents[3])], shard=str(shard)
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 4, result.stderr
    assert "cannot be written" in result.stdout
    assert list(tmp_path.iterdir()) == []


def test_b21_writing_needs_the_block(tmp_path):
    writer = ShardWriter(tmp_path / "x", "train")
    with pytest.raises(ValueError, match="with"):
        writer.write(sample_record(0))
    with pytest.raises(AttributeError), writer:
        writer.write(None)
    assert list(tmp_path.iterdir()) == []


ENDLESS_WRITER = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
from record_samples import sample_record
from pipelines.records.writer import ShardWriter
records = [sample_record(number) for number in range(50)]
print("ready", flush=True)
for turn in range(10**6):
    path = Path({folder!r}) / f"faces-train.tfrecord-{{turn:05d}}-of-99999"
    with ShardWriter(path, "train") as w:
        for record in records:
            w.write(record)
"""


def test_b22_kill_while_writing_leaves_only_whole_shards(tmp_path):
    from pipelines.records.reader import iter_records

    code = ENDLESS_WRITER.format(
        path=[str(Path(__file__).parent), str(Path(__file__).parents[3])], folder=str(tmp_path)
    )
    for delay in (0.02, 0.05, 0.11, 0.17):
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    named = [path for path in tmp_path.iterdir() if ".tmp-" not in path.name]
    assert named
    for path in named:
        assert sum(1 for _ in iter_records(path)) == 50


def test_b24_the_same_picture_in_two_splits(tmp_path):
    records = [sample_record(0), sample_record(1), sample_record(0)]
    write_folder(tmp_path / "r", [("train", 2), ("val", 1)], records)
    refuses(tmp_path / "r", r"faces-val.*record 0: the same picture as .*train", deep=True)
