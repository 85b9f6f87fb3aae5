"""Dividing groups that cannot be cut over train, val and test, stratified by cell."""

import hashlib
import math
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

from pipelines.errors import InputError
from pipelines.media_item import SPLITS

Cell = tuple[int, str]


def checked_fractions(fractions: Sequence[float]) -> tuple[float, float, float]:
    """Returns the fractions of train, val, test; InputError unless they are shares of one."""
    valid = (
        len(fractions) == len(SPLITS)
        and all(math.isfinite(f) and f >= 0 for f in fractions)
        and math.isclose(sum(fractions), 1.0, abs_tol=1e-6)
    )
    if not valid:
        raise InputError(
            f"split fractions {','.join(map(str, fractions))}: expected three numbers "
            f"({', '.join(SPLITS)}), none negative, with sum 1, such as 0.7,0.15,0.15"
        )
    train, val, test = fractions
    return train, val, test


def allocate(
    groups: Sequence[tuple[str, Mapping[Cell, int]]], fractions: Sequence[float], seed: int
) -> list[str]:
    """Returns the split of each group.

    First every split with a share gets one group of each label, as far as there are enough, small
    splits and small groups first. Then the groups, largest first, each go where they reduce the
    chi-square distance of the (label, domain) counts to their targets most. Groups of equal size
    come in an order drawn by hashing their name with the seed, so the result is a pure function of
    the set of groups.

    Args:
        groups: Unique name and number of items per (label, domain) cell of each group.
        fractions: Shares of train, val, test.
        seed: Seed of the order.
    """
    sizes = [sum(cells.values()) for _, cells in groups]
    draw = [hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")) for name, _ in groups]
    order = sorted(range(len(groups)), key=lambda g: (-sizes[g], draw[g].digest()))
    totals: Counter[Cell] = Counter()
    for _, cells in groups:
        totals.update(cells)
    shares = {s: f for s, f in zip(SPLITS, fractions, strict=True) if f > 0}
    current: dict[str, Counter[Cell]] = {s: Counter() for s in shares}

    def cost(group: int, split: str) -> float:
        terms = []
        for cell, n in sorted(groups[group][1].items()):
            target = shares[split] * totals[cell]
            terms.append(n * (2 * (current[split][cell] - target) + n) / target)
        return math.fsum(terms)

    chosen = _reserve([{label for label, _ in cells} for _, cells in groups], order, shares)
    for group, split in chosen.items():
        current[split].update(groups[group][1])
    for group in order:
        if group not in chosen:
            chosen[group] = min(shares, key=lambda split: cost(group, split))
            current[chosen[group]].update(groups[group][1])
    return [chosen[group] for group in range(len(groups))]


def _reserve(
    labels: Sequence[set[Hashable]], order: Sequence[int], shares: Mapping[str, float]
) -> dict[int, str]:
    """Returns one group of each label for each split: the smallest groups, rarest label first.

    With fewer groups of a label than splits, train comes before val and val before test: training
    is impossible without the first two.
    """
    chosen: dict[int, str] = {}
    frequency = Counter(label for group in labels for label in group)
    for label in sorted(frequency, key=lambda name: (frequency[name], name)):
        served = {split for group, split in chosen.items() if label in labels[group]}
        free = [g for g in order if label in labels[g] and g not in chosen]
        wanting = [split for split in shares if split not in served][: len(free)]
        for split in sorted(wanting, key=lambda split: shares[split]):
            chosen[free.pop()] = split
    return chosen
