"""Batches: order, resume, sampling, sharding, decoding and lost records.

Every record is a grey picture whose level is its number, so batches show which records they hold.
"""

import hashlib
import io
import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import keras
import numpy as np
import pytest
import tensorflow as tf
from dataset_samples import (
    BATCH,
    PLAIN,
    SIZE,
    joined,
    numbers_of,
    order,
    read,
    sample,
    write_folder,
)
from PIL import Image

from pipelines.bad_records import naming_bad_records
from pipelines.dataset import evaluation_batches, training_batches
from pipelines.errors import DatasetError
from pipelines.records.manifest import Manifest, ShardInfo, load_manifest
from pipelines.settings import AugmentSettings

# label, domain -> numbers of the records
GROUPS = {
    (0, "a"): range(30),
    (1, "a"): range(40, 47),
    (0, "b"): range(60, 70),
    (-1, "b"): [90, 91],
}
GROUP_OF = {number: group for group, numbers in GROUPS.items() for number in numbers}
LABELLED = sorted(number for number, (label, _) in GROUP_OF.items() if label >= 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    records = [sample(number, *group) for number, group in GROUP_OF.items()]
    write_folder(path, [records[:20], records[20:33], records[33:]])
    return path


@pytest.fixture(scope="module")
def manifest(folder):
    return load_manifest(folder)


def test_every_epoch_holds_every_record_once_in_a_new_order(folder, manifest):
    epochs = order(folder, manifest, epochs=4)
    assert [sorted(epoch) for epoch in epochs] == [LABELLED] * 4
    assert len({tuple(epoch) for epoch in epochs}) == 4
    # Shuffled for good: neighbours on disk (first shard: 0..19) are spread over the epoch.
    places = [epochs[0].index(number) for number in range(20)]
    assert np.ptp(places) > 30


def test_the_last_batch_is_partial_and_epochs_never_mix(folder, manifest):
    batches = training_batches(folder, manifest, PLAIN)
    assert (batches.num_examples, batches.steps_per_epoch) == (47, 6)
    numbers, images, targets = read(batches, 12)
    assert [len(batch) for batch in numbers] == [8, 8, 8, 8, 8, 7] * 2
    assert batches.dataset.element_spec[0].shape == (None, SIZE, SIZE, 3)
    assert batches.dataset.element_spec[0].dtype == tf.uint8
    for batch, pixels, target in zip(numbers, images, targets, strict=True):
        assert [GROUP_OF[number][0] for number in batch] == target["label"].numpy().tolist()
        domains = [manifest.domains.index(GROUP_OF[number][1]) for number in batch]
        assert domains == target["domain"].numpy().tolist()
        assert target["label"].dtype == target["domain"].dtype == tf.int32
        np.testing.assert_array_equal(pixels[:, 3, 5, 2], batch)


@pytest.mark.parametrize("balance", ["none", "class", "class_domain"])
def test_a_start_anywhere_gives_the_same_order(folder, manifest, balance):
    settings = replace(PLAIN, balance=balance)
    through = read(training_batches(folder, manifest, settings), 20)[0]
    for epoch, skip in ((2, 0), (1, 5), (0, 8)):
        batches = training_batches(folder, manifest, settings, first_epoch=epoch, skip_steps=skip)
        start = 6 * epoch + skip
        assert read(batches, 8)[0] == through[start : start + 8]


def test_a_start_anywhere_gives_the_same_pixels(folder, manifest):
    settings = replace(PLAIN, augment=AugmentSettings())
    through = read(training_batches(folder, manifest, settings), 10)[1]
    batches = training_batches(folder, manifest, settings, first_epoch=1, skip_steps=2)
    for ours, expected in zip(read(batches, 2)[1], through[8:], strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_order_is_the_seeds_alone(folder, manifest):
    tf.random.set_seed(11)
    first = order(folder, manifest, epochs=2)
    keras.utils.set_random_seed(0)
    again = order(folder, manifest, replace(PLAIN, batch_size=5, num_parallel=1), epochs=2)
    assert again == first
    assert order(folder, manifest, replace(PLAIN, seed=1), epochs=2) != first


def test_another_process_gets_equal_batches(folder, manifest):
    settings = replace(PLAIN, balance="class", augment=AugmentSettings())
    script = f"""
import hashlib, pathlib
import tensorflow as tf
from pipelines.dataset import training_batches
from pipelines.records.manifest import load_manifest
from pipelines.settings import AugmentSettings, BatchSettings
tf.config.threading.set_inter_op_parallelism_threads(3)
tf.random.set_seed(5)
folder = pathlib.Path({str(folder)!r})
batches = training_batches(folder, load_manifest(folder), {settings!r})
digest = hashlib.sha256()
for images, targets in batches.dataset.take(9):
    digest.update(images.numpy().tobytes() + targets["label"].numpy().tobytes())
print(digest.hexdigest())
"""
    environment = os.environ | {"PYTHONHASHSEED": "99", "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    digest = hashlib.sha256()
    for images, targets in training_batches(folder, manifest, settings).dataset.take(9):
        digest.update(images.numpy().tobytes() + targets["label"].numpy().tobytes())
    assert other.stdout.strip() == digest.hexdigest()


def test_augmentation_changes_with_the_epoch_and_the_place(tmp_path):
    manifest = write_folder(tmp_path, [[sample(100, encoded=noise(SIZE, 0)) for _ in range(6)]])
    settings = replace(PLAIN, batch_size=6, augment=AugmentSettings())
    images = np.concatenate(read(training_batches(tmp_path, manifest, settings), 2)[1])
    assert len(np.unique(images.reshape(12, -1), axis=0)) == 12


def test_fit_takes_no_phantom_step(folder, manifest):
    batches = training_batches(folder, manifest, PLAIN)
    checked = evaluation_batches(folder, manifest, "train", SIZE, BATCH, labels="labelled")
    model = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)])
    model.compile("adam", "mse", jit_compile=False)

    def labels(dataset):
        return dataset.map(lambda images, targets: (images, targets["label"]))

    model.fit(
        labels(batches.dataset),
        epochs=3,
        steps_per_epoch=batches.steps_per_epoch,
        validation_data=labels(checked.dataset),
        shuffle=False,
        verbose=0,
    )
    assert int(model.optimizer.iterations) == 3 * 6
    model.fit(labels(checked.dataset), epochs=2, shuffle=False, verbose=0)
    assert int(model.optimizer.iterations) == 3 * 6 + 2 * 6


