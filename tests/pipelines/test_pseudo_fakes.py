"""Batches with pseudo-fakes: pairs, replacements, families, order and resume."""

import dataclasses
import hashlib
import io
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.dataset import evaluation_batches, training_batches, with_fixed_pseudo_fakes
from pipelines.errors import InputError
from pipelines.pseudo_fakes import Examples, make_pairs, with_pairs, with_replacements
from pipelines.records.manifest import Manifest, save_manifest, shard_name
from pipelines.records.schema import FaceRecord
from pipelines.records.writer import ShardWriter
from pipelines.settings import AugmentSettings, BatchSettings, PseudoFakeSettings
from pipelines.sources.synthetic_portraits import render_face

SIZE = 32
MIXED = PseudoFakeSettings(self_blend=2.0, splice=1.0, resample=1.0)
BOTH = PseudoFakeSettings(splice=1.0)
ONE = PseudoFakeSettings(change_real=0.0)
STREAM = tf.constant(11, tf.int64)
GENTLE = AugmentSettings(cutout=0.0, noise=0.0, jpeg=0.0)


@pytest.fixture(scope="module")
def faces():
    """Uint8 (12, SIZE, SIZE, 3)."""
    return np.stack([render_face(3, person, 0, 64).pixels[::2, ::2] for person in range(12)])


def write(folder, faces, labels):
    """Records of both splits, one shard each."""
    folder.mkdir()
    infos = []
    for split in ("train", "val"):
        with ShardWriter(folder / shard_name(split, 0, 1), split) as writer:
            for number, (pixels, label) in enumerate(zip(faces, labels, strict=True)):
                file = io.BytesIO()
                Image.fromarray(pixels).save(file, "png")
                encoded = file.getvalue()
                record = FaceRecord(
                    encoded=encoded,
                    format="png",
                    height=SIZE,
                    width=SIZE,
                    sha256=hashlib.sha256(encoded).hexdigest(),
                    label=label,
                    domain="ab"[number % 2],
                    path=f"{split}{number}.png",
                    source_format="png",
                    source_bytes=len(encoded),
                    source_width=SIZE,
                    source_height=SIZE,
                )
                writer.write(record)
        infos.append(writer.info)
    manifest = Manifest(name="faces", settings={}, shards=tuple(infos), domains=("a", "b"))
    save_manifest(folder, manifest)
    return folder, manifest


@pytest.fixture(scope="module")
def real_records(tmp_path_factory, faces):
    return write(tmp_path_factory.mktemp("real") / "records", faces, [0] * 12)


@pytest.fixture(scope="module")
def mixed_records(tmp_path_factory, faces):
    return write(tmp_path_factory.mktemp("mixed") / "records", faces, [0, 0, 1] * 4)


def batch_settings(**changes):
    values = {"image_size": SIZE, "batch_size": 8, "pseudo_fakes": ONE, "seed": 5}
    return BatchSettings(**values | changes)


def take(records, settings, count, **options):
    batches = training_batches(*records, settings, **options)
    return [
        (images.numpy(), {name: values.numpy() for name, values in targets.items()})
        for images, targets in batches.dataset.take(count)
    ]


def same(first, second):
    return all(
        np.array_equal(images, others) and all(np.array_equal(t[name], o[name]) for name in t)
        for (images, t), (others, o) in zip(first, second, strict=True)
    )


def test_records_without_fakes_give_pairs(real_records, faces):
    settings = batch_settings(batch_size=10)
    batches = training_batches(*real_records, settings)
    assert (batches.num_examples, batches.steps_per_epoch) == (24, 3)
    epoch = take(real_records, settings, 3)
    seen = []
    for (images, targets), pairs in zip(epoch, (5, 5, 2), strict=True):
        assert images.dtype == np.uint8
        assert images.shape == (2 * pairs, SIZE, SIZE, 3)
        assert targets["label"].tolist() == [0, 1] * pairs
        assert targets["family"].tolist() == [0, 1] * pairs
        assert targets["family"].dtype == np.int32
        assert np.array_equal(targets["domain"][::2], targets["domain"][1::2])
        for real, fake in zip(images[::2], images[1::2], strict=True):
            number = next(i for i, pixels in enumerate(faces) if np.array_equal(pixels, real))
            seen.append(number)
            changed = np.any(real != fake, axis=-1).mean()
            assert changed < 0.7
            assert np.abs(real.astype(int) - fake).mean() < 40
    assert sorted(seen) == list(range(12))


