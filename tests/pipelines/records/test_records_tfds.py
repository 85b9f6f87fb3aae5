"""`tfds.builder_from_directory` opens a record folder."""

import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from record_samples import SIDE, encode, noise, sample_record, write_folder

from pipelines.records.schema import FIELDS
from pipelines.records.tfds_metadata import write_tfds_metadata
from pipelines.records.verification import verify_records

ROOT = Path(__file__).resolve().parents[3]
TFDS_FILES = ("dataset_info.json", "features.json")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfds") / "records"
    records = [sample_record(n, label=-1 if n == 12 else n % 2) for n in range(15)]
    manifest = write_folder(folder, [("train", 6), ("train", 5), ("val", 4), ("test", 0)], records)
    write_tfds_metadata(folder, manifest)
    return folder


def test_all_splits_and_their_sizes(folder):
    builder = tfds.builder_from_directory(str(folder))
    sizes = {name: info.num_examples for name, info in builder.info.splits.items()}
    assert sizes == {"train": 11, "val": 4, "test": 0}
    assert builder.info.splits["train"].shard_lengths == [6, 5]


def test_examples_come_decoded(folder):
    builder = tfds.builder_from_directory(str(folder))
    examples = list(tfds.as_numpy(builder.as_dataset(split="train+val", shuffle_files=False)))
    assert len(examples) == 15
    for number, example in enumerate(examples):
        record = sample_record(number, label=-1 if number == 12 else number % 2)
        assert set(example) == {field.name for field in FIELDS}
        assert np.array_equal(example["image/encoded"], noise(number, SIDE))
        assert example["media/path"].decode() == record.path
        assert example["image/class/label"] == record.label
        assert example["image/class/text"].decode() == record.text
        assert example["face/box"].tolist() == list(record.face_box)


def test_jpegs_come_decoded(tmp_path):
    rows, columns = np.mgrid[0:32, 0:32]
    pixels = np.stack([rows * 8, columns * 8, rows * columns // 4], -1).astype(np.uint8)
    write = [sample_record(1, pixels, "jpeg")]
    write_tfds_metadata(tmp_path, write_folder(tmp_path, [("val", 1)], write))
    builder = tfds.builder_from_directory(str(tmp_path))
    assert list(builder.info.splits) == ["val"]
    (example,) = tfds.as_numpy(builder.as_dataset(split="val"))
    assert example["image/encoded"].shape == (32, 32, 3)
    # TFDS decodes with the fast DCT, which is a few grey levels off.
    exact = np.asarray(Image.open(io.BytesIO(encode(pixels, "jpeg"))))
    assert np.abs(example["image/encoded"].astype(int) - exact).max() <= 6


def test_the_metadata_are_no_fault(folder):
    verify_records(folder, deep=True)


WRITE = """
import sys
from pathlib import Path
from pipelines.records.manifest import load_manifest
from pipelines.records.tfds_metadata import write_tfds_metadata
write_tfds_metadata(Path(sys.argv[1]), load_manifest(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("seed", ["1", "2", "3"])
def test_every_process_writes_the_same_bytes(folder, tmp_path, seed):
    copy = shutil.copytree(folder, tmp_path / "records")
    for name in TFDS_FILES:
        (copy / name).unlink()
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    subprocess.run([sys.executable, "-c", WRITE, copy], cwd=ROOT, env=environment, check=True)
    for name in TFDS_FILES:
        assert (copy / name).read_bytes() == (folder / name).read_bytes()
