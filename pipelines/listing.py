"""What the sources give, and the account of it at the end: nothing is dropped in silence."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.errors import InputError, MediaError
from pipelines.media_item import MediaItem
from pipelines.records.manifest import Failure
from pipelines.sources.base import Source


@dataclass(frozen=True, slots=True)
class Listing:
    """What the sources gave.

    Args:
        items: All media; with several sources their keys begin with the name of theirs.
        owners: Number of the source of each item.
        failures: Entries that should have become items and could not.
        sources: For each source its name, its number of entries, how many of them were
            `unusable`, and what it `left_out` on purpose, by reason.
    """

    items: list[MediaItem]
    owners: list[int]
    failures: list[Failure]
    sources: list[dict[str, Any]]


def list_media(sources: Sequence[Source]) -> Listing:
    """Asks all sources for their media.

    Raises:
        InputError: A source is unusable, or there is no medium at all.
    """
    listing = Listing([], [], [], [])
    for number, source in enumerate(sources):
        prefix = f"{source.name}/" if len(sources) > 1 else ""
        items = source.items()
        listing.items.extend(replace(item, key=prefix + item.key) for item in items)
        listing.owners.extend([number] * len(items))
        failures = [_failure(prefix, error) for error in source.failures]
        listing.failures.extend(failures)
        listing.sources.append(
            {
                "name": source.name,
                "items": len(items) + len(failures),
                "unusable": len(failures),
                "left_out": dict(sorted(source.skipped.items())),
            }
        )
    if not listing.items:
        raise InputError(nothing_usable("there is no medium", listing, listing.failures))
    return listing


def _failure(prefix: str, error: MediaError) -> Failure:
    return Failure(prefix + error.path, error.cause.value, error.reason)


def account(
    listing: Listing, recorded: set[str], failures: Sequence[Failure]
) -> list[dict[str, Any]]:
    """Adds `recorded` to each source's summary: its items with at least one record.

    Raises:
        RuntimeError: An item is neither recorded nor among the failures, which is a bug here.
    """
    failed = {failure.key for failure in failures}
    lost = [item.key for item in listing.items if item.key not in recorded | failed]
    if lost:
        raise RuntimeError(f"{lost[0]} and {len(lost) - 1} more items neither recorded nor failed")
    held = Counter(
        owner
        for item, owner in zip(listing.items, listing.owners, strict=True)
        if item.key in recorded
    )
    return [{**source, "recorded": held[i]} for i, source in enumerate(listing.sources)]


def nothing_usable(what: str, listing: Listing, failures: Sequence[Failure]) -> str:
    """Returns the line that ends a run without records: what came in, and what was wrong."""
    names = ", ".join(source["name"] for source in listing.sources)
    total = len(listing.items) + len(listing.failures)
    causes = ", ".join(f"{n} {cause}" for cause, n in Counter(f.cause for f in failures).items())
    first = f"; first: {failures[0].key}: {failures[0].reason}" if failures else ""
    return f"{names}: {total} items, {what}" + (f" ({causes}{first})" if causes else "")