def test_odd_batches_are_refused(real_records, mixed_records):
    with pytest.raises(InputError, match="even"):
        training_batches(*real_records, batch_settings(batch_size=7))
    training_batches(*mixed_records, batch_settings(batch_size=7))


@pytest.mark.parametrize("kind", ["real", "mixed"])
def test_resume_gives_the_same_pixels(kind, real_records, mixed_records):
    records = {"real": real_records, "mixed": mixed_records}[kind]
    settings = batch_settings(augment=AugmentSettings(), pseudo_fakes=BOTH)
    steps = training_batches(*records, settings).steps_per_epoch
    whole = take(records, settings, 2 * steps)
    assert same(whole[steps + 1 :], take(records, settings, steps - 1, first_epoch=1, skip_steps=1))
    assert not same(whole[:steps], whole[steps:])
    other = take(records, dataclasses.replace(settings, seed=6), 1)
    assert not same(whole[:1], other)


def test_pairs_are_degraded_alike(real_records):
    """The forged region aside, both images of a pair went through the same augmentation."""
    for images, _ in take(real_records, batch_settings(augment=GENTLE), 3):
        pairs = images.astype(int).reshape(-1, 2, SIZE, SIZE, 3)
        gaps = np.abs(pairs[:, 0] - pairs[:, 1]).max(axis=-1)
        assert np.all((gaps <= 3).mean(axis=(1, 2)) > 0.2)
        other = np.abs(pairs[:-1, 0] - pairs[1:, 1]).max(axis=-1)
        assert np.median((other <= 3).mean(axis=(1, 2))) < 0.15


def test_fakes_of_the_dataset_are_replaced_in_part(mixed_records):
    settings = batch_settings(batch_size=6, balance="class")
    found = Counter()
    for _, targets in take(mixed_records, settings, 40):
        assert np.all(targets["label"][targets["family"] > 0] == 1)
        found.update(zip(targets["label"].tolist(), (targets["family"] > 0).tolist(), strict=True))
    fakes = found[1, True] + found[1, False]
    assert found[0, True] == 0
    assert abs(fakes - 120) <= 12
    # Expected near a half; 99.9 % of a binomial count.
    assert 0.3 < found[1, True] / fakes < 0.62


def test_replacements_take_domain_and_place_of_their_real_image(faces):
    label = tf.constant([0, 1, 1, 0, -1, 1], tf.int32)
    examples = Examples(
        tf.constant(faces[:6]),
        {"label": label, "domain": tf.constant([4, 1, 2, 5, 3, 0], tf.int32)},
        tf.range(100, 106, dtype=tf.int64),
    )
    settings = dataclasses.replace(ONE, share=1.0)
    images, targets, places = with_replacements(examples, STREAM, settings)
    # Two real images: the first two fakes are replaced, the third stays.
    assert targets["family"].numpy().tolist() == [0, 1, 1, 0, 0, 0]
    assert targets["domain"].numpy().tolist() == [4, 4, 5, 5, 3, 0]
    assert targets["label"].numpy().tolist() == label.numpy().tolist()
    assert places.numpy().tolist() == [100, 100, 103, 103, 104, 105]
    pixels = np.rint(images.numpy() * 255).astype(np.uint8)
    for index in (0, 3, 4, 5):
        assert np.array_equal(pixels[index], faces[index])
    for index, source in ((1, 0), (2, 3)):
        assert 0 < np.mean(np.any(pixels[index] != faces[source], axis=-1)) < 0.7


