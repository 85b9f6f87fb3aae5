"""Leak-proof splits: what shares a person, a video, a source or a picture never parts.

Media are nodes; a shared identity, video, related key (donor, source), equal bytes (sha256) and
near-duplicate pictures are links. Splits are assigned to whole connected components, stratified by
(label, domain), as a pure function of the set of items, the fractions and the seed. Splits that the
sources state are kept when asked to, and checked all the same (EVALUATION.md 1 and 2).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.errors import InputError, printable
from pipelines.fingerprints import NO_NEAR_DUPLICATES, NearDuplicates
from pipelines.media_item import LABEL_NAMES, SPLITS
from pipelines.split_allocation import allocate, checked_fractions
from pipelines.split_components import SplitItem, components
from pipelines.split_proof import SplitProof, prove

__all__ = ["SplitItem", "SplitPlan", "SplitProof", "assign_splits", "components"]

DEFAULT_FRACTIONS = (0.7, 0.15, 0.15)
CARVED_VALIDATION = 0.15


@dataclass(frozen=True)
class SplitPlan:
    """The split of every item, and the proof.

    Args:
        splits: Split of each item, in the order given; None: dropped as an overlap.
        overlaps: Index of each dropped item and why it was dropped, in words.
        proof: What the manifest stores.
    """

    splits: tuple[str | None, ...]
    overlaps: tuple[tuple[int, str], ...]
    proof: SplitProof


def assign_splits(
    items: Sequence[SplitItem],
    fractions: Sequence[float] | None = DEFAULT_FRACTIONS,
    seed: int = 0,
    *,
    near_duplicates: NearDuplicates = NO_NEAR_DUPLICATES,
    on_overlap: str = "report",
) -> SplitPlan:
    """Assigns every item to train, val or test and proves what was done.

    With `fractions` None the stated splits are kept. Then an item without one follows its
    component; components without any stated split are divided 70/15/15; and a domain that states a
    train split but no val split gives 15 % of its train components to val, because selection and
    calibration need one. No test split is carved: what a dataset offers for training is not fresh.

    Args:
        items: The media, in any order.
        fractions: Shares of train, val, test (sum 1), or None to keep stated splits.
        seed: Decides between equally good assignments.
        near_duplicates: Index pairs of items that show the same picture.
        on_overlap: What to do with kept splits that share a component: `report` them in the proof,
            or `drop` the items in train (and those in val where test shares the component).

    Raises:
        InputError: A key twice, a video with two labels, impossible fractions.
    """
    if on_overlap not in ("report", "drop"):
        raise ValueError(f"on_overlap={on_overlap!r}, expected 'report' or 'drop'")
    _check(items)
    keep = fractions is None
    shares = checked_fractions(DEFAULT_FRACTIONS if fractions is None else fractions)
    groups = components(items, near_duplicates)
    splits: list[str | None] = [item.split if keep else None for item in items]

    def divide(chosen: Sequence[list[int]], shares: Sequence[float]) -> None:
        cells = [Counter((items[i].label, items[i].domain) for i in group) for group in chosen]
        named = [(items[group[0]].key, cell) for group, cell in zip(chosen, cells, strict=True)]
        for group, split in zip(chosen, allocate(named, shares, seed), strict=True):
            for i in group:
                splits[i] = split

    unstated = [group for group in groups if all(splits[i] is None for i in group)]
    stated = [group for group in groups if any(splits[i] is not None for i in group)]
    _inherit(stated, splits)
    divide(unstated, shares)
    carved = _domains_without_validation(items) if keep else []
    for domain in carved:
        trained = [
            group
            for group in stated
            if all(splits[i] == "train" and items[i].domain == domain for i in group)
        ]
        divide(trained, (1 - CARVED_VALIDATION, CARVED_VALIDATION, 0.0))

    overlaps = _drop_overlaps(items, groups, splits) if on_overlap == "drop" else []
    proof = prove(
        items,
        groups,
        splits,
        near_duplicates,
        mode="kept" if keep else "assigned",
        fractions=shares,
        seed=seed,
        carved=dict.fromkeys(carved, CARVED_VALIDATION),
    )
    return SplitPlan(tuple(splits), tuple(overlaps), proof)


def _check(items: Sequence[SplitItem]) -> None:
    """Raises InputError for a key that occurs twice or a video with two labels."""
    repeated = [key for key, n in Counter(item.key for item in items).items() if n > 1]
    if repeated:
        raise InputError(
            f"{printable(min(repeated))}: {len(repeated)} keys occur more than once, "
            "expected every medium once; is a source named twice?"
        )
    labels: dict[str, int] = {}
    for item in items:
        if item.video and labels.setdefault(item.video, item.label) != item.label:
            names = sorted({LABEL_NAMES[labels[item.video]], LABEL_NAMES[item.label]})
            raise InputError(
                f"video {printable(item.video)}: labelled {' and '.join(names)}, expected one "
                "label per video; name the manipulation in its key (dataset/method/video)"
            )


def _inherit(groups: Sequence[Sequence[int]], splits: list[str | None]) -> None:
    """Gives items without a split that of their component; the last of the splits it spans."""
    for group in groups:
        held = [split for i in group if (split := splits[i])]
        for i in group:
            splits[i] = splits[i] or max(held, key=SPLITS.index)


def _domains_without_validation(items: Sequence[SplitItem]) -> list[str]:
    stated = {(item.domain, item.split) for item in items}
    return sorted(d for d, split in stated if split == "train" and (d, "val") not in stated)


def _drop_overlaps(
    items: Sequence[SplitItem], groups: Sequence[Sequence[int]], splits: list[str | None]
) -> list[tuple[int, str]]:
    """Takes out of train and val what shares a component with a later split; returns it."""
    dropped = []
    for group in groups:
        last = max((split for i in group if (split := splits[i])), key=SPLITS.index)
        kept = next(i for i in group if splits[i] == last)
        for i in group:
            if splits[i] != last:
                reason = f"left out of {splits[i]}: shares content with {last} ({items[kept].key})"
                dropped.append((i, reason))
                splits[i] = None
    return sorted(dropped)
