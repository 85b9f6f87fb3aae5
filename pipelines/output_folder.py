"""The folder `prepare` writes to: one writer at a time, one dataset, nothing half-written kept.

Beside the records lies `.prepare`: the lock, the plan the folder belongs to, and a note for each
finished shard, by which an interrupted or damaged build goes on where it is whole.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pipelines.errors import DfdError, InputError, printable
from pipelines.media_item import SPLITS
from pipelines.records.files import remove_temporary_files, write_atomically
from pipelines.records.manifest import MANIFEST_NAME, load_manifest
from pipelines.records.schema import DATASET_NAME

WORK = ".prepare"
MEDIA = "media"
PLAN = "plan.json"
SURVEY = "survey.json"
TFDS_FILES = ("dataset_info.json", "features.json")


class OutputFolder:
    """A record folder being written; made by `open_output`.

    Args:
        path: The record folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.work = path / WORK

    def require_settings(self, settings: dict[str, Any]) -> None:
        """Refuses a folder that holds records made with other settings.

        Args:
            settings: As `shard_plan.settings_identity` gives them.

        Raises:
            InputError: The folder was made with others, or not by `prepare`.
        """
        plan = self._plan()
        if plan is None:
            return
        differing = _differences(plan["settings"], settings)
        if differing:
            raise InputError(
                f"{self.path}: holds records made with other settings ({', '.join(differing)}); "
                "name another folder, or overwrite this one"
            )

    def claim(self, settings: dict[str, Any], items: int, media: str) -> None:
        """Notes which dataset the folder belongs to; refuses one that belongs to another.

        Args:
            settings: As for `require_settings`.
            items: Number of media.
            media: Digest of all media, their labels and splits.

        Raises:
            InputError: The folder holds records of other media.
        """
        plan = self._plan()
        if plan is not None and plan["media"] != media:
            raise InputError(
                f"{self.path}: holds records of other media ({plan['items']} items, now {items}, "
                "or the same with other content or labels); name another folder, or overwrite this"
            )
        write_json(self.work / PLAN, {"settings": settings, "items": items, "media": media})

    def survey(self, media: str) -> dict[str, Any] | None:
        """What an earlier run's measuring pass found of these media, if it got that far.

        The folder belongs to one set of settings, so the media alone decide.
        """
        try:
            content = json.loads((self.work / SURVEY).read_text(encoding="utf-8"))
            return content["report"] if content["media"] == media else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def save_survey(self, media: str, report: Mapping[str, Any]) -> None:
        """Keeps what the measuring pass found, for a run that goes on where this one stops."""
        write_json(self.work / SURVEY, {"media": media, "report": report})

    def clear(self) -> None:
        """Deletes what `prepare` wrote, the manifest first, and nothing else."""
        for path in [self.path / MANIFEST_NAME, self.work / PLAN, *self._records()]:
            path.unlink(missing_ok=True)
        for path in self.work.glob("*.json"):
            path.unlink()

    def holds_records(self) -> bool:
        """Whether `prepare` has written here; any program may write a manifest.json."""
        if (self.work / PLAN).exists() or self._records():
            return True
        try:
            load_manifest(self.path)
        except DfdError:
            return False
        return True

    def sort_tfds_splits(self) -> None:
        """Puts the splits of dataset_info.json in order, for equal bytes.

        TFDS 4.9 writes them in the order of a set of strings, another one in every process.
        """
        path = self.path / TFDS_FILES[0]
        content = json.loads(path.read_text(encoding="utf-8"))
        content["splits"].sort(key=lambda split: SPLITS.index(split["name"]))
        write_json(path, content)

    def _plan(self) -> dict[str, Any] | None:
        path = self.work / PLAN
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            return {key: plan[key] for key in ("settings", "items", "media")}
        except FileNotFoundError:
            if (self.path / MANIFEST_NAME).exists() or self._records():
                raise InputError(
                    f"{self.path}: holds records, but not the {WORK}/{PLAN} they were made by; "
                    "name another folder, or overwrite this one"
                ) from None
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path}: damaged ({error}); overwrite the folder") from None

    def _records(self) -> list[Path]:
        shards = sorted(self.path.glob(f"{DATASET_NAME}-*.tfrecord-*"))
        return [*shards, *(p for n in TFDS_FILES if (p := self.path / n).exists())]


@contextmanager
def open_output(path: Path, *, overwrite: bool) -> Iterator[OutputFolder]:
    """Makes the folder, locks it and removes what killed writers left half-written.

    Args:
        path: The record folder.
        overwrite: Delete the records it holds.

    Raises:
        InputError: Another process writes to it, it cannot be written, or it is to be overwritten
            and holds files but no records.
    """
    if overwrite:
        _refuse_strangers(path)
    work = path / WORK
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise InputError(
            f"{path}: another process is preparing records there; wait for it, or name another "
            "folder"
        ) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        _remove_leftovers(path)
        folder = OutputFolder(path)
        if overwrite:
            folder.clear()
        yield folder
    finally:
        _remove_leftovers(path)  # of workers that were ended in the middle of a shard
        lock.release()


def _refuse_strangers(path: Path) -> None:
    if OutputFolder(path).holds_records() or not path.is_dir():
        return
    # Sources without files of their own have put theirs under `media` already.
    others = sorted(entry.name for entry in path.iterdir() if entry.name not in (WORK, MEDIA))
    if others:
        raise InputError(
            f"{path}: holds no records to overwrite, but {printable(others[0])}"
            + (f" and {len(others) - 1} more" if len(others) > 1 else "")
            + "; name another folder"
        )


def _remove_leftovers(path: Path) -> None:
    remove_temporary_files(path)
    remove_temporary_files(path / WORK)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON by rename.

    Raises:
        DatasetError: The disk is full, or the like.
    """
    write_atomically(path, (json.dumps(content, indent=1) + "\n").encode())


def _differences(before: Any, now: Any, name: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        return [
            line
            for key in sorted({*before, *now})
            for line in _differences(before.get(key), now.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if before == now else [f"{name}: {before} there, {now} now"]
