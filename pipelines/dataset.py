"""Record shards to batches: images uint8 RGB (batch, size, size, 3), and targets.

Training batches go on over epochs without end, their order a pure function of (seed, epoch); the
last batch of an epoch holds what is left and never mixes epochs. Evaluation batches are one pass
in record order. Shards and counts come from the manifest, never from a folder listing; a shard
that holds fewer or more records than the manifest says is an error, not a shorter epoch.
"""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from pipelines.augment import augment, augment_mask
from pipelines.augment_ops import to_pixels
from pipelines.changes import to_cells
from pipelines.decoding import IMAGE_KEYS, decode_batch
from pipelines.errors import InputError
from pipelines.media_item import FAKE
from pipelines.pseudo_fakes import Examples, with_pairs, with_replacements
from pipelines.records.manifest import Manifest
from pipelines.records.reader import feature_spec
from pipelines.sampling import (
    ENDLESS,
    Group,
    Sampler,
    Selection,
    eligible_groups,
    encoded_name,
    seed_from,
)
from pipelines.settings import BatchSettings, PseudoFakeSettings

_MAX_PARALLEL = 16  # batches decoded at once: memory, not speed, is the limit
_PREFETCH = 1  # the parallel map holds finished batches of its own
_LARGEST_BATCH = 2**32
_TARGET_KEYS = ("image/class/label", "media/domain")


@dataclass(frozen=True)
class Batches:
    """Batches and how many there are.

    Args:
        dataset: Yields `(images, {"label": int32 (batch,), "domain": int32 (batch,)})`; with
            pseudo-fakes the targets also hold `family`, int32 (batch,): 0 an image of the dataset,
            1 the first of PSEUDO_FAKE_FAMILIES; and `changed`, float32 (batch, CELLS, CELLS): where
            it differs from its real image (`pipelines.changes`).
        steps_per_epoch: Batches in one pass over the examples.
        num_examples: Examples in one pass, over all workers.
    """

    dataset: tf.data.Dataset
    steps_per_epoch: int
    num_examples: int


