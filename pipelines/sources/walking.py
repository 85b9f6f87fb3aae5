"""Listing the files below a folder: links followed, loops survived, nothing left out in silence."""

import os
import stat
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from pipelines.errors import Cause, InputError, MediaError, printable

# Path, key (path relative to the root with a trailing slash, empty for the root), and device and
# inode of the folders on the way: a link to one of those is a loop.
Folder = tuple[str, str, tuple[tuple[int, int], ...]]

JUNK_NAMES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx"})


@dataclass
class Listing:
    """What lies below a folder.

    Args:
        files: Paths of the regular files relative to the folder, `/`-separated, sorted.
        failures: Entries that cannot be read: broken links, pipes, devices, closed folders.
        skipped: Number of entries left out, by reason; a folder left out counts once.
    """

    files: list[str] = field(default_factory=list)
    failures: list[MediaError] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def walk(root: Path) -> Listing:
    """Returns everything below a folder; InputError where it is none."""
    if not root.is_dir():
        raise InputError(f"{printable(str(root))}: no such folder")
    listing = Listing()
    folders: list[Folder] = [(os.fspath(root), "", ())]
    while folders:
        folders += _visit(folders.pop(), listing)
    listing.files.sort()
    return listing


def _visit(folder: Folder, listing: Listing) -> list[Folder]:
    """Lists one folder and returns those in it."""
    path, key, above = folder
    try:
        status = os.stat(path)  # noqa: PTH116 - a Path per entry doubles the time of a walk
        entries = sorted(os.scandir(path), key=lambda entry: entry.name)
    except OSError as error:
        reason = f"folder cannot be listed: {error.strerror}"
        listing.failures.append(MediaError(key, Cause.MISSING, reason))
        return []
    here = (status.st_dev, status.st_ino)
    if here in above:
        listing.skipped["links to a folder above"] += 1
        return []
    found: list[Folder] = []
    for entry in entries:
        name = key + entry.name
        if entry.name.casefold() in JUNK_NAMES:
            listing.skipped["junk"] += 1
        elif entry.name.startswith("."):
            listing.skipped["hidden"] += 1
        elif _is_folder(entry, name, listing):
            found.append((entry.path, name + "/", (*above, here)))
    return found


def _is_folder(entry: os.DirEntry[str], name: str, listing: Listing) -> bool:
    """Files what is no folder under `files` or `failures`."""
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
        listing.failures.append(MediaError(name, Cause.MISSING, reason))
        return False
    if stat.S_ISREG(mode):
        listing.files.append(name)
    elif not stat.S_ISDIR(mode):
        reason = "not a regular file (pipe, socket or device)"
        listing.failures.append(MediaError(name, Cause.NOT_A_FILE, reason))
    return stat.S_ISDIR(mode)
