"""Media files, records made from them, and an untrained run."""

import numpy as np
import pytest
from inference_media import write_clip
from inference_runs import write_untrained_run
from PIL import Image

from dfd_tf.inference.predictor import load_predictor
from pipelines.executors import LocalExecutor
from pipelines.prepare import prepare
from pipelines.settings import CropSettings, PrepareSettings
from pipelines.sources.registry import open_source
from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair

SETTINGS = PrepareSettings(frames=3, splits=None, crop=CropSettings(size=48))


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A dataset folder: three photos of one face, one of two, a clip of six frames."""
    folder = tmp_path_factory.mktemp("media")
    for split, label in (("train", "real"), ("val", "real"), ("test", "real"), ("test", "fake")):
        (folder / split / label).mkdir(parents=True)
    portraits = [render_face(31, person, 0, 200).pixels for person in range(4)]
    Image.fromarray(portraits[0]).save(folder / "train" / "real" / "a.jpg", quality=90)
    Image.fromarray(portraits[1]).save(folder / "val" / "real" / "b.png")
    Image.fromarray(portraits[2]).save(folder / "test" / "fake" / "c.jpg", quality=80)
    pair = render_portrait_pair(31, 5, 6, 0, 200)[0]
    Image.fromarray(pair).save(folder / "test" / "fake" / "d_pair.png")
    shift = np.roll(portraits[3], 4, axis=1)
    write_clip(folder / "test" / "real" / "e.mp4", [portraits[3], shift] * 3)
    return folder


@pytest.fixture(scope="session")
def media_records(media, tmp_path_factory):
    """Folder and manifest of the records `prepare` makes of them."""
    out = tmp_path_factory.mktemp("prepared") / "records"
    source = open_source("folder", str(media), domain="made-up", staging=out / "media")
    return out, prepare([source], out, SETTINGS, LocalExecutor(1))


@pytest.fixture(scope="session")
def untrained_run(tmp_path_factory, media_records):
    """A run of an untrained 32-pixel network on those records."""
    return write_untrained_run(tmp_path_factory.mktemp("untrained") / "run", *media_records)


@pytest.fixture(scope="session")
def predictor(untrained_run):
    return load_predictor(str(untrained_run))
