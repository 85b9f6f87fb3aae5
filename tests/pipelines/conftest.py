"""Photos without a face detector's help, prepared once a test file."""

from pathlib import Path

import pytest
from prepare_samples import NUM_IMAGES, draw, run


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("media") / "photos"
    for number in range(NUM_IMAGES):
        label = "fake" if number % 3 == 0 else "real"
        draw(folder / label / f"{number:03d}.png", number)
    return folder


@pytest.fixture(scope="module")
def reference(photos, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("reference") / "records"
    run(photos, out)
    return out
