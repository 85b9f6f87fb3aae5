"""Which media must stay together: connected components over everything that ties two of them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.fingerprints import NO_NEAR_DUPLICATES, NearDuplicates


@dataclass(frozen=True, slots=True)
class SplitItem:
    """What the splitter knows about one media file.

    Args:
        key: Unique name; decides ties, so that the order of the items does not.
        label: 0 real, 1 fake, -1 unknown.
        domain: Name of the domain.
        identity: Composite key of the person, empty when unknown.
        video: Composite key of the video, empty for a still.
        related: Further keys (donor, source) it shares content with.
        sha256: Hex digest of the file's bytes, empty when unknown.
        split: `train`, `val` or `test` where the source states it.
    """

    key: str
    label: int
    domain: str
    identity: str = ""
    video: str = ""
    related: tuple[str, ...] = ()
    sha256: str = ""
    split: str | None = None


def content_keys(item: SplitItem) -> list[str]:
    """Returns the keys of the people, videos and sources whose content an item shows.

    They are one name space: what one item names as its video another may name as its donor.
    """
    return [key for key in (item.identity, item.video, *item.related) if key]


def components(
    items: Sequence[SplitItem], near_duplicates: NearDuplicates = NO_NEAR_DUPLICATES
) -> list[list[int]]:
    """Returns the connected components as lists of item indices, each ordered by key.

    The components are ordered by their first key, so nothing depends on the order of the items.
    """
    parents = list(range(len(items)))

    def root(i: int) -> int:
        while parents[i] != i:
            parents[i] = parents[parents[i]]
            i = parents[i]
        return i

    first_with: dict[tuple[str, str], int] = {}
    for i, item in enumerate(items):
        keys = [("content", key) for key in content_keys(item)]
        if item.sha256:
            keys.append(("sha256", item.sha256))
        for key in keys:
            parents[root(i)] = root(first_with.setdefault(key, i))
    for i, j in near_duplicates.pairs:
        parents[root(i)] = root(j)

    members: dict[int, list[int]] = defaultdict(list)
    for i in sorted(range(len(items)), key=lambda i: items[i].key):
        members[root(i)].append(i)
    return list(members.values())
