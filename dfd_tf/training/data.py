"""What a training takes from a record folder, and what it refuses before the first step."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from dfd_tf.config.experiment import Data, Experiment
from dfd_tf.detectors.base import to_unit
from dfd_tf.training.domains import (
    DomainTable,
    check_domains,
    domain_facts,
    domain_notes,
    domain_table,
)
from dfd_tf.training.selection import Selection
from pipelines.bad_records import skipped_warning, without_bad_records
from pipelines.dataset import (
    Batches,
    evaluation_batches,
    training_batches,
    with_fixed_pseudo_fakes,
)
from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL, UNKNOWN
from pipelines.records.manifest import BadRecord, Manifest
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
        num_domains: Domains used; their ids are 0 to `num_domains` - 1.
        num_train: Images in an epoch.
        num_val_real: Real images of the validation split.
        num_val_fake: Its fake ones.
        steps_per_epoch: Steps in an epoch, the last one possibly smaller.
        batches: (first epoch, steps to skip in it) -> endless training batches from there on.
        loss_data: Validation batches the loss is taken on.
        labelled_data: Validation batches with all labelled images and the pseudo-fakes, if any;
            the same object where that is the same.
        notes: What to tell the user before training begins, line by line.
        num_val_pseudo: Pseudo-fakes made of the validation split's real images, where it has no
            fakes.
        skipped: Records that are left out because they cannot be decoded.
        warnings: What the user must be told before training begins, line by line.
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
    notes: tuple[str, ...] = ()
    num_val_pseudo: int = 0
    skipped: tuple[BadRecord, ...] = ()
    warnings: tuple[str, ...] = ()

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
            images.append(np.asarray(to_unit(batch)))
            labels.append(targets["label"].numpy())
            if sum(map(len, labels)) >= count:
                break
        return np.concatenate(images)[:count], np.concatenate(labels)[:count]


def open_training_data(
    records: Path,
    experiment: Experiment,
    *,
    one_class: bool,
    uses_unlabelled: bool = False,
    needs_domains: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> TrainingData:
    """Opens a record folder for an experiment.

    Args:
        records: The folder.
        experiment: What is to be trained.
        one_class: Whether its detector is trained on real images only.
        uses_unlabelled: Whether its detector is trained on images of unknown label as well.
        needs_domains: Whether its detector is trained against domains.
        progress: Called with the records read and all records where bad ones are looked for.

    Raises:
        InputError: The splits leak, a split or a class is missing, a domain is unknown, or the
            domains do not suit a detector that needs them.
        DatasetError: The folder is damaged, or more records are bad than may be left out.
    """
    manifest = verify_records(records, deep=False)
    if experiment.data.on_bad_record == "skip":
        manifest = without_bad_records(records, manifest, ("train", "val"), progress)
    _check_names(manifest, experiment.data)
    domains = experiment.data.used_domains(manifest.domains)
    train, val = (domain_table(manifest, split, domains) for split in ("train", "val"))
    pseudo_fakes = None if one_class else experiment.data.pseudo_fakes
    _check(manifest, (train, val), one_class=one_class, makes_fakes=pseudo_fakes is not None)
    is_paired = pseudo_fakes is not None and not train.num_labelled(FAKE)
    balance = "none" if one_class else experiment.data.balance
    facts, notes = record_facts(records, manifest), list[str]()
    if needs_domains:
        if not getattr(experiment.detector, "allow_confounded", False):
            check_domains(manifest.name, train, is_paired=is_paired)
        facts |= domain_facts(train, val, balance)
        notes = domain_notes(train, val, balance, is_paired=is_paired)
    side, batch_size = experiment.detector.image_size, experiment.data.batch_size
    settings = BatchSettings(
        image_size=side,
        batch_size=batch_size,
        labels="real" if one_class else "all" if uses_unlabelled else "labelled",
        balance=balance,
        shuffle_buffer=experiment.data.shuffle_buffer,
        seed=experiment.seed,
        augment=experiment.data.augment,
        pseudo_fakes=pseudo_fakes,
        num_parallel=experiment.training.threads,
    )
    val_pseudo = pseudo_fakes if val.num_labelled(REAL) and not val.num_labelled(FAKE) else None
    validation = partial(
        evaluation_batches,
        records,
        manifest,
        "val",
        side,
        batch_size if val_pseudo is None else max(1, batch_size // 2),
        domains=domains,
        num_parallel=experiment.training.threads,
    )
    labelled_batches = validation(labels="labelled")
    if val_pseudo is not None:
        threads = experiment.training.threads
        labelled_batches = with_fixed_pseudo_fakes(labelled_batches, val_pseudo, threads)
    loss_data = labelled = labelled_batches.dataset
    if is_paired:
        notes.append(
            f"{manifest.name} has no fakes: trained on pseudo-fakes of its real images"
            + (", and validated on them" if val_pseudo is not None else "")
        )
    if one_class:
        loss_data = validation(labels="real").dataset
    elif uses_unlabelled and val.num_labelled(UNKNOWN):
        loss_data = validation(labels="all").dataset
    first = training_batches(records, manifest, settings, domains=domains)
    return TrainingData(
        name=manifest.name,
        fingerprint=manifest.fingerprint(),
        facts=facts,
        one_class=one_class,
        num_domains=len(domains),
        num_train=first.num_examples,
        num_val_real=val.num_labelled(REAL),
        num_val_fake=val.num_labelled(FAKE),
        num_val_pseudo=0 if val_pseudo is None else val.num_labelled(REAL),
        steps_per_epoch=first.steps_per_epoch,
        batches=lambda epoch, skip: training_batches(
            records, manifest, settings, domains=domains, first_epoch=epoch, skip_steps=skip
        ),
        loss_data=loss_data,
        labelled_data=labelled,
        notes=tuple(notes),
        skipped=manifest.skipped,
        warnings=tuple(filter(None, [skipped_warning(records, manifest)])),
    )


def _check_names(manifest: Manifest, data: Data) -> None:
    left_out = () if data.leave_out is None else (data.leave_out,)
    for key, names in (("domains", data.domains), ("leave_out", left_out)):
        unknown = sorted(set(names) - set(manifest.domains))
        if unknown:
            raise InputError(
                f"data.{key}: {manifest.name} has no {', '.join(unknown)} "
                f"(it has {', '.join(manifest.domains)})"
            )
    if not data.used_domains(manifest.domains):
        raise InputError(f"data.leave_out: without {data.leave_out} no domain is left to train on")


def _check(
    manifest: Manifest, tables: Sequence[DomainTable], *, one_class: bool, makes_fakes: bool
) -> None:
    if not manifest.split_proof.get("leak_free"):
        raise InputError(
            f"{manifest.name}: its splits share people, videos or near-duplicates, so nothing "
            "measured on it would mean anything; prepare it again, with `--on-overlap drop` if it "
            "keeps official splits"
        )
    for table in tables:
        split, real, fake = table.split, table.num_labelled(REAL), table.num_labelled(FAKE)
        if one_class and not real:
            raise InputError(
                f"{manifest.name}/{split}: no real images, which a one-class detector needs"
            )
        if not one_class and not real + fake:
            raise InputError(f"{manifest.name}/{split}: no labelled images")
        has_both = real and (fake or makes_fakes)
        if not one_class and split == "train" and not has_both:
            found = "real" if real else "fake"
            raise InputError(
                f"{manifest.name}/train: only {found} images; a supervised detector needs both "
                "classes. Add the other, let `data.pseudo_fakes: {}` make fakes of real images, or "
                "train a one-class detector (residual_ae)"
            )


def record_facts(records: Path, manifest: Manifest) -> dict[str, Any]:
    """Returns what provenance says of a record folder."""
    return {
        "name": manifest.name,
        "folder": str(records.resolve()),
        "fingerprint": manifest.fingerprint(),
        "domains": list(manifest.domains),
        "settings": manifest.to_dict()["settings"],
        "counts": manifest.counts(),
        "leak_free": manifest.split_proof.get("leak_free", False),
        "skipped": {
            "count": len(manifest.skipped),
            "records": [asdict(bad) for bad in manifest.skipped],
        },
    }
