"""Metadata with which `tfds.builder_from_directory` opens a record folder.

Written by TFDS's own classes, so that the files follow the installed version's format.
"""

from pathlib import Path
from typing import Any

from pipelines.media_item import SPLITS
from pipelines.records.manifest import Manifest
from pipelines.records.schema import DATASET_NAME, FIELDS, SCHEMA_VERSION, Field

TFDS_VERSION = f"{SCHEMA_VERSION}.0.0"


def write_tfds_metadata(folder: Path, manifest: Manifest) -> None:
    """Writes `dataset_info.json` and `features.json` beside the shards.

    Examples then come as a flat dict with the keys of `FIELDS`; `image/encoded` is decoded, uint8
    RGB (height, width, 3). TFDS compares with the folder: the shards must be there, and no others.
    """
    import tensorflow_datasets as tfds

    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[shard.records for shard in shards],
            num_bytes=sum(shard.bytes for shard in shards),
            filename_template=tfds.core.ShardedFileTemplate(
                dataset_name=DATASET_NAME,
                data_dir=folder,
                split=split,
                filetype_suffix="tfrecord",
            ),
        )
        for split in SPLITS
        if (shards := manifest.split_shards(split))
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=tfds.features.FeaturesDict({field.name: _feature(field) for field in FIELDS}),
        split_infos=splits,
        version=TFDS_VERSION,
        description=f"Face crops of {manifest.name}, prepared by dfd-tf.",
        check_data=False,
    )


def _feature(field: Field) -> Any:
    import numpy as np
    import tensorflow_datasets as tfds

    if field.attribute == "encoded":
        return tfds.features.Image(shape=(None, None, 3))
    if field.kind in {"bytes", "text"}:
        return tfds.features.Text()
    dtype = {"int64": np.int64, "float": np.float32}[field.kind]
    if field.length == 1:
        return tfds.features.Scalar(dtype)
    return tfds.features.Tensor(shape=(field.length,), dtype=dtype)
