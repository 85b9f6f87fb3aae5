"""One shard, read without TensorFlow: every fault names the shard, the record and its offset."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pipelines.errors import DatasetError
from pipelines.records.example import ExampleError, decode_example
from pipelines.records.framing import Frame, FramingError, read_frames
from pipelines.records.manifest import Manifest, ShardInfo
from pipelines.records.pictures import picture_fault
from pipelines.records.schema import FaceRecord, record_fault

_CHUNK_BYTES = 2**20


def iter_records(path: Path) -> Iterator[FaceRecord]:
    """Yields the records of a shard in order.

    Raises:
        DatasetError: The shard cannot be read, is damaged, or a record is not of the schema.
    """
    for _, record in iter_checked(path, pictures=False):
        yield record


def iter_kept(folder: Path, manifest: Manifest, shard: ShardInfo) -> Iterator[FaceRecord]:
    """Yields the records of a shard in order, without those the manifest leaves out.

    Raises:
        DatasetError: As `iter_records`.
    """
    skipped = set(manifest.skipped_in(shard))
    for index, record in enumerate(iter_records(folder / shard.file)):
        if index not in skipped:
            yield record


def iter_checked(path: Path, *, pictures: bool) -> Iterator[tuple[Frame, FaceRecord]]:
    """Yields frame and record of a shard in order, every value (and picture) checked.

    Raises:
        DatasetError: As `iter_records`, and for a picture that cannot be decoded.
    """
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            for frame in read_frames(file, size):
                yield frame, _record(path, frame, pictures)
    except FramingError as error:
        raise DatasetError(f"{path}: {error}") from error
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error


def scan_shard(path: Path, split: str) -> ShardInfo:
    """Returns what the manifest should say of a finished shard, from its content.

    Raises:
        DatasetError: It is damaged.
    """
    counts = Counter(record.count_key for _, record in iter_checked(path, pictures=True))
    return ShardInfo(
        file=path.name,
        split=split,
        records=counts.total(),
        bytes=path.stat().st_size,
        sha256=file_digest(path),
        counts=dict(sorted(counts.items())),
    )


def file_digest(path: Path) -> str:
    """Returns the SHA-256 of a file, hex; DatasetError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    return digest.hexdigest()


def _record(path: Path, frame: Frame, pictures: bool) -> FaceRecord:
    try:
        record = decode_example(frame.data)
    except ExampleError as error:
        raise DatasetError(f"{_place(path, frame)}: {error}") from error
    fault = record_fault(record)
    if fault is None and pictures:
        fault = picture_fault(record, decode=True)
    if fault is not None:
        raise DatasetError(f"{_place(path, frame)}: {fault}")
    return record


def _place(path: Path, frame: Frame) -> str:
    return f"{path}: record {frame.index} at byte {frame.offset}"
