"""Image and video folders whose names tell label, split, domain and group.

Below the root a file's folders read `[domain/][split/]class[/split][/method...][/group]/file`, the
domain before or after the split. The root itself may be a class folder, a split folder, or a class
inside a split. Names are compared without case:

- split: train, training; val, valid, validation; test, testing
- class: real, original, originals, authentic, genuine, pristine, 0_real;
  fake, fakes, synthesized, synthesised, manipulated, generated, forged, tampered, 1_fake

The last folder below the class is a group whose members never part at a split: a video when all its
files have frame numbers for names (`0001.png`, `frame_12.jpg`), otherwise a person. Folders between
a fake class and its group name the method. Groups of one name within a dataset belong together,
whatever their label.
"""

import mimetypes
import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from pipelines.errors import Cause, InputError, MediaError, printable
from pipelines.media_item import FAKE, REAL, MediaItem
from pipelines.sources.base import identity_key, video_key
from pipelines.sources.walking import walk

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_REAL_NAMES = "real original originals authentic genuine pristine 0_real"
_FAKE_NAMES = "fake fakes synthesized synthesised manipulated generated forged tampered 1_fake"
CLASS_NAMES = {
    **dict.fromkeys(_REAL_NAMES.split(), REAL),
    **dict.fromkeys(_FAKE_NAMES.split(), FAKE),
}
LAYOUTS = (
    "real|fake/FILES or train|val|test/real|fake/FILES, either of them below one folder per "
    "domain, or a folder that is itself named real or fake"
)
_FRAME_NUMBER = re.compile(r"(frame|image|img|f)?[-_ ]?\d+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Place:
    """What the folders of a file say.

    Args:
        label: 0 real, 1 fake.
        split: `train`, `val`, `test` or None.
        domain: Name of the folder level for it, empty where there is none.
        method: Folders between a fake class and the group, `/`-separated.
        group: Last folder below the class, empty where there is none.
    """

    label: int
    split: str | None
    domain: str
    method: str
    group: str


class FolderSource:
    """A folder of labelled images and videos.

    Args:
        location: The folder.
        domain: Domain of every item; None: the domain level of the layout, else the root's name.
        staging: Not used: the files are there.
    """

    def __init__(self, location: str, *, domain: str | None, staging: Path) -> None:  # noqa: ARG002
        self._root = Path(location)
        self._domain = domain
        self._implied, self.name = _implied_by_root(self._root)
        self.failures: list[MediaError] = []
        self.skipped: dict[str, int] = {}

    def items(self) -> list[MediaItem]:
        listing = walk(self._root)
        self.failures, self.skipped = listing.failures, dict(listing.skipped)
        if not listing.files:
            raise InputError(f"{printable(str(self._root))}: no files; expected {LAYOUTS}")
        places = {
            file: read_place(PurePosixPath(file).parts[:-1], self._implied)
            for file in listing.files
        }
        if not any(places.values()):
            raise InputError(
                f"{printable(str(self._root))}: no folder in it is named real or fake (first file: "
                f"{printable(listing.files[0])}); expected {LAYOUTS}"
            )
        videos = _frame_folders(listing.files)
        items = []
        for file in listing.files:
            place = places[file]
            if place:
                items.append(self._item(file, place, _parent(file) in videos))
            else:
                self._leave_out(file)
        return sorted(items, key=lambda item: item.key)

    def _item(self, file: str, place: Place, is_frame: bool) -> MediaItem:
        dataset = place.domain or self.name
        group = identity_key(dataset, place.group) if place.group else ""
        is_frame = is_frame and bool(group)
        return MediaItem(
            path=str(self._root / file),
            key=file,
            label=place.label,
            domain=self._domain or dataset,
            dataset=dataset,
            method=place.method,
            video=video_key(dataset, place.method, place.label, place.group) if is_frame else "",
            identity="" if is_frame else group,
            related=(group,) if is_frame else (),
            split=place.split,
        )

    def _leave_out(self, file: str) -> None:
        """Counts a file outside the class folders; a medium there is a failure."""
        if (mimetypes.guess_type(file)[0] or "").startswith(("image/", "video/")):
            reason = f"its folders name no class, or two; expected {LAYOUTS}"
            self.failures.append(MediaError(file, Cause.UNLABELLED, reason))
        else:
            self.skipped["outside the class folders"] = (
                self.skipped.get("outside the class folders", 0) + 1
            )


def read_place(folders: Sequence[str], implied: Sequence[str] = ()) -> Place | None:
    """Returns what the folders of a file say, or None where they name no class, or two.

    Args:
        folders: Folder names between the root and the file.
        implied: Split and class names that end the root's own path; used for what the folders
            leave open.
    """
    place = _read(folders)
    if place is None:
        return _read((*implied, *folders)) if implied else None
    above = [SPLIT_NAMES[name] for name in implied if name in SPLIT_NAMES]
    return replace(place, split=place.split or above[0]) if above else place


def _read(folders: Sequence[str]) -> Place | None:
    domain, split, names = "", None, [name.casefold() for name in folders]
    for position, name in enumerate(names):
        if name in CLASS_NAMES:
            label, below = CLASS_NAMES[name], position + 1
            break
        if name in SPLIT_NAMES and split is None:
            split = SPLIT_NAMES[name]
        elif name not in SPLIT_NAMES and not domain:
            domain = folders[position]
        else:
            return None
    else:
        return None
    if split is None and names[below : below + 1] and names[below] in SPLIT_NAMES:
        split, below = SPLIT_NAMES[names[below]], below + 1
    if any(CLASS_NAMES.get(name, label) != label for name in names[below:]):
        return None
    groups = folders[below:]
    method = "/".join(groups[:-1]) if label == FAKE else ""
    group = "/".join(groups[-1:] if label == FAKE else groups)
    return Place(label, split, domain, method, group)


def _implied_by_root(root: Path) -> tuple[tuple[str, ...], str]:
    """Returns the split and class names that end the root's path, and the name before them."""
    # A link keeps its own name: it is the one the user gave.
    whole = root.resolve() if ".." in root.parts else root.absolute()
    *above, last = ("dataset", *whole.parts[1:])
    implied: list[str] = []
    if last.casefold() in CLASS_NAMES and above:
        implied, last = [last.casefold()], above.pop()
    if last.casefold() in SPLIT_NAMES and above:
        implied, last = [last.casefold(), *implied], above.pop()
    return tuple(implied), last


def _frame_folders(files: Collection[str]) -> set[str]:
    """Returns the folders all of whose files have frame numbers for names."""
    numbered: dict[str, bool] = defaultdict(lambda: True)
    for file in files:
        matches = _FRAME_NUMBER.fullmatch(PurePosixPath(file).stem) is not None
        numbered[_parent(file)] &= matches
    return {folder for folder, all_numbered in numbered.items() if all_numbered}


def _parent(file: str) -> str:
    return str(PurePosixPath(file).parent)
