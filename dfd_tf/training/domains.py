"""Classes and domains of a training: how many images of each, and what that does not allow.

An adversary that erases domains also erases what is confounded with them. Where a domain holds one
class only, telling the domain is telling the class.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import InputError, printable
from pipelines.media_item import FAKE, LABEL_NAMES, REAL
from pipelines.records.manifest import Manifest
from pipelines.sampling import Group, plan_streams


@dataclass(frozen=True)
class DomainTable:
    """Images of one split by class and domain.

    Args:
        split: Name of the split.
        domains: Names of the domains used; the id of a domain is its place here.
        counts: Number of images of every group that has any.
    """

    split: str
    domains: tuple[str, ...]
    counts: Mapping[Group, int]

    def num(self, domain: str, *labels: int) -> int:
        """Counts the images of a domain that have one of the labels; of any where none is given."""
        return sum(
            number
            for group, number in self.counts.items()
            if group.domain == domain and (not labels or group.label in labels)
        )

    def num_labelled(self, *labels: int) -> int:
        """Counts the images that have one of the labels, over all domains."""
        return sum(self.num(domain, *labels) for domain in self.domains)

    def missing(self) -> tuple[str, ...]:
        """Returns the domains without any image."""
        return tuple(domain for domain in self.domains if not self.num(domain))

    def rows(self) -> dict[str, dict[str, int]]:
        """Returns domain -> name of the label -> number of images."""
        return {
            domain: {name: self.num(domain, label) for label, name in LABEL_NAMES.items()}
            for domain in self.domains
        }

    def lines(self) -> list[str]:
        """Returns one line a domain, the columns below each other."""
        names = [printable(domain) for domain in self.domains]
        width = max(map(len, names))
        return [
            f"{name:{width}}  " + "  ".join(f"{number:7} {label}" for label, number in row.items())
            for name, row in zip(names, self.rows().values(), strict=True)
        ]

    def majority_share(self, balance: str) -> float:
        """Returns the share of the most frequent domain: the accuracy of always naming it.

        Args:
            balance: How the images are sampled (`pipelines.sampling.plan_streams`).
        """
        streams = plan_streams(dict(sorted(self.counts.items())), balance)
        shares = dict.fromkeys(self.domains, 0.0)
        for stream in streams:
            size = sum(self.counts[group] for group in stream.groups)
            for group in stream.groups:
                shares[group.domain] += stream.slots * self.counts[group] / size
        return max(shares.values()) / sum(shares.values())


def domain_table(manifest: Manifest, split: str, domains: Sequence[str]) -> DomainTable:
    """Counts the images of a split by class and domain.

    Args:
        manifest: Manifest of the records.
        split: Name of the split.
        domains: The domains used, in the order of their ids.
    """
    counts: dict[Group, int] = {}
    for key, number in manifest.counts()[split].items():
        label, _, domain = key.partition("|")
        if number and domain in domains:
            counts[Group(domain, int(label))] = number
    return DomainTable(split, tuple(domains), counts)


def confounding(table: DomainTable, *, is_paired: bool) -> str | None:
    """Says why domains and classes of a training split cannot be told apart; None if they can.

    A domain without any labelled image is fine: it is there to be adapted to.

    Args:
        table: The split.
        is_paired: Whether every real image comes with a pseudo-fake: then no domain lacks a class.
    """
    present = [domain for domain in table.domains if table.num(domain)]
    if len(present) < 2:
        return "all training images are of one domain; there must be two or more"
    for domain in present:
        real, fake = table.num(domain, REAL), table.num(domain, FAKE)
        if bool(real) != bool(fake) and not is_paired:
            found = "real" if real else "fake"
            return f"domain {printable(domain)} holds {found} images only, so it tells the class"
    return None


def check_domains(name: str, table: DomainTable, *, is_paired: bool) -> None:
    """Refuses a training split on which an adversary of domains would erase the classes.

    Raises:
        InputError: Says why, with the table.
    """
    reason = confounding(table, is_paired=is_paired)
    if reason is None:
        return
    rows = "; ".join(" ".join(line.split()) for line in table.lines())
    raise InputError(
        f"{name}/{table.split}: {reason} and removing domains removes it ({rows}). Add images, "
        "choose others with data.domains, or set detector.allow_confounded=true"
    )


def domain_notes(
    train: DomainTable, val: DomainTable, balance: str, *, is_paired: bool
) -> list[str]:
    """What a user should know of the domains before a training on them begins, line by line."""
    notes = ["training images by domain and class:", *(f"  {line}" for line in train.lines())]
    reason = confounding(train, is_paired=is_paired)
    if reason is not None:
        notes.append(f"warning: {reason}; allowed by detector.allow_confounded")
    notes.append(
        f"domain accuracy by chance: {1 / len(train.domains):.3f} one in {len(train.domains)}; "
        f"always the most frequent domain: {train.majority_share(balance):.3f} in training, "
        f"{val.majority_share('none'):.3f} in validation"
    )
    for table in (train, val):
        if table.missing():
            names = ", ".join(map(printable, table.missing()))
            notes.append(f"warning: the {table.split} split has no images of domain {names}")
    return notes


def domain_facts(train: DomainTable, val: DomainTable, balance: str) -> dict[str, Any]:
    """Returns what provenance says of the domains used, as JSON types."""
    return {
        "used_domains": list(train.domains),
        "domain_table": {table.split: table.rows() for table in (train, val)},
        "domain_chance": {
            "uniform": 1 / len(train.domains),
            "majority": {
                "train": train.majority_share(balance),
                "val": val.majority_share("none"),
            },
        },
    }
