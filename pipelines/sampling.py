"""Which record comes when: deterministic order and balanced sampling of training examples.

Every position of training (epoch times examples plus place in the epoch) names a stream, and every
stream is an endless run of passes over its records, each pass in an order of its own. Both are
pure functions of the seed, so training can start at any position without replaying what came
before: raw records are skipped, none is decoded.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import tensorflow as tf

from pipelines.errors import DatasetError
from pipelines.media_item import FAKE, REAL, UNKNOWN
from pipelines.records.manifest import Manifest
from pipelines.records.reader import feature_spec

ENDLESS = 2**62
LABEL_CHOICES = {"all": (REAL, FAKE, UNKNOWN), "labelled": (REAL, FAKE), "real": (REAL,)}
_MAX_OPEN_SHARDS = 16
_SELECT_RECORDS = 64
_BLOCKS = 256
_NO_RECORD = -1


@dataclass(frozen=True, order=True)
class Group:
    """Records of one label in one domain.

    Args:
        domain: Name of the domain.
        label: 0 real, 1 fake, -1 unknown.
    """

    domain: str
    label: int


@dataclass(frozen=True)
class Stream:
    """Groups that are shuffled together, and their share of the examples.

    Args:
        groups: What it holds.
        slots: Its places in each block of the schedule.
    """

    groups: tuple[Group, ...]
    slots: int


def eligible_groups(
    manifest: Manifest, split: str, labels: str, domains: Sequence[str]
) -> dict[Group, int]:
    """Returns the non-empty groups a choice of labels and domains leaves, with their sizes.

    Args:
        manifest: Manifest of the record folder.
        split: Split to draw from.
        labels: `all`, `labelled` or `real`.
        domains: Names; empty: all.

    Raises:
        DatasetError: A domain the data does not have, or nothing is left.
    """
    groups = {}
    for key, number in manifest.counts()[split].items():
        label, domain = key.split("|", 1)
        groups[Group(domain, int(label))] = number
    if unknown := sorted(set(domains) - set(manifest.domains)):
        known = list(manifest.domains)
        raise DatasetError(f"{manifest.name}: no domain {', '.join(unknown)}, only {known}")
    chosen = {
        group: number
        for group, number in sorted(groups.items())
        if number
        and group.label in LABEL_CHOICES[labels]
        and (not domains or group.domain in domains)
    }
    if not chosen:
        found = {f"{group.label}|{group.domain}": number for group, number in groups.items()}
        raise DatasetError(
            f"{manifest.name}: split {split!r} has no records for labels {labels!r}"
            f" and domains {list(domains) or 'all'}, only {found or 'none at all'}"
        )
    return chosen


def plan_streams(groups: Mapping[Group, int], balance: str) -> tuple[Stream, ...]:
    """Divides groups into streams.

    Args:
        groups: What may be drawn.
        balance: `none`: one stream; `class`: one for each label, equal shares; `class_domain`: one
            for each group, equal shares of the domains and of the labels within each.
    """
    if balance == "none":
        return (Stream(tuple(groups), 1),)
    labels = sorted({group.label for group in groups})
    if balance == "class":
        return tuple(Stream(tuple(g for g in groups if g.label == label), 1) for label in labels)
    members = {
        domain: [group for group in groups if group.domain == domain]
        for domain in sorted({group.domain for group in groups})
    }
    slots = math.lcm(*(len(group_list) for group_list in members.values()))
    return tuple(
        Stream((group,), slots // len(group_list))
        for group_list in members.values()
        for group in group_list
    )


class Sampler:
    """Orders the records of a split for training.

    Args:
        folder: Record folder.
        manifest: Its manifest.
        split: Split to draw from.
        groups: What may be drawn, with sizes (`eligible_groups`).
        balance: See `plan_streams`.
        shuffle_buffer: Records held for shuffling, all streams together.
        seed: Seed of the order.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        split: str,
        groups: Mapping[Group, int],
        balance: str,
        shuffle_buffer: int,
        seed: int,
    ) -> None:
        self.streams = plan_streams(groups, balance)
        self.num_examples = sum(groups.values())
        self._folder = folder
        self._manifest = manifest
        self._split = split
        self._sizes = [sum(groups[group] for group in s.groups) for s in self.streams]
        self._slots = [i for i, stream in enumerate(self.streams) for _ in range(stream.slots)]
        self._shuffle_buffer = shuffle_buffer
        self._seed = seed

    def epoch(self, epoch: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
        """Returns one epoch's serialized records, from its `start`-th example on.

        Args:
            epoch: Int64 scalar.
            start: Int64 scalar, examples left out at the beginning.
        """
        position = epoch * self.num_examples + start
        if len(self.streams) == 1:
            records = self._stream(0, position)
        else:
            drawn = self._drawn_before(position)
            records = tf.data.Dataset.choose_from_datasets(
                [self._stream(i, drawn[i]) for i in range(len(self.streams))],
                self._schedule(position),
            )
        return records.take(self.num_examples - start)

    def _schedule(self, position: tf.Tensor) -> tf.data.Dataset:
        """Stream numbers from a position on."""
        size = _BLOCKS * len(self._slots)
        chunks = tf.data.Dataset.range(position // size, ENDLESS)
        return chunks.map(self._chunk).unbatch().skip(position % size)

    def _drawn_before(self, position: tf.Tensor) -> tf.Tensor:
        """How often each stream was drawn before a position."""
        size = _BLOCKS * len(self._slots)
        slots = tf.constant([stream.slots for stream in self.streams], tf.int64)
        partial = self._chunk(position // size)[: position % size]
        counted = tf.math.bincount(
            tf.cast(partial, tf.int32), minlength=len(self.streams), dtype=tf.int64
        )
        return position // size * _BLOCKS * slots + counted

    def _chunk(self, index: tf.Tensor) -> tf.Tensor:
        """Stream numbers of a run of blocks, each block a permutation of all slots."""
        seed = tf.stack([tf.constant(seed_from(self._seed, "schedule"), tf.int64), index])
        draws = tf.random.stateless_uniform((_BLOCKS, len(self._slots)), seed, alg="philox")
        places = tf.argsort(draws, axis=1, stable=True)
        return tf.reshape(tf.gather(tf.constant(self._slots, tf.int64), places), (-1,))

    def _stream(self, index: int, start: tf.Tensor) -> tf.data.Dataset:
        """One stream's serialized records, pass after pass, from its `start`-th on."""
        stream, size = self.streams[index], self._sizes[index]
        seed = tf.constant(seed_from(self._seed, f"stream {stream.groups}"), tf.int64)
        share = stream.slots / len(self._slots)
        buffer = max(1, math.ceil(self._shuffle_buffer * share))
        selection = Selection(self._folder, self._manifest, self._split, stream.groups)

        def one_pass(number: tf.Tensor) -> tf.data.Dataset:
            # The global seed of the process must not change the order: within a tf.data function
            # this sets the graph's own. Not 0: `shuffle` then compares a tensor seed in Python.
            tf.random.set_seed(1)
            seeds = tf.random.stateless_uniform(
                (2,), tf.stack([seed, number]), None, None, tf.int64, "philox"
            )
            shards = selection.shards.shuffle(
                selection.num_shards, seeds[0], reshuffle_each_iteration=False
            )
            records = shards.interleave(
                selection.read, cycle_length=min(selection.num_shards, _MAX_OPEN_SHARDS)
            )
            return records.shuffle(buffer, seeds[1], reshuffle_each_iteration=False)

        passes = tf.data.Dataset.range(start // size, ENDLESS).flat_map(one_pass)
        return passes.skip(start % size)


class Selection:
    """The records of some groups, read from the shards that hold any of them.

    Args:
        folder: Record folder.
        manifest: Its manifest; records it leaves out are not read.
        split: Split to read.
        groups: What to read.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, split: str, groups: tuple[Group, ...]
    ) -> None:
        shards = manifest.split_shards(split)
        self._groups = groups
        keys = {f"{group.label}|{group.domain}" for group in groups}
        chosen = [sum(shard.counts.get(key, 0) for key in keys) for shard in shards]
        used = [(shard, number) for shard, number in zip(shards, chosen, strict=True) if number]
        self._everything = all(shard.records == number for shard, number in used)
        self.num_shards = len(used)
        self.num_records = sum(chosen)
        skipped = [manifest.skipped_in(shard) for shard, _ in used]
        self._most_skipped = max(map(len, skipped), default=0)
        self.shards = tf.data.Dataset.from_tensor_slices(
            (
                [str(folder / shard.file) for shard, _ in used],
                tf.constant([shard.records for shard, _ in used], tf.int64),
                tf.constant([number for _, number in used], tf.int64),
                tf.constant(
                    [one + [_NO_RECORD] * (self._most_skipped - len(one)) for one in skipped],
                    tf.int64,
                    (len(used), self._most_skipped),
                ),
            )
        )

    def read(
        self, path: tf.Tensor, records: tf.Tensor, chosen: tf.Tensor, skipped: tf.Tensor
    ) -> tf.data.Dataset:
        """Serialized records of one shard; an error where the manifest's counts do not hold.

        A TFRecord file cut between two records reads as a shorter file without any error.
        """
        everything = tf.data.TFRecordDataset(path)
        if self._most_skipped:
            numbered = everything.enumerate().filter(
                lambda number, _: tf.reduce_all(tf.not_equal(number, skipped))
            )
            everything = numbered.map(lambda _, record: record)
        everything = everything.apply(tf.data.experimental.assert_cardinality(records))
        if self._everything:
            return everything
        selected = everything.batch(_SELECT_RECORDS).map(self._select).unbatch()
        return selected.apply(tf.data.experimental.assert_cardinality(chosen))

    def _select(self, serialized: tf.Tensor) -> tf.Tensor:
        keys = ("image/class/label", "media/domain")
        parsed = tf.io.parse_example(serialized, {key: feature_spec()[key] for key in keys})
        labels = tf.constant([group.label for group in self._groups], tf.int64)
        domains = tf.constant([encoded_name(group.domain) for group in self._groups])
        wanted = (parsed["image/class/label"][:, tf.newaxis] == labels) & (
            parsed["media/domain"][:, tf.newaxis] == domains
        )
        return tf.boolean_mask(serialized, tf.reduce_any(wanted, axis=1))


def encoded_name(name: str) -> bytes:
    """Returns a name as records store it."""
    return name.encode("utf-8", "surrogateescape")


def seed_from(seed: int, purpose: str) -> int:
    """Returns an int64 that belongs to one purpose of a seed."""
    digest = hashlib.sha256(f"{seed} {purpose}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "little", signed=True)
