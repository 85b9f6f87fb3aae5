"""B-17: pictures that cannot be decoded are named, and with `skip` left out up to a cap."""

import hashlib
import io
import json
from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines import bad_records as bad_records_module
from pipelines.bad_records import naming_bad_records, skipped_warning, without_bad_records
from pipelines.dataset import evaluation_batches, training_batches
from pipelines.errors import DatasetError
from pipelines.records.example import encode_example
from pipelines.records.framing import frame
from pipelines.records.manifest import Manifest, ShardInfo, load_manifest, save_manifest, shard_name
from pipelines.records.pictures import picture_fault
from pipelines.records.schema import FaceRecord
from pipelines.records.shards import iter_kept
from pipelines.settings import BatchSettings

SIDE = 8
BATCH = 8
BAD = {"train": {17, 40}, "val": {3}}
"""Numbers of the records whose pictures are damaged."""
SIZES = {"train": [30, 25], "val": [10], "test": [2]}
LABELS = {number: number % 2 for number in range(55)}


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "jpeg", quality=95, subsampling=0)
    return file.getvalue()


def sample(number, split, picture=None):
    """A record whose grey level is its number."""
    data = picture or encoded(np.full((SIDE, SIDE, 3), number, np.uint8))
    return FaceRecord(
        encoded=data,
        format="jpeg",
        height=SIDE,
        width=SIDE,
        sha256=hashlib.sha256(f"{split} {number}".encode()).hexdigest(),
        label=number % 2,
        domain="ab"[number % 3 > 0],
        path=f"{split}{number}.jpg",
        source_format="jpeg",
        source_bytes=len(data),
        source_width=SIDE,
        source_height=SIDE,
    )


def write_folder(folder, bad):
    """Writes shards as a writer without checks would: sound but for some pictures."""
    folder.mkdir()
    shards = []
    for split, sizes in SIZES.items():
        number = 0
        for index, size in enumerate(sizes):
            records = []
            for _ in range(size):
                record = sample(number, split)
                if number in bad.get(split, ()):
                    record = replace(record, encoded=record.encoded[:-40] + b"\xff\xd9")
                    assert picture_fault(record, decode=True) is not None
                records.append(record)
                number += 1
            data = b"".join(frame(encode_example(record)) for record in records)
            name = shard_name(split, index, len(sizes))
            (folder / name).write_bytes(data)
            counts = Counter(record.count_key for record in records)
            digest = hashlib.sha256(data).hexdigest()
            shards.append(ShardInfo(name, split, size, len(data), digest, dict(counts)))
    save_manifest(folder, Manifest("sample", {}, tuple(shards), ("a", "b")))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("bad") / "records", BAD)


@pytest.fixture(autouse=True)
def generous_cap(monkeypatch):
    monkeypatch.setattr(bad_records_module, "LARGEST_BAD_SHARE", 0.05)  # 3 of 67


def usable(folder, splits=("train", "val")):
    return without_bad_records(folder, load_manifest(folder), splits)


def read(batches, steps=None):
    """Numbers of the records, one list a batch."""
    dataset = batches.dataset if steps is None else batches.dataset.take(steps)
    return [images.numpy()[:, 0, 0, 0].tolist() for images, _ in dataset]


def test_the_list_names_shard_and_index_and_counts_follow(folder):
    calls = []
    manifest = load_manifest(folder)
    left = without_bad_records(
        folder, manifest, ("train", "val"), lambda done, total: calls.append((done, total))
    )
    found = [(bad.file, bad.index) for bad in left.skipped]
    assert found == [
        (shard_name("train", 0, 2), 17),
        (shard_name("train", 1, 2), 10),
        (shard_name("val", 0, 1), 3),
    ]
    assert all("cannot be decoded" in bad.reason for bad in left.skipped)
    assert [shard.records for shard in left.shards] == [29, 24, 9, 2]
    expected = Counter(sample(n, "train").count_key for n in range(55) if n not in BAD["train"])
    assert left.counts()["train"] == expected
    assert left.fingerprint() == manifest.fingerprint()
    assert calls == [(30, 65), (55, 65), (65, 65)]
    warning = skipped_warning(folder, left)
    assert "3 records" in warning
    for file, index in found:
        assert f"{file}: record {index}" in warning
    assert skipped_warning(folder, manifest) is None
    with pytest.raises(ValueError, match="not for storing"):
        save_manifest(folder, left)


def test_above_the_cap_everything_is_refused_with_count_and_cap(folder, monkeypatch):
    monkeypatch.setattr(bad_records_module, "LARGEST_BAD_SHARE", 0.001)
    with pytest.raises(DatasetError) as caught:
        usable(folder)
    assert "3 records of train and val cannot be decoded" in str(caught.value)
    assert "at most 0.1% of the folder's 67, so 0, may be left out" in str(caught.value)
    assert f"{shard_name('train', 0, 2)}: record 17 at byte" in str(caught.value)
    assert caught.value.exit_code == 4
    # Two of 67 are under 3 % and three are not.
    monkeypatch.setattr(bad_records_module, "LARGEST_BAD_SHARE", 0.03)
    assert len(usable(folder, ["train"]).skipped) == 2
    with pytest.raises(DatasetError, match="so 2, may be"):
        usable(folder)


def test_only_the_splits_asked_for_are_opened(folder):
    assert usable(folder, ["test"]).skipped == ()
    (bad,) = usable(folder, ["val"]).skipped
    assert bad.index == 3


