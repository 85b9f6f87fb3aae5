"""Records into shards. A shard has its final name only when it is whole; no TensorFlow needed."""

import hashlib
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pipelines.records.example import encode_example
from pipelines.records.files import atomic_file
from pipelines.records.framing import frame
from pipelines.records.manifest import ShardInfo
from pipelines.records.pictures import picture_fault
from pipelines.records.schema import FaceRecord, record_fault


def encode_record(record: FaceRecord) -> bytes:
    """Returns the record as a serialised tf.train.Example.

    Raises:
        ValueError: A value or the picture is not what the schema says.
    """
    if fault := record_fault(record) or picture_fault(record, decode=False):
        raise ValueError(f"{record.path!r}, face {record.face_index}: {fault}")
    return encode_example(record)


class ShardWriter:
    """Writes one shard; to be used in a `with` statement.

    The records go to `PATH.tmp-PID`, which is renamed when the block ends without error and
    deleted otherwise.

    Args:
        path: Final path of the shard.
        split: Split it belongs to.

    Raises:
        DatasetError: The file system refused: full, too large, read-only.

    Example:
        with ShardWriter(folder / shard_name("train", 0, 4), "train") as writer:
            for record in records:
                writer.write(record)
        shards.append(writer.info)
    """

    def __init__(self, path: Path, split: str) -> None:
        self._path = path
        self._split = split
        self._digest = hashlib.sha256()
        self._counts: Counter[str] = Counter()
        self._bytes = 0
        self._resources = ExitStack()
        self._file: BinaryIO | None = None
        self._info: ShardInfo | None = None

    def __enter__(self) -> Self:
        self._file = self._resources.enter_context(atomic_file(self._path))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file = None
        self._resources.__exit__(kind, error, traceback)
        if error is None:
            self._info = ShardInfo(
                file=self._path.name,
                split=self._split,
                records=self._counts.total(),
                bytes=self._bytes,
                sha256=self._digest.hexdigest(),
                counts=dict(sorted(self._counts.items())),
            )

    @property
    def info(self) -> ShardInfo:
        """What the manifest says of the shard; only after the `with` block."""
        if self._info is None:
            raise RuntimeError(f"{self._path.name} is not written yet")
        return self._info

    def write(self, record: FaceRecord) -> None:
        """Adds a record; ValueError when the schema does not allow it."""
        self._add(encode_record(record))
        self._counts[record.count_key] += 1

    def _add(self, example: bytes) -> None:
        if self._file is None:
            raise RuntimeError(f"{self._path.name}: ShardWriter is for `with` statements")
        framed = frame(example)
        self._file.write(framed)
        self._digest.update(framed)
        self._bytes += len(framed)
