"""What a training takes from a record folder, and what it refuses before the first step."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dfd_tf.config.experiment import Experiment
from dfd_tf.training.selection import Selection
from pipelines.dataset import Batches, evaluation_batches, training_batches
from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.records.manifest import Manifest
from pipelines.records.verification import verify_records
from pipelines.settings import BatchSettings


@dataclass(frozen=True)
class TrainingData:
    """Batches and facts of one dataset for one experiment.

    Args:
        name: Name of the dataset.
        fingerprint: sha256 of its content.
        facts: What provenance says of it.
        one_class: Whether only real images are trained on.
        num_domains: Domains in its vocabulary.
        num_train: Images in an epoch.
        num_val_real: Real images of the validation split.
        num_val_fake: Its fake ones.
        steps_per_epoch: Steps in an epoch, the last one possibly smaller.
        batches: (first epoch, steps to skip in it) -> endless training batches from there on.
        loss_data: Validation batches the loss is taken on.
        labelled_data: Validation batches with all labelled images; the same object where that is
            the same.
    """

    name: str
    fingerprint: str
    facts: dict[str, Any]
    one_class: bool
    num_domains: int
    num_train: int
    num_val_real: int
    num_val_fake: int
    steps_per_epoch: int
    batches: Callable[[int, int], Batches]
    loss_data: tf.data.Dataset
    labelled_data: tf.data.Dataset

    def score_data(self, selection: Selection) -> tf.data.Dataset | None:
        """Returns the batches to score for `val_auc`; None where no labels are to be used."""
        if self.one_class and selection.metric != "val_auc":
            return None
        return self.labelled_data

    def preview(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns up to `count` validation images, float32 in [0, 1], and their labels."""
        images: list[np.ndarray] = []
        labels: list[np.ndarray] = []
        for batch, targets in self.labelled_data:
            images.append(batch.numpy())
            labels.append(targets["label"].numpy())
            if sum(map(len, labels)) >= count:
                break
        return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def open_training_data(records: Path, experiment: Experiment, *, one_class: bool) -> TrainingData:
    """Opens a record folder for an experiment.

    Raises:
        InputError: The splits leak, a split or a class is missing, or a domain is unknown.
        DatasetError: The folder is damaged.
    """
    manifest = verify_records(records, deep=False)
    domains = experiment.data.domains
    _check(manifest, domains, one_class=one_class)
    side, batch_size = experiment.detector.image_size, experiment.data.batch_size
    settings = BatchSettings(
        image_size=side,
        batch_size=batch_size,
        labels="real" if one_class else "labelled",
        balance="none" if one_class else experiment.data.balance,
        shuffle_buffer=experiment.data.shuffle_buffer,
        seed=experiment.seed,
        augment=experiment.data.augment,
        num_parallel=experiment.training.threads,
    )
    validation = partial(
        evaluation_batches,
        records,
        manifest,
        "val",
        side,
        batch_size,
        domains=domains,
        num_parallel=experiment.training.threads,
    )
    labelled = validation(labels="labelled").dataset
    first = training_batches(records, manifest, settings, domains=domains)
    return TrainingData(
        name=manifest.name,
        fingerprint=manifest.fingerprint(),
        facts=_facts(records, manifest),
        one_class=one_class,
        num_domains=len(manifest.domains),
        num_train=first.num_examples,
        num_val_real=_count(manifest, "val", REAL, domains),
        num_val_fake=_count(manifest, "val", FAKE, domains),
        steps_per_epoch=first.steps_per_epoch,
        batches=lambda epoch, skip: training_batches(
            records, manifest, settings, domains=domains, first_epoch=epoch, skip_steps=skip
        ),
        loss_data=validation(labels="real").dataset if one_class else labelled,
        labelled_data=labelled,
    )


def _check(manifest: Manifest, domains: tuple[str, ...], *, one_class: bool) -> None:
    unknown = sorted(set(domains) - set(manifest.domains))
    if unknown:
        raise InputError(
            f"data.domains: {manifest.name} has no {', '.join(unknown)} "
            f"(it has {', '.join(manifest.domains)})"
        )
    if not manifest.split_proof.get("leak_free"):
        raise InputError(
            f"{manifest.name}: its splits share people, videos or near-duplicates, so nothing "
            "measured on it would mean anything; prepare it again, with `--on-overlap drop` if it "
            "keeps official splits"
        )
    for split in ("train", "val"):
        real = _count(manifest, split, REAL, domains)
        fake = _count(manifest, split, FAKE, domains)
        if one_class and not real:
            raise InputError(
                f"{manifest.name}/{split}: no real images, which a one-class detector needs"
            )
        if not one_class and not real + fake:
            raise InputError(f"{manifest.name}/{split}: no labelled images")
        if not one_class and split == "train" and not (real and fake):
            found = "real" if real else "fake"
            raise InputError(
                f"{manifest.name}/train: only {found} images; a supervised detector needs both "
                "classes. Add the other, or train a one-class detector (residual_ae)"
            )


def _count(manifest: Manifest, split: str, label: int, domains: tuple[str, ...]) -> int:
    total = 0
    for shard in manifest.split_shards(split):
        for key, number in shard.counts.items():
            counted, _, domain = key.partition("|")
            if counted == str(label) and (not domains or domain in domains):
                total += number
    return total


def _facts(records: Path, manifest: Manifest) -> dict[str, Any]:
    return {
        "name": manifest.name,
        "folder": str(records.resolve()),
        "fingerprint": manifest.fingerprint(),
        "domains": list(manifest.domains),
        "settings": manifest.to_dict()["settings"],
    }
