"""Damaged records met while training or evaluating (RELIABILITY.md 2b)."""

from dataclasses import replace
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_samples import (
    PLAIN,
    SIZE,
    order,
    picture,
    read,
    sample,
    write_folder,
)

from pipelines.bad_records import naming_bad_records
from pipelines.dataset import evaluation_batches, training_batches
from pipelines.errors import DatasetError


def damaged_folder(path, damage):
    """A sound folder of two shards, the second of which is then damaged."""
    manifest = write_folder(
        path, [[sample(n) for n in range(9)], [sample(n) for n in range(9, 20)]]
    )
    shard = path / manifest.shards[1].file
    with tf.io.TFRecordWriter(str(path / "edited")) as writer:
        for record in damage(list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())):
            writer.write(record)
    (path / "edited").replace(shard)
    return manifest


def edited(serialized, key, value):
    example = tf.train.Example.FromString(serialized)
    feature = example.features.feature[key]
    values = feature.bytes_list.value if isinstance(value, bytes) else feature.int64_list.value
    values[:] = [value]
    return example.SerializeToString()


FAULTS = {
    "a lost record": lambda records: records[:-1],
    "a record too many": lambda records: [*records, records[0]],
    "an empty shard": lambda _: [],
    "a picture that is none": lambda records: [
        *records[:4], edited(records[4], "image/encoded", b"\xff\xd8\xff no"), *records[5:]
    ],
    "a forged size": lambda records: [
        *records[:4], edited(records[4], "image/encoded", picture(7, 18)), *records[5:]
    ],
    "a label that is none": lambda records: [
        *records[:4], edited(records[4], "image/class/label", 2), *records[5:]
    ],
    "an unknown domain": lambda records: [
        *records[:4], edited(records[4], "media/domain", b"x"), *records[5:]
    ],
    "no example": lambda records: [*records[:4], b"rubbish", *records[5:]],
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_records_stop_both_kinds_of_reading(tmp_path, fault):
    manifest = damaged_folder(tmp_path, FAULTS[fault])
    settings = replace(PLAIN, batch_size=4)
    for batches in (
        training_batches(tmp_path, manifest, settings),
        evaluation_batches(tmp_path, manifest, "train", SIZE, 4),
    ):
        with pytest.raises(tf.errors.OpError):
            read(batches, batches.steps_per_epoch + 1)


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_records_are_named(tmp_path, fault):
    manifest = damaged_folder(tmp_path, FAULTS[fault])
    with pytest.raises(DatasetError, match=manifest.shards[1].file), naming_bad_records(tmp_path):
        read(evaluation_batches(tmp_path, manifest, "train", SIZE, 4), 10)


def test_a_filter_notices_lost_records_too(tmp_path):
    manifest = write_folder(tmp_path, [[sample(n, n % 2) for n in range(10)]])
    shard = Path(tmp_path, manifest.shards[0].file)
    records = list(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for record in [*records[:4], edited(records[4], "image/class/label", 1), *records[5:]]:
            writer.write(record)
    with pytest.raises(tf.errors.OpError, match="expected to contain 5"):
        order(tmp_path, manifest, replace(PLAIN, labels="real"), epochs=1)