def test_class_balance_within_an_epoch(folder, manifest):
    for epoch in order(folder, manifest, replace(PLAIN, balance="class"), epochs=3):
        assert len(epoch) == 47
        labels = Counter(GROUP_OF[number][0] for number in epoch)
        assert abs(labels[0] - labels[1]) <= 2
        # Seven fakes fill 23 or 24 places: each of them three or four times.
        fakes = Counter(number for number in epoch if number in GROUPS[1, "a"])
        assert sorted(fakes) == [*GROUPS[1, "a"]]
        assert max(fakes.values()) - min(fakes.values()) <= 2


def test_balance_wears_out_large_groups_evenly(folder, manifest):
    epochs = order(folder, manifest, replace(PLAIN, balance="class"), epochs=5)
    times = Counter(number for epoch in epochs for number in epoch)
    for label in (0, 1):
        members = [number for number in LABELLED if GROUP_OF[number][0] == label]
        counts = [times[number] for number in members]
        assert max(counts) - min(counts) <= 1
    passes = [n for epoch in epochs for n in epoch if n in GROUPS[1, "a"]]
    runs = [tuple(passes[start : start + 7]) for start in range(0, 7 * (len(passes) // 7), 7)]
    assert all(sorted(run) == [*GROUPS[1, "a"]] for run in runs)
    assert len(set(runs)) == len(runs)


def test_class_domain_balance_shares_domains_then_labels(folder, manifest):
    for epoch in order(folder, manifest, replace(PLAIN, balance="class_domain"), epochs=3):
        groups = Counter(GROUP_OF[number] for number in epoch)
        # Domain b has real records only: they are all of its half.
        assert abs(groups[0, "b"] - 47 / 2) <= 2
        assert abs(groups[0, "a"] - 47 / 4) <= 2
        assert abs(groups[1, "a"] - 47 / 4) <= 2


def test_labels_and_domains_are_filtered(folder, manifest):
    real = replace(PLAIN, labels="real")
    assert sorted(order(folder, manifest, real)[0]) == [*range(30), *range(60, 70)]
    assert sorted(order(folder, manifest, real, domains=["b"])[0]) == [*range(60, 70)]
    assert sorted(order(folder, manifest, replace(PLAIN, labels="all"))[0]) == sorted(GROUP_OF)
    seen = evaluation_batches(folder, manifest, "train", SIZE, BATCH, labels="real", domains=["a"])
    assert (seen.num_examples, seen.steps_per_epoch) == (30, 4)
    assert joined(read(seen, 10)[0]) == [*range(30)]


def test_impossible_choices_are_refused(folder, manifest):
    with pytest.raises(DatasetError, match=r"no domain c, only \['a', 'b'\]"):
        training_batches(folder, manifest, PLAIN, domains=["a", "c"])
    with pytest.raises(DatasetError, match="split 'val' .* none at all"):
        evaluation_batches(folder, manifest, "val", SIZE, BATCH)
    only_unknown = Manifest(
        name="sample",
        settings={},
        shards=(ShardInfo("s", "train", 2, 10, "", {"-1|a": 2}),),
        domains=("a",),
    )
    with pytest.raises(DatasetError, match=r"'labelled' .* only {'-1\|a': 2}"):
        training_batches(folder, only_unknown, PLAIN)


@pytest.mark.parametrize("balance", ["none", "class"])
def test_workers_share_every_batch(folder, manifest, balance):
    augment = replace(AugmentSettings(), jpeg=0.0, blur=0.0, resize=0.0, noise=0.0)
    settings = replace(PLAIN, balance=balance, augment=augment)
    whole = read(training_batches(folder, manifest, settings), 12)[1]
    parts = [
        read(training_batches(folder, manifest, settings, shard=(index, 2)), 12)[1]
        for index in (0, 1)
    ]
    for batch, first, second in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(first, batch[::2])
        np.testing.assert_array_equal(second, batch[1::2])


def test_batches_that_workers_cannot_share_are_refused(folder, manifest):
    with pytest.raises(ValueError, match="among 3 workers"):
        training_batches(folder, manifest, PLAIN, shard=(0, 3))
    with pytest.raises(ValueError, match="a last one of 1 examples"):
        training_batches(folder, manifest, replace(PLAIN, batch_size=2), shard=(0, 2))


def test_fewer_records_than_a_batch(tmp_path):
    manifest = write_folder(tmp_path, [[sample(1), sample(2, 1)]])
    assert [sorted(epoch) for epoch in order(tmp_path, manifest, epochs=3)] == [[1, 2]] * 3


def noise(size, seed):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), np.uint8)
    file = io.BytesIO()
    resized = Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC)
    resized.save(file, "jpeg", quality=90, subsampling=0)
    return file.getvalue()