def test_other_damage_is_never_left_out(tmp_path):
    folder = write_folder(tmp_path / "records", BAD)
    shard = folder / shard_name("train", 1, 2)
    data = bytearray(shard.read_bytes())
    data[-30] ^= 1
    shard.write_bytes(data)
    with pytest.raises(DatasetError, match=f"{shard.name}: record 24 .*checksum of the data"):
        usable(folder)


@pytest.mark.parametrize("balance", ["none", "class"])
def test_training_leaves_them_out_in_every_epoch(folder, balance):
    settings = BatchSettings(SIDE, BATCH, balance=balance, shuffle_buffer=16)
    batches = training_batches(folder, usable(folder), settings)
    assert (batches.num_examples, batches.steps_per_epoch) == (53, 7)
    through = read(batches, 14)
    epochs = [through[:7], through[7:]]
    good = sorted(set(range(55)) - BAD["train"])
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [8, 8, 8, 8, 8, 8, 5]
        numbers = sorted(number for batch in epoch for number in batch)
        assert not BAD["train"] & set(numbers)
        if balance == "none":
            assert numbers == good


@pytest.mark.parametrize("labels", ["labelled", "real"])
def test_a_start_anywhere_gives_the_same_order(folder, labels):
    settings = BatchSettings(SIDE, BATCH, labels=labels, shuffle_buffer=16)
    manifest = usable(folder)
    through = read(training_batches(folder, manifest, settings), 12)
    steps = training_batches(folder, manifest, settings).steps_per_epoch
    resumed = training_batches(folder, usable(folder), settings, first_epoch=1, skip_steps=2)
    assert read(resumed, 10 - steps) == through[steps + 2 :]


def test_evaluation_keeps_the_order_of_what_is_left(folder):
    manifest = usable(folder)
    batches = evaluation_batches(folder, manifest, "val", SIDE, 4)
    assert (batches.num_examples, batches.steps_per_epoch) == (9, 3)
    assert int(batches.dataset.cardinality()) == 3
    kept = [number for number in range(10) if number != 3]
    assert [number for batch in read(batches) for number in batch] == kept
    (shard,) = manifest.split_shards("val")
    assert [record.path for record in iter_kept(folder, manifest, shard)] == [
        f"val{number}.jpg" for number in kept
    ]


def test_fit_takes_epochs_times_steps_iterations(folder):
    # C-17. Of 9 a batch, 55 records would make 7 batches, the 53 left make 6.
    batches = training_batches(folder, usable(folder), BatchSettings(SIDE, 9))
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)
    dataset = batches.dataset.map(lambda images, targets: (images, targets["label"]))
    steps = batches.steps_per_epoch
    model.fit(dataset, epochs=3, steps_per_epoch=steps, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3 * 6 == 3 * -(-53 // 9)


def test_a_lost_record_is_still_noticed(folder, tmp_path):
    manifest = usable(folder)
    shard = folder / shard_name("val", 0, 1)
    whole = shard.read_bytes()
    records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    try:
        shard.write_bytes(b"".join(frame(record) for record in records[:-1]))
        with pytest.raises(tf.errors.OpError, match="expected to contain 9"):
            read(evaluation_batches(folder, manifest, "val", SIDE, 4))
    finally:
        shard.write_bytes(whole)


def refused_by_tensorflow_alone():
    """A JPEG that Pillow decodes and TensorFlow does not, found by changing one byte."""
    whole = encoded(np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8))
    for place in range(2, len(whole) - 2):
        for value in (0, 1, 255):
            data = whole[:place] + bytes([value]) + whole[place + 1 :]
            if picture_fault(sample(0, "train", data), decode=True) is not None:
                continue
            try:
                tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE")
            except tf.errors.InvalidArgumentError:
                return data
    raise AssertionError("the two decoders agree on every change")


def test_a_picture_only_the_batches_decoder_refuses_is_named_and_left_out(tmp_path, monkeypatch):
    data = refused_by_tensorflow_alone()
    monkeypatch.setitem(SIZES, "val", [2])
    folder = write_folder(tmp_path / "records", {})
    shard = folder / shard_name("val", 0, 1)
    content = frame(encode_example(sample(0, "val"))) + frame(
        encode_example(sample(1, "val", data))
    )
    shard.write_bytes(content)
    manifest = load_manifest(folder)
    digest = hashlib.sha256(content).hexdigest()
    shards = [
        replace(one, bytes=len(content), sha256=digest) if one.file == shard.name else one
        for one in manifest.shards
    ]
    save_manifest(folder, replace(manifest, shards=tuple(shards)))
    manifest = load_manifest(folder)
    with (
        pytest.raises(DatasetError, match=f"{shard.name}: record 1 at .*on-bad-record skip"),
        naming_bad_records(folder),
    ):
        read(evaluation_batches(folder, manifest, "val", SIDE, 2))
    left = usable(folder)
    assert [(bad.file, bad.index) for bad in left.skipped] == [(shard.name, 1)]
    assert read(evaluation_batches(folder, left, "val", SIDE, 2)) == [[0]]


def test_records_left_out_are_not_blamed_for_another_error(folder):
    manifest = usable(folder)
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="mine"),
        naming_bad_records(folder, manifest.skipped),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "mine")


def test_bad_records_are_json(folder):
    from dataclasses import asdict

    content = [asdict(bad) for bad in usable(folder).skipped]
    assert json.loads(json.dumps(content)) == content