def training_batches(
    folder: Path,
    manifest: Manifest,
    settings: BatchSettings,
    *,
    split: str = "train",
    first_epoch: int = 0,
    skip_steps: int = 0,
    domains: Sequence[str] = (),
    shard: tuple[int, int] = (0, 1),
) -> Batches:
    """Returns shuffled, augmented batches, endless over epochs.

    An epoch has as many examples as there are eligible records, also when sampling is balanced:
    then small groups repeat in new orders and large ones go on where the epoch before left off.

    With pseudo-fakes, records without fakes give batches of pairs: half a batch is read, each image
    is followed by its pseudo-fake, and both count as examples. Where there are fakes, a share of
    them is replaced by pseudo-fakes of real images in the same batch.

    Args:
        folder: Record folder.
        manifest: Its manifest.
        settings: Batch size, sampling, pseudo-fakes, augmentation.
        split: Split to train on.
        first_epoch: Epoch to start with.
        skip_steps: Batches of that epoch to leave out: a resume in mid-epoch.
        domains: Names of the domains used; empty: all. Domain ids count these, in the order of
            the manifest, whether or not the split has images of each.
        shard: `(index, count)`: this worker's part of every batch.

    Raises:
        DatasetError: No eligible records, or a domain the data does not have.
        InputError: A batch of pairs of an odd size.
        ValueError: The batches cannot be divided among the workers.
    """
    index, count = shard
    groups = eligible_groups(manifest, split, settings.labels, domains)
    sampler = Sampler(
        folder, manifest, split, groups, settings.balance, settings.shuffle_buffer, settings.seed
    )
    paired = settings.pseudo_fakes is not None and all(group.label != FAKE for group in groups)
    num_examples = sampler.num_examples
    batch_size = _paired_size(settings.batch_size) if paired else settings.batch_size
    last_batch = (num_examples - 1) % batch_size + 1
    if batch_size % count or last_batch < count:
        raise ValueError(
            f"batches of {batch_size} and a last one of {last_batch} examples cannot be divided"
            f" among {count} workers; choose another batch size"
        )
    steps = math.ceil(num_examples / batch_size)
    first_epoch, skip_steps = first_epoch + skip_steps // steps, skip_steps % steps

    def epoch_batches(epoch: tf.Tensor) -> tf.data.Dataset:
        start = tf.where(epoch == first_epoch, tf.constant(skip_steps * batch_size, tf.int64), 0)
        examples = sampler.epoch(epoch, start)
        if count > 1:
            examples = examples.shard(count, index)
        first_places = tf.data.Dataset.range(start, num_examples, batch_size)
        epochs = tf.data.Dataset.from_tensors(epoch).repeat()
        return tf.data.Dataset.zip(examples.batch(batch_size // count), first_places, epochs)

    needed = {key: feature_spec()[key] for key in (*IMAGE_KEYS, *_TARGET_KEYS)}
    vocabulary = _used(manifest.domains, domains)
    image_seed = seed_from(settings.seed, "augmentation")
    pseudo_fakes_seed = seed_from(settings.seed, "pseudo-fakes")

    def finish(
        serialized: tf.Tensor, first_place: tf.Tensor, epoch: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        parsed = tf.io.parse_example(serialized, needed)
        images = decode_batch(parsed, batch_size // count, settings.image_size)
        targets = _targets(parsed, list(groups), vocabulary)
        places = first_place + index + count * tf.range(tf.size(serialized, tf.int64))
        # Adding the epoch to 64 random bits keeps epochs, seeds and purposes apart.
        if settings.pseudo_fakes is not None:
            add = with_pairs if paired else with_replacements
            stream = tf.constant(pseudo_fakes_seed, tf.int64) + epoch
            images, targets, places = add(
                Examples(images, targets, places), stream, settings.pseudo_fakes
            )
        if settings.augment is not None:
            stream = tf.fill(tf.shape(places), tf.constant(image_seed, tf.int64) + epoch)
            seeds = tf.stack([stream, places], axis=1)
            if "changed" in targets:
                targets["changed"] = tf.map_fn(
                    lambda example: augment_mask(example[0], example[1], settings.augment),
                    (targets["changed"], seeds),
                    fn_output_signature=tf.TensorSpec((*images.shape[1:3], 1), tf.float32),
                )
            images = tf.map_fn(
                lambda example: to_pixels(augment(example[0], example[1], settings.augment)),
                (images, seeds),
                fn_output_signature=tf.TensorSpec(images.shape[1:], tf.uint8),
            )
        elif settings.pseudo_fakes is not None:
            images = to_pixels(images)
        return images, _in_cells(targets)

    epochs = tf.data.Dataset.range(first_epoch, ENDLESS)
    dataset = epochs.flat_map(epoch_batches)
    dataset = dataset.map(finish, num_parallel_calls=_parallelism(settings.num_parallel))
    # keras fit takes an extra step where it does not know the length: DESIGN.md, trap 16.
    endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
    dataset = dataset.apply(endless).prefetch(_PREFETCH).with_options(_options())
    return Batches(dataset, steps, 2 * num_examples if paired else num_examples)


def evaluation_batches(
    folder: Path,
    manifest: Manifest,
    split: str,
    image_size: int,
    batch_size: int,
    *,
    labels: str = "all",
    domains: Sequence[str] = (),
    with_meta: bool = False,
    num_parallel: int | None = None,
) -> Batches:
    """Returns one pass over a split in record order, without augmentation.

    Args:
        folder: Record folder.
        manifest: Its manifest.
        split: Split to read.
        image_size: Side of the images, pixels.
        batch_size: Examples in a batch; the last one holds what is left.
        labels: `all`, `labelled` or `real`.
        domains: Names of the domains used; empty: all. Domain ids count these, in the order of
            the manifest, whether or not the split has images of each.
        with_meta: Yield a third element: every other feature of the records, by its key.
        num_parallel: Batches decoded at once; None: one a core.

    Raises:
        DatasetError: No eligible records, or a domain the data does not have.
    """
    groups = eligible_groups(manifest, split, labels, domains)
    selection = Selection(folder, manifest, split, tuple(groups))
    steps = math.ceil(selection.num_records / batch_size)
    keys = feature_spec() if with_meta else (*IMAGE_KEYS, *_TARGET_KEYS)
    needed = {key: feature_spec()[key] for key in keys}
    vocabulary = _used(manifest.domains, domains)

    def finish(serialized: tf.Tensor) -> tuple[tf.Tensor | dict[str, tf.Tensor], ...]:
        parsed = tf.io.parse_example(serialized, needed)
        images = decode_batch(parsed, batch_size, image_size)
        targets = _targets(parsed, list(groups), vocabulary)
        del parsed["image/encoded"]
        return (images, targets, parsed) if with_meta else (images, targets)

    dataset = selection.shards.flat_map(selection.read).batch(batch_size)
    dataset = dataset.map(finish, num_parallel_calls=_parallelism(num_parallel))
    dataset = dataset.apply(tf.data.experimental.assert_cardinality(steps))
    dataset = dataset.prefetch(_PREFETCH).with_options(_options())
    return Batches(dataset, steps, selection.num_records)


def with_fixed_pseudo_fakes(
    batches: Batches, settings: PseudoFakeSettings, num_parallel: int | None = None
) -> Batches:
    """Lets each image of one pass be followed by a pseudo-fake, the same in every pass.

    Args:
        batches: Evaluation batches without fakes or metadata, at most half as large as wanted.
        settings: Families and their weights; they decide the pictures, no seed does.
        num_parallel: Batches made at once; None: one a core.
    """
    stream = tf.constant(seed_from(0, "fixed pseudo-fakes"), tf.int64)

    def add(
        number: tf.Tensor, batch: tuple[tf.Tensor, dict[str, tf.Tensor]]
    ) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        images, targets = batch
        places = number * _LARGEST_BATCH + tf.range(tf.size(targets["label"], tf.int64))
        images, targets, _ = with_pairs(Examples(images, targets, places), stream, settings)
        return to_pixels(images), _in_cells(targets)

    dataset = batches.dataset.enumerate().map(add, num_parallel_calls=_parallelism(num_parallel))
    dataset = dataset.prefetch(_PREFETCH).with_options(_options())
    return Batches(dataset, batches.steps_per_epoch, 2 * batches.num_examples)


def _used(known: tuple[str, ...], domains: Sequence[str]) -> tuple[str, ...]:
    """The domains used, in the order of their ids."""
    return tuple(name for name in known if not domains or name in domains)


def _targets(
    parsed: dict[str, tf.Tensor], groups: list[Group], domains: tuple[str, ...]
) -> dict[str, tf.Tensor]:
    """Labels and domain ids, checked against what the manifest announced."""
    label, domain = parsed["image/class/label"], parsed["media/domain"]
    vocabulary = tf.constant([encoded_name(name) for name in domains])
    matches = tf.equal(domain[:, tf.newaxis], vocabulary)
    labels = tf.constant(sorted({group.label for group in groups}), tf.int64)
    announced = tf.reduce_any(matches, axis=1) & tf.reduce_any(
        tf.equal(label[:, tf.newaxis], labels), axis=1
    )
    message = "a record has a label or domain that the manifest does not announce"
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(announced), [message])]):
        return {
            "label": tf.cast(label, tf.int32),
            "domain": tf.argmax(matches, axis=1, output_type=tf.int32),
        }


def _in_cells(targets: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Reduces the mask of changed pixels, if there is one, to what a batch tells of it."""
    if "changed" not in targets:
        return targets
    return {**targets, "changed": to_cells(targets["changed"])}


def _paired_size(batch_size: int) -> int:
    if batch_size % 2:
        raise InputError(
            f"data.batch_size {batch_size}: pairs of a real image and its pseudo-fake need an even"
            " one"
        )
    return batch_size // 2


def _parallelism(num_parallel: int | None) -> int:
    return num_parallel or min(len(os.sched_getaffinity(0)), _MAX_PARALLEL)


def _options() -> tf.data.Options:
    options = tf.data.Options()
    # The autotuner's clock delays the end of every iterator by up to a minute: DESIGN.md, trap 20.
    options.autotune.enabled = False
    options.deterministic = True
    options.threading.max_intra_op_parallelism = 1
    # Workers take their parts by `shard`; TensorFlow must not divide them again.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return options