def test_sizes_and_formats_may_be_mixed(tmp_path):
    records = [
        sample(0, encoded=noise(SIZE, 0)),
        sample(1, encoded=noise(40, 1), size=40),
        sample(2, encoded=noise(11, 2), size=11),
        sample(200, image_format="png"),
    ]
    manifest = write_folder(tmp_path, [records])
    batches = evaluation_batches(tmp_path, manifest, "train", SIZE, BATCH)
    (images,) = read(batches, 2)[1]
    for ours, record in zip(images, records, strict=True):
        pillow = Image.open(io.BytesIO(record.encoded))
        expected = np.asarray(pillow.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
        # Pillow rounds to whole levels between and after its two passes.
        atol = 1 if record.height != SIZE else 0
        np.testing.assert_allclose(ours.astype(int), expected.astype(int), rtol=0, atol=atol)


def test_the_fast_and_the_general_decoder_give_the_same_bits(tmp_path):
    records = [sample(seed, encoded=noise(SIZE, seed)) for seed in range(6)]
    manifest = write_folder(tmp_path, [records])
    fast, general = (
        np.concatenate(read(evaluation_batches(tmp_path, manifest, "train", SIZE, size), 6)[1])
        for size in (3, 7)
    )
    np.testing.assert_array_equal(fast, general)
    expected = [np.asarray(Image.open(io.BytesIO(record.encoded))) for record in records]
    np.testing.assert_array_equal(fast, np.stack(expected))


def test_evaluation_keeps_record_order_and_tells_where_records_came_from(folder, manifest):
    batches = evaluation_batches(folder, manifest, "train", SIZE, BATCH, with_meta=True)
    assert int(batches.dataset.cardinality()) == batches.steps_per_epoch == 7
    numbers, paths, videos = [], [], []
    for images, targets, meta in batches.dataset:
        numbers += numbers_of(images)
        paths += meta["media/path"].numpy().tolist()
        videos += meta["media/video"].numpy().tolist()
        assert meta["face/box"].shape == (len(images), 4)
        np.testing.assert_array_equal(meta["image/class/label"], targets["label"])
        assert "image/encoded" not in meta
    assert numbers == [*GROUP_OF]
    assert paths == [f"{number:03}.jpg".encode() for number in numbers]
    assert videos == [f"video{number // 10}".encode() for number in numbers]


def test_errors_that_are_not_the_datas_pass_unchanged(folder):
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="mine"),
        naming_bad_records(folder),
    ):
        raise tf.errors.InvalidArgumentError(None, None, "mine")
