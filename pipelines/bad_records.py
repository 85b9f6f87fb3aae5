"""Records whose picture cannot be decoded: found, named, counted, and left out up to a cap."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import tensorflow as tf

from pipelines.errors import DatasetError
from pipelines.records.manifest import BadRecord, Manifest
from pipelines.records.reader import decode_image
from pipelines.records.schema import FaceRecord
from pipelines.records.verification import bad_records, decoded_whole, verify_records

LARGEST_BAD_SHARE = 0.001
"""Share of a folder's records that may be left out; above it something is wrong with the data."""


def without_bad_records(
    folder: Path,
    manifest: Manifest,
    splits: Sequence[str],
    progress: Callable[[int, int], None] | None = None,
) -> Manifest:
    """Reads some splits whole and leaves out the records whose pictures cannot be decoded.

    Equal folders give equal lists, so that the order of training stays a function of the seed.

    Args:
        folder: Record folder.
        manifest: Its manifest.
        splits: Splits that are going to be read.
        progress: Called with the records read and the records there are.

    Returns:
        A manifest for readers: its counts are those of the records left.

    Raises:
        DatasetError: There are more than `LARGEST_BAD_SHARE` of them, or anything else is wrong
            with the folder.
    """
    bad = tuple(bad_records(folder, manifest, splits, check=_decoder_fault, progress=progress))
    total = sum(shard.records for shard in manifest.shards)
    most = int(LARGEST_BAD_SHARE * total)
    if len(bad) > most:
        raise DatasetError(
            f"{folder}: {len(bad)} records of {' and '.join(splits)} cannot be decoded; at most"
            f" {LARGEST_BAD_SHARE:.1%} of the folder's {total}, so {most}, may be left out. Run"
            f" `dfd-tf prepare` again. First: {bad[0].describe(folder)}"
        )
    return manifest.leaving_out(bad)


def skipped_warning(folder: Path, manifest: Manifest) -> str | None:
    """Returns the line that tells which records are left out; None where none is."""
    if not manifest.skipped:
        return None
    places = "; ".join(f"{bad.file}: record {bad.index}" for bad in manifest.skipped)
    return f"{folder}: {len(manifest.skipped)} records cannot be decoded and are left out: {places}"


@contextmanager
def naming_bad_records(folder: Path, skipped: Sequence[BadRecord] = ()) -> Iterator[None]:
    """Turns an error that damaged records cause inside the block into one that names them.

    TensorFlow's own errors name neither shard nor record. On any of them the folder is verified
    in depth; if it proves sound, the error was not the data's and passes unchanged.

    Args:
        folder: Record folder.
        skipped: Records that are left out and so cannot be the cause.

    Raises:
        DatasetError: Names the shard and the record.
    """
    try:
        yield
    except tf.errors.OpError:
        manifest = verify_records(folder, deep=False)
        for bad in bad_records(folder, manifest, check=_decoder_fault):
            if bad not in skipped:
                raise DatasetError(
                    f"{bad.describe(folder)}; run `dfd-tf prepare` again, or leave out a few such"
                    " records: `train --on-bad-record skip`, with --resume --force in a run that"
                    " has begun"
                ) from None
        raise


def _decoder_fault(record: FaceRecord) -> str | None:
    """Checks a picture with Pillow and with the decoder of the batches, which refuses more."""
    if fault := decoded_whole(record):
        return fault
    try:
        pixels = decode_image(tf.constant(record.encoded))
    except tf.errors.InvalidArgumentError:
        return "image/encoded cannot be decoded (TensorFlow refuses it)"
    if tuple(pixels.shape) != (record.height, record.width, 3):
        return f"image/encoded is decoded to {tuple(pixels.shape)}"
    return None
