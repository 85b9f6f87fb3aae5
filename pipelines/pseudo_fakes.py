"""Batches with pseudo-fakes, each in the batch of the real image it was made of.

Images are RGB (batch, size, size, 3), uint8 as decoded or float32 in [0, 1]. `places` number the
examples of an epoch: both images of a pair get the real one's, so that the augmentation that
follows draws the same for both.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from pipelines.blending import resample, self_blend, splice
from pipelines.changes import changed_pixels, unchanged
from pipelines.draws import Draws
from pipelines.face_layout import face_layout
from pipelines.media_item import FAKE, REAL
from pipelines.settings import PSEUDO_FAKE_FAMILIES, PseudoFakeSettings

_FAMILY_STREAM, _SHARE_STREAM = 0x6A09E667F3BCC908, 0x3B67AE8584CAA73B


class Examples(NamedTuple):
    """The examples of a batch.

    Args:
        images: (batch, size, size, 3), uint8, or float32 in [0, 1].
        targets: `label` and `domain`, int32 (batch,), and with pseudo-fakes also `family`, int32
            (batch,), and `changed`, the mask of changed pixels (`pipelines.changes`).
        places: Int64 (batch,), their places in the epoch.
    """

    images: tf.Tensor
    targets: dict[str, tf.Tensor]
    places: tf.Tensor


def with_pairs(examples: Examples, stream: tf.Tensor, settings: PseudoFakeSettings) -> Examples:
    """Puts a pseudo-fake behind each image of a batch: real, fake, real, fake and so on.

    Args:
        examples: Images without fakes; the pseudo-fake of one whose label is unknown is unknown.
        stream: Int64 scalar, the epoch's random stream.
        settings: Families and their weights.

    Returns:
        Twice as many examples, float32 images.
    """
    images, targets, places = examples
    pool = tf.image.convert_image_dtype(images, tf.float32)
    seeds = tf.stack([tf.fill(tf.shape(places), stream), places], axis=1)
    reals, fakes, families = make_pairs(pool, tf.range(tf.size(places)), seeds, settings)
    label = targets["label"]
    paired = {name: tf.repeat(values, 2) for name, values in targets.items()}
    paired["label"] = _alternating(label, tf.where(label == REAL, FAKE, label))
    paired["family"] = _alternating(tf.zeros_like(families), families)
    known = (label == REAL)[:, tf.newaxis, tf.newaxis, tf.newaxis]
    changed = tf.where(known, changed_pixels(reals, fakes), -1.0)
    paired["changed"] = _alternating(unchanged(reals, label == REAL), changed)
    return Examples(_alternating(reals, fakes), paired, tf.repeat(places, 2))


def with_replacements(
    examples: Examples, stream: tf.Tensor, settings: PseudoFakeSettings
) -> Examples:
    """Replaces some fakes of a batch by pseudo-fakes of its real images, each used at most once.

    Args:
        examples: Images of any label.
        stream: Int64 scalar, the epoch's random stream.
        settings: Families, their weights, and the share of fakes to replace.

    Returns:
        As many examples, float32 images. A pseudo-fake has its real image's domain and place.
    """
    images, targets, places = examples
    images = tf.image.convert_image_dtype(images, tf.float32)
    seeds = tf.stack([tf.fill(tf.shape(places), stream), places], axis=1)
    drawn = tf.map_fn(
        lambda seed: Draws(_substream(seed, _SHARE_STREAM), 1).chance(settings.share),
        seeds,
        fn_output_signature=tf.TensorSpec((), tf.bool),
    )
    reals = tf.where(targets["label"] == REAL)
    replaced = tf.where((targets["label"] == FAKE) & drawn)
    count = tf.minimum(tf.shape(reals)[0], tf.shape(replaced)[0])
    sources, replaced = reals[:count], replaced[:count]
    family = tf.zeros_like(targets["label"])
    masks = unchanged(images, targets["label"] == REAL)

    def as_they_are() -> tuple[tf.Tensor, ...]:
        return images, family, masks, targets["domain"], places

    def with_fakes() -> tuple[tf.Tensor, ...]:
        pool = tf.gather_nd(images, reals)
        pair_seeds = tf.gather_nd(seeds, sources)
        real, fake, families = make_pairs(pool, tf.range(count), pair_seeds, settings)
        return (
            tf.tensor_scatter_nd_update(
                images, tf.concat([sources, replaced], axis=0), tf.concat([real, fake], axis=0)
            ),
            tf.tensor_scatter_nd_update(family, replaced, families),
            tf.tensor_scatter_nd_update(masks, replaced, changed_pixels(real, fake)),
            *(
                tf.tensor_scatter_nd_update(values, replaced, tf.gather_nd(values, sources))
                for values in (targets["domain"], places)
            ),
        )

    found = tf.cond(count > 0, with_fakes, as_they_are)
    images, family, masks, domain, places = found
    changes = {"domain": domain, "family": family, "changed": masks}
    return Examples(images, {**targets, **changes}, places)


def make_pairs(
    pool: tf.Tensor, places: tf.Tensor, seeds: tf.Tensor, settings: PseudoFakeSettings
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Makes a pseudo-fake of each chosen image of a pool.

    Args:
        pool: Float32 (n, size, size, 3) in [0, 1]: real images; parts of other faces come from it.
        places: Int32 (m,), which of the pool to use.
        seeds: Int64 (m, 2), each pair's own.
        settings: Families and their weights.

    Returns:
        Real images (m, size, size, 3) in [0, 1], their pseudo-fakes, and the families (m,) int32,
        one-based indices into PSEUDO_FAKE_FAMILIES. A real image differs from that of the pool
        where the change of statistics fell on it.
    """
    return _pair_maker(settings, pool.shape[1])(pool, places, seeds)


