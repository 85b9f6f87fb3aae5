"""Is a record folder what its manifest says? Every fault is named with its shard.

Shallow: a look at the folder and one `stat` a shard. Deep: every byte, record and picture as well.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipelines.errors import DatasetError
from pipelines.media_item import SPLITS
from pipelines.records.files import is_temporary
from pipelines.records.framing import GZIP_MAGIC
from pipelines.records.manifest import BadRecord, Manifest, ShardInfo, load_manifest
from pipelines.records.pictures import picture_fault
from pipelines.records.schema import FaceRecord
from pipelines.records.shards import file_digest, iter_checked

PictureCheck = Callable[[FaceRecord], str | None]
"""Returns why a record's picture cannot be used; None for a good one."""

_SHARD_MARK = ".tfrecord"
_REMEDY = "run `dfd-tf prepare` again, it restores the shard"


def verify_records(folder: Path, deep: bool) -> Manifest:
    """Checks a record folder and returns its manifest.

    Temporary files of a killed writer are not looked at, nor are files that are no shards.

    Args:
        folder: Record folder.
        deep: Read everything.

    Raises:
        InputError: There is no such folder.
        DatasetError: Manifest and folder differ; the message names the shard, and the record if
            it is one. Without a leak in its split proof, media that are in two splits count too.
    """
    manifest = load_manifest(folder)
    faults = list(_file_faults(folder, manifest))
    if faults:
        more = f" (and {len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise DatasetError(faults[0] + more)
    if deep:
        for bad in bad_records(folder, manifest):
            raise DatasetError(f"{bad.describe(folder)}; {_REMEDY}")
    return manifest


def decoded_whole(record: FaceRecord) -> str | None:
    """Checks a picture by decoding it with Pillow."""
    return picture_fault(record, decode=True)


def bad_records(
    folder: Path,
    manifest: Manifest,
    splits: Sequence[str] = SPLITS,
    *,
    check: PictureCheck = decoded_whole,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[BadRecord]:
    """Reads every byte of some splits and yields the records whose pictures cannot be used.

    Args:
        folder: Record folder.
        manifest: Its manifest.
        splits: Splits to read.
        check: Looks at the pictures.
        progress: Called with the records read and the records there are.

    Raises:
        DatasetError: As `verify_records`, for everything else that is wrong.
    """
    seen = _Media(manifest)
    shards = [shard for split in splits for shard in manifest.split_shards(split)]
    total, done = sum(shard.records for shard in shards), 0
    for shard in shards:
        yield from _check_content(folder, manifest, shard, seen, check)
        done += shard.records
        if progress is not None:
            progress(done, total)


class _Media:
    """Which split each media file was first seen in.

    Crops are not compared: two flat pictures may well be equal. Splits that were kept although
    the sources' own overlap say so in their proof, which training refuses; they are no damage.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._active = manifest.split_proof.get("leak_free", True)
        self._first: dict[bytes, tuple[str, str]] = {}

    def fault(self, shard: ShardInfo, place: str, record: FaceRecord) -> str | None:
        if not self._active:
            return None
        split, first = self._first.setdefault(bytes.fromhex(record.sha256), (shard.split, place))
        if split == shard.split:
            return None
        return f"{place} ({record.path}): the same media file as {first} of split {split}"


def _file_faults(folder: Path, manifest: Manifest) -> Iterator[str]:
    listed = {shard.file for shard in manifest.shards}
    extra = {
        path.name
        for path in folder.iterdir()
        if _SHARD_MARK in path.name and path.name not in listed and not is_temporary(path.name)
    }
    missing = set()
    for shard in manifest.shards:
        path = folder / shard.file
        if not path.exists():
            missing.add(shard.file)
            yield f"{path}: missing{_new_name(folder, shard, extra)}; {_REMEDY}"
        elif not path.is_file():
            yield f"{path}: not a regular file; remove it and {_REMEDY}"
        elif path.stat().st_size != shard.bytes:
            yield _size_fault(path, shard, manifest)
    for name in sorted(extra):
        original = _original(folder / name, manifest)
        if original is None:
            yield f"{folder / name}: not in the manifest; remove it"
        elif original.file not in missing:
            yield f"{folder / name}: not in the manifest, a copy of {original.file}; remove it"


def _size_fault(path: Path, shard: ShardInfo, manifest: Manifest) -> str:
    with path.open("rb") as file:
        compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    original = _original(path, manifest)
    if compressed:
        what = " (it is compressed with gzip; shards are not)"
    elif original is not None:
        what = f" (it is a copy of {original.file})"
    else:
        what = ""
    size = path.stat().st_size
    return f"{path}: {size} bytes{what}, the manifest says {shard.bytes}; {_REMEDY}"


def _new_name(folder: Path, shard: ShardInfo, extra: set[str]) -> str:
    for name in sorted(extra):
        path = folder / name
        if path.is_file() and _is(path, shard):
            return f", it was renamed to {name}"
    return ""


def _original(path: Path, manifest: Manifest) -> ShardInfo | None:
    """The shard of the manifest that a file has the content of."""
    if not path.is_file():
        return None
    same = (shard for shard in manifest.shards if shard.records and _is(path, shard))
    return next(same, None)


def _is(path: Path, shard: ShardInfo) -> bool:
    return path.stat().st_size == shard.bytes and file_digest(path) == shard.sha256


def _check_content(
    folder: Path, manifest: Manifest, shard: ShardInfo, seen: _Media, check: PictureCheck
) -> Iterator[BadRecord]:
    path = folder / shard.file
    intact = file_digest(path) == shard.sha256
    original = None if intact else _original(path, manifest)
    if original is not None:
        raise DatasetError(f"{path}: a copy of {original.file}; {_REMEDY}")
    counts: Counter[str] = Counter()
    leak = None
    # A damaged file is walked too, for the walk tells where the damage is.
    for frame, record in iter_checked(path, pictures=False):
        if reason := check(record):
            yield BadRecord(shard.file, frame.index, frame.offset, record.count_key, reason)
        place = f"{path}: record {frame.index} at byte {frame.offset}"
        if fault := _vocabulary_fault(record, manifest):
            raise DatasetError(f"{place}: {fault}")
        leak = leak or seen.fault(shard, place, record)
        counts[record.count_key] += 1
    if counts != Counter(shard.counts):
        raise DatasetError(
            f"{path}: {counts.total()} records {dict(sorted(counts.items()))}, the manifest says "
            f"{shard.records} {dict(sorted(shard.counts.items()))}; {_REMEDY}"
        )
    if not intact:
        raise DatasetError(f"{path}: not the bytes that were written (sha256); {_REMEDY}")
    if leak is not None:
        raise DatasetError(leak)


def _vocabulary_fault(record: FaceRecord, manifest: Manifest) -> str | None:
    if record.domain not in manifest.domains:
        return f"media/domain is {record.domain!r}, expected one of {list(manifest.domains)}"
    if record.label not in manifest.labels:
        return f"image/class/label is {record.label}, expected one of {list(manifest.labels)}"
    return None