@pytest.mark.parametrize("labels", [[1, 1], [0, 0], [0, -1]])
def test_nothing_to_replace_changes_nothing(labels, faces):
    examples = Examples(
        tf.constant(faces[:2]),
        {"label": tf.constant(labels, tf.int32), "domain": tf.zeros(2, tf.int32)},
        tf.range(2, dtype=tf.int64),
    )
    images, targets, _ = with_replacements(examples, STREAM, dataclasses.replace(ONE, share=1.0))
    assert np.array_equal(np.rint(images * 255.0), faces[:2])
    assert targets["family"].numpy().tolist() == [0, 0]


def test_unknown_images_have_unknown_pseudo_fakes(faces):
    examples = Examples(
        tf.constant(faces[:2]),
        {"label": tf.constant([0, -1]), "domain": tf.constant([0, 1])},
        tf.range(2, dtype=tf.int64),
    )
    _, targets, places = with_pairs(examples, STREAM, ONE)
    assert targets["label"].numpy().tolist() == [0, 1, -1, -1]
    assert targets["domain"].numpy().tolist() == [0, 0, 1, 1]
    assert places.numpy().tolist() == [0, 0, 1, 1]


def test_families_come_as_often_as_their_weights_say(faces):
    count = 400
    pool = tf.image.convert_image_dtype(tf.constant(faces), tf.float32)
    seeds = tf.stack([tf.fill((count,), STREAM), tf.range(count, dtype=tf.int64)], axis=1)
    families = make_pairs(pool, tf.range(count) % 12, seeds, MIXED)[2]
    found = np.bincount(families.numpy(), minlength=4)
    assert found[0] == 0
    # Four deviations of a binomial count.
    np.testing.assert_allclose(found[1:], [200, 100, 100], atol=40)


def test_one_face_alone_is_spliced_with_its_mirror_image(faces):
    pool = tf.image.convert_image_dtype(tf.constant(faces[:1]), tf.float32)
    only = PseudoFakeSettings(self_blend=0.0, splice=1.0)
    real, fake, family = make_pairs(pool, tf.constant([0]), tf.constant([[1, 2]], tf.int64), only)
    assert family.numpy().tolist() == [2]
    assert not np.array_equal(real, fake)


def test_same_pairs_eagerly_and_in_a_dataset(faces):
    pool = tf.image.convert_image_dtype(tf.constant(faces[:4]), tf.float32)
    seeds = tf.stack([tf.fill((4,), STREAM), tf.range(4, dtype=tf.int64)], axis=1)
    eager = make_pairs(pool, tf.range(4), seeds, MIXED)
    dataset = tf.data.Dataset.from_tensors((pool, seeds)).map(
        lambda pool, seeds: make_pairs(pool, tf.range(4), seeds, MIXED)
    )
    for one, other in zip(eager, next(iter(dataset)), strict=True):
        np.testing.assert_allclose(one, other, atol=2e-5)


def test_validation_pairs_are_the_same_in_every_pass(real_records, faces):
    plain = evaluation_batches(*real_records, "val", SIZE, 4)
    batches = with_fixed_pseudo_fakes(plain, MIXED)
    assert (batches.num_examples, batches.steps_per_epoch) == (24, 3)
    assert int(batches.dataset.cardinality()) == 3
    first, again = (
        [(images.numpy(), targets["family"].numpy()) for images, targets in batches.dataset]
        for _ in range(2)
    )
    for (images, families), (others, _) in zip(first, again, strict=True):
        assert np.array_equal(images, others)
        assert images.dtype == np.uint8
        assert np.all(families[::2] == 0)
        assert np.all(families[1::2] > 0)
    pictures = np.concatenate([images[1::2] for images, _ in first])
    assert len({picture.tobytes() for picture in pictures}) == len(faces)