@functools.cache
def _pair_maker(
    settings: PseudoFakeSettings, size: int
) -> Callable[..., tuple[tf.Tensor, tf.Tensor, tf.Tensor]]:
    """`make_pairs`, traced once for all datasets of a process: it is a thousand operations."""
    weights = {
        number: getattr(settings, family)
        for number, family in enumerate(PSEUDO_FAKE_FAMILIES, start=1)
        if getattr(settings, family)
    }
    numbers, shares = tuple(weights), tuple(weights.values())

    def make(example: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        image, layout, donor, donor_layout, seed = example
        families = {
            1: lambda: self_blend(image, layout, seed, settings),
            2: lambda: splice(image, layout, donor, donor_layout, seed, settings),
            3: lambda: resample(image, layout, seed, settings),
        }
        chosen = Draws(_substream(seed, _FAMILY_STREAM), 1).weighted(shares)
        if len(numbers) == 1:
            real, fake = families[numbers[0]]()
        else:
            real, fake = tf.switch_case(chosen, [families[number] for number in numbers])
        return real, fake, tf.gather(tf.constant(numbers), chosen)

    picture = tf.TensorSpec((size, size, 3), tf.float32)
    pictures = tf.TensorSpec((None, size, size, 3), tf.float32)
    signature = (pictures, tf.TensorSpec((None,), tf.int32), tf.TensorSpec((None, 2), tf.int64))

    @tf.function(input_signature=signature, autograph=False)
    def make_all(
        pool: tf.Tensor, places: tf.Tensor, seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        images = tf.gather(pool, places)
        pool_layouts = face_layout(pool)
        layouts = tf.gather(pool_layouts, places)
        if settings.splice:
            donors, donor_layouts = _donors(pool, pool_layouts, places, seeds)
        else:
            donors, donor_layouts = images, layouts
        return tf.map_fn(
            make,
            (images, layouts, donors, donor_layouts, seeds),
            fn_output_signature=(picture, picture, tf.TensorSpec((), tf.int32)),
        )

    return make_all


def _donors(
    pool: tf.Tensor, layouts: tf.Tensor, places: tf.Tensor, seeds: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Another face of the pool for each place, preferably alike; one's mirror image if alone."""
    tints = tf.reduce_mean(tf.image.resize(pool, (8, 8), antialias=True)[:, 2:7, 2:6], axis=(1, 2))
    looks = tf.concat(
        [tints / 0.15, tf.math.log(layouts[:, 2:3]) / 0.3, layouts[:, 3:] / 0.25], axis=1
    )
    difference = tf.gather(looks, places)[:, tf.newaxis] - looks[tf.newaxis]
    count = tf.shape(pool)[0]
    noise = tf.map_fn(
        lambda seed: tf.random.stateless_uniform((count,), seed, 0.0, 3.0, alg="philox"),
        seeds,
        fn_output_signature=tf.TensorSpec((None,), tf.float32),
    )
    itself = tf.one_hot(places, count, 1e6, 0.0)
    cost = tf.sqrt(tf.reduce_sum(tf.square(difference), axis=-1)) + noise + itself
    # Last column: the mirror image, dearer than any other face and cheaper than the same.
    cost = tf.concat([cost, tf.fill((tf.shape(cost)[0], 1), 1e5)], axis=1)
    mirrored = tf.constant([1.0, 0.0, 0.0, 0.0]) + layouts * tf.constant([-1.0, 1.0, 1.0, -1.0])
    chosen = tf.argmin(cost, axis=1, output_type=tf.int32)
    alone = chosen == count
    others = tf.where(alone, places, chosen)
    donors, donor_layouts = tf.gather(pool, others), tf.gather(layouts, others)
    flipped = tf.reverse(donors, [2])
    return (
        tf.where(alone[:, tf.newaxis, tf.newaxis, tf.newaxis], flipped, donors),
        tf.where(alone[:, tf.newaxis], tf.gather(mirrored, places), donor_layouts),
    )


def _alternating(first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    both = tf.stack([first, second], axis=1)
    return tf.reshape(both, tf.concat([[-1], tf.shape(both)[2:]], axis=0))


def _substream(seed: tf.Tensor, stream: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(seed, tf.constant([stream, 0], tf.int64))
