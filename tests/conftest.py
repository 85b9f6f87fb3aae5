"""Fixtures shared by all tests."""

import os
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
from tiny_settings import TINY

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real images developers and CI have; tests that want them skip without."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not (folder / "MANIFEST.csv").is_file():
        pytest.skip("needs ../shared/data")
    return folder


@pytest.fixture(scope="session")
def plain_faces() -> list[np.ndarray]:
    """60 rendered people, uint8 RGB (96, 96, 3): nothing but who it is tells one from another."""
    from pipelines.sources.synthetic_portraits import render_face

    return [render_face(11, person, 0, 96).pixels for person in range(60)]


@pytest.fixture(scope="session")
def tiny_records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of 136 rendered people, one real photo and one fake of each, 48 pixels.

    20 people are in each of val and test, enough for the operating point `balanced`. Nothing in
    the records may be changed.
    """
    from dfd_tf.cli.main import run

    folder = tmp_path_factory.mktemp("tiny") / "records"
    # 3: some rendered faces may go unfound, and the exit code says so.
    arguments = ["--out", str(folder), "--size", "48", "--workers", "1"]
    with patch("pipelines.sources.synthetic.PHOTOS", 1):
        code = run(["prepare", "synthetic:136", *arguments])
    assert code in (0, 3)
    return folder


@pytest.fixture(scope="session", params=sorted(TINY))
def tiny_run(
    request: pytest.FixtureRequest, tiny_records: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run of each detector trained for two epochs; nothing in it may be changed."""
    from dfd_tf.config.loading import load_experiment
    from dfd_tf.training.run import train

    folder = tmp_path_factory.mktemp("runs") / request.param
    overrides = [*TINY[request.param], "data.batch_size=16", "data.augment=null"]
    train(load_experiment(f"{request.param}_small", overrides), tiny_records, str(folder))
    return folder
