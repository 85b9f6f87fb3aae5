"""The proof stored beside the records: what ties the media, and that no tie crosses a split."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

from pipelines.fingerprints import NearDuplicates
from pipelines.media_item import LABEL_NAMES, SPLITS
from pipelines.split_components import SplitItem, content_keys

LINK_KINDS = ("identity", "video", "related", "exact_duplicate", "near_duplicate")
NUM_EXAMPLES = 20


@dataclass(frozen=True)
class SplitProof:
    """Facts about a split; `to_dict` is what the manifest stores. All counts are media items.

    Args:
        leak_free: No link of any kind joins two splits.
        mode: `assigned`, or `kept` where the sources' splits were kept.
        fractions: Shares used for items whose split was assigned.
        seed: Seed of the assignment.
        stated: Number of items whose split the source stated and that were kept.
        carved: Share of a domain's stated train split that became its val split.
        components: Number of connected components.
        largest_component: Its size and first key.
        links: Number of keys or pairs, per kind, that tie two or more items.
        overlaps: Per kind, the number of keys or pairs that join two splits, and up to 20 of them.
        label_conflicts: Equal files or near-duplicates with two labels: number and up to 20.
        dropped: Number of items dropped because of overlaps.
        counts: split -> label name -> domain -> number of items.
        near_duplicates: Method and thresholds of the near-duplicate search.
    """

    leak_free: bool
    mode: str
    fractions: tuple[float, float, float]
    seed: int
    stated: int
    carved: dict[str, float]
    components: int
    largest_component: dict[str, int | str]
    links: dict[str, int]
    overlaps: dict[str, dict]
    label_conflicts: dict
    dropped: int
    counts: dict[str, dict[str, dict[str, int]]]
    near_duplicates: dict[str, float | int | str]

    def to_dict(self) -> dict:
        """Returns the proof as JSON types."""
        return {**asdict(self), "fractions": list(self.fractions)}

    def summary(self) -> str:
        """Returns one line: leak-free or not, and by what."""
        if self.leak_free:
            return f"splits are leak-free: {self.components} components, none cut"
        found = [
            f"{o['count']} by {kind} (such as {o['examples'][0]['key']!r})"
            for kind, o in self.overlaps.items()
            if o["count"]
        ]
        return "splits overlap: " + ", ".join(found)


def prove(
    items: Sequence[SplitItem],
    groups: Sequence[Sequence[int]],
    splits: Sequence[str | None],
    near_duplicates: NearDuplicates,
    *,
    mode: str,
    fractions: tuple[float, float, float],
    seed: int,
    carved: Mapping[str, float],
) -> SplitProof:
    """Returns the proof for a finished assignment; every link is checked again, one by one.

    Args:
        items: The media.
        groups: Their connected components.
        splits: Split of each item, None: dropped.
        near_duplicates: Pairs of item indices that show the same picture, and the method.
        mode: See SplitProof; likewise the others.
    """
    links = _links(items, near_duplicates)
    overlaps = {}
    for kind in LINK_KINDS:
        crossing = []
        for key, members in links[kind].items():
            held = Counter(split for i in members if (split := splits[i]))
            if len(held) > 1:
                crossing.append({"key": key, "splits": {s: held[s] for s in SPLITS if held[s]}})
        overlaps[kind] = _bounded(crossing)

    conflicts = [
        {"key": key, "labels": sorted({LABEL_NAMES[items[i].label] for i in members})}
        for kind in ("exact_duplicate", "near_duplicate")
        for key, members in links[kind].items()
        if len({items[i].label for i in members}) > 1
    ]
    largest = max(groups, key=len, default=())
    return SplitProof(
        leak_free=not any(found["count"] for found in overlaps.values()),
        mode=mode,
        fractions=fractions,
        seed=seed,
        stated=sum(mode == "kept" and item.split is not None for item in items),
        carved=dict(carved),
        components=len(groups),
        largest_component={
            "items": len(largest),
            "first": items[largest[0]].key if largest else "",
        },
        links={kind: len(links[kind]) for kind in LINK_KINDS},
        overlaps=overlaps,
        label_conflicts=_bounded(conflicts),
        dropped=sum(split is None for split in splits),
        counts=_counts(items, splits),
        near_duplicates=dict(near_duplicates.method),
    )


def _links(
    items: Sequence[SplitItem], near_duplicates: NearDuplicates
) -> dict[str, dict[str, list[int]]]:
    """Returns kind -> key -> items, for keys that tie at least two items."""
    identities = {item.identity for item in items}
    videos = {item.video for item in items}
    content: dict[str, list[int]] = defaultdict(list)
    files: dict[str, list[int]] = defaultdict(list)
    for i, item in enumerate(items):
        for key in set(content_keys(item)):
            content[key].append(i)
        if item.sha256:
            files[item.sha256].append(i)

    links: dict[str, dict[str, list[int]]] = {kind: {} for kind in LINK_KINDS}
    for key, members in content.items():
        kind = "identity" if key in identities else "video" if key in videos else "related"
        if len(members) > 1:
            links[kind][key] = members
    for members in files.values():
        if len(members) > 1:
            links["exact_duplicate"][" = ".join(_keys(items, members))] = members
    for pair in near_duplicates.pairs:
        links["near_duplicate"][" ~ ".join(_keys(items, pair))] = list(pair)
    return links


def _keys(items: Sequence[SplitItem], members: Iterable[int]) -> list[str]:
    return sorted(items[i].key for i in members)[:4]


def _bounded(entries: list[dict]) -> dict:
    ordered = sorted(entries, key=lambda entry: entry["key"])
    return {"count": len(ordered), "examples": ordered[:NUM_EXAMPLES]}


def _counts(
    items: Sequence[SplitItem], splits: Sequence[str | None]
) -> dict[str, dict[str, dict[str, int]]]:
    counted = Counter(
        (split, LABEL_NAMES[item.label], item.domain)
        for item, split in zip(items, splits, strict=True)
        if split
    )
    counts: dict[str, dict[str, dict[str, int]]] = {}
    for split in SPLITS:
        for (held, label, domain), n in sorted(counted.items()):
            if held == split:
                counts.setdefault(split, {}).setdefault(label, {})[domain] = n
    return counts
