"""The source: files, keys, families, and no shortcut between real and fake."""

import hashlib
import io
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pipelines.errors import InputError
from pipelines.media_item import FAKE, REAL
from pipelines.sources.synthetic import FAMILY, PHOTOS, SyntheticFaces

IDENTITIES = 28


def open_faces(location, staging):
    return SyntheticFaces(location, domain=None, staging=staging)


def digests(items):
    return {item.key: hashlib.sha256(Path(item.path).read_bytes()).hexdigest() for item in items}


@pytest.fixture(scope="module")
def items(tmp_path_factory):
    return open_faces(f"synthetic:{IDENTITIES}:3", tmp_path_factory.mktemp("faces")).items()


@pytest.fixture(scope="module")
def photos(items):
    """Every photo with the hits of OpenCV's frontal-face cascade: (pixels, hits)."""
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = []
    for item in items:
        with Image.open(item.path) as image:
            pixels = np.asarray(image)
        grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
        found.append((pixels, cascade.detectMultiScale(grey, 1.1, 5)))
    return found


@pytest.fixture(scope="module")
def labels(items):
    return np.array([item.label for item in items])


def crop(pixels, box, size=64):
    left, top, side, _ = box
    margin = int(0.3 * side)
    framed = cv2.copyMakeBorder(pixels, *[margin] * 4, cv2.BORDER_REFLECT_101)
    framed = framed[top : top + side + 2 * margin, left : left + side + 2 * margin]
    return cv2.resize(framed, (size, size), interpolation=cv2.INTER_AREA)


def test_every_item_is_labelled_and_keyed(items):
    assert [item.key for item in items] == sorted(item.key for item in items)
    assert len(items) == 2 * PHOTOS * IDENTITIES
    reals = [item for item in items if item.label == REAL]
    fakes = [item for item in items if item.label == FAKE]
    assert len(reals) == len(fakes) == PHOTOS * IDENTITIES
    assert {item.domain for item in items} == {item.dataset for item in items} == {"synthetic"}
    assert {item.method for item in reals} == {""}
    assert {item.method for item in fakes} == {"swap", "blend"}
    assert reals[0].key == "real/identity_0000/000.jpg"
    assert reals[0].identity == "synthetic/seed3_identity_0000"
    for item in items:
        assert item.key.split("/")[1] == item.identity.removeprefix("synthetic/seed3_")


def test_a_fake_names_target_and_donor(items):
    for item in items:
        if item.label == REAL:
            assert item.related == ()
            continue
        target, donor = item.related
        assert target == item.identity
        assert donor != target
        assert int(donor[-4:]) // FAMILY == int(target[-4:]) // FAMILY


def test_people_hang_together_in_families_only(items):
    groups = {item.identity: {item.identity} for item in items}
    for item in items:
        for key in item.related:
            joined = groups[item.identity] | groups[key]
            for member in joined:
                groups[member] = joined
    assert len({frozenset(group) for group in groups.values()}) == IDENTITIES // FAMILY


def test_haar_finds_one_face_in_nearly_every_photo(photos, labels):
    single = np.array([len(hits) == 1 for _, hits in photos])
    assert single[labels == REAL].mean() >= 0.95
    assert single[labels == FAKE].mean() >= 0.95


def jpeg_coarseness(path):
    with Image.open(path) as image:
        return sum(image.quantization[0])


def nuisances(path, pixels, box):
    measured = {
        "bytes": Path(path).stat().st_size,
        "width": pixels.shape[1],
        "height": pixels.shape[0],
        "jpeg_quality": jpeg_coarseness(path),
        "face_size": box[2],
        "face_share": box[2] / pixels.shape[1],
        "face_x": (box[0] + box[2] / 2) / pixels.shape[1],
        "face_y": (box[1] + box[3] / 2) / pixels.shape[0],
    }
    face = crop(pixels, box)
    crop_file = io.BytesIO()
    Image.fromarray(face).save(crop_file, "JPEG", quality=95)
    measured["crop_bytes"] = crop_file.tell()
    for name, image in (("photo", pixels), ("crop", face)):
        red, green, blue = np.moveaxis(image.astype(np.float64), -1, 0)
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        red_green, yellow_blue = red - green, 0.5 * (red + green) - blue
        measured[f"{name}_sharpness"] = cv2.Laplacian(grey, cv2.CV_64F).var()
        measured[f"{name}_brightness"] = grey.mean()
        measured[f"{name}_contrast"] = grey.std()
        # Hasler & Suesstrunk, "Measuring colorfulness in natural images", 2003.
        measured[f"{name}_colourfulness"] = np.hypot(
            red_green.std(), yellow_blue.std()
        ) + 0.3 * np.hypot(red_green.mean(), yellow_blue.mean())
    return measured


def test_no_nuisance_tells_real_from_fake(items, photos, labels):
    shown = [i for i, (_, hits) in enumerate(photos) if len(hits)]
    rows = [nuisances(items[i].path, photos[i][0], photos[i][1][0]) for i in shown]
    truth = labels[shown]
    aucs = {name: roc_auc_score(truth, [row[name] for row in rows]) for name in rows[0]}
    assert {name: auc for name, auc in aucs.items() if not 0.4 < auc < 0.6} == {}
    together = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)),
        np.array([[*row.values()] for row in rows]),
        truth,
        groups=[int(items[i].identity[-4:]) // FAMILY for i in shown],
        cv=GroupKFold(5),
        method="predict_proba",
    )[:, 1]
    assert 0.4 < roc_auc_score(truth, together) < 0.6


def test_the_face_itself_tells_but_not_at_once(items, photos, labels):
    shown = [i for i, (_, hits) in enumerate(photos) if len(hits)]
    hog = cv2.HOGDescriptor((64, 64), (16, 16), (8, 8), (8, 8), 9)
    features = [
        hog.compute(cv2.cvtColor(crop(photos[i][0], photos[i][1][0]), cv2.COLOR_RGB2GRAY))
        for i in shown
    ]
    scores = cross_val_predict(
        make_pipeline(StandardScaler(), LogisticRegression(C=1e-3)),
        np.array(features),
        labels[shown],
        groups=[int(items[i].identity[-4:]) // FAMILY for i in shown],
        cv=GroupKFold(5),
        method="decision_function",
    )
    assert 0.6 < roc_auc_score(labels[shown], scores) < 0.95


def test_files_are_the_same_in_another_process_count_and_order(items, tmp_path):
    few = [item for item in items if item.key.split("/")[1] in ("identity_0000", "identity_0001")]
    code = (
        "import sys; from pathlib import Path; from pipelines.sources.synthetic import *;"
        "SyntheticFaces('synthetic:2:3', domain=None, staging=Path(sys.argv[1])).items()"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
    assert digests(open_faces("synthetic:2:3", tmp_path).items()) == digests(few)


def test_what_is_there_is_kept_and_what_is_missing_rendered(tmp_path):
    source = open_faces("synthetic:1:5", tmp_path)
    first = source.items()
    before = digests(first)
    kept, lost = Path(first[0].path), Path(first[1].path)
    written = kept.stat().st_mtime_ns
    lost.unlink()
    kept.with_name(".000.jpg.tmp-1").write_bytes(b"left by a killed run")
    again = open_faces("synthetic:1:5", tmp_path).items()
    assert again == first
    assert digests(again) == before
    assert kept.stat().st_mtime_ns == written
    assert len(source.failures) == 0
    assert len(source.skipped) == 0


def test_another_seed_shows_other_people(tmp_path):
    first = digests(open_faces("synthetic:1:5", tmp_path).items())
    second = digests(open_faces("synthetic:1:6", tmp_path).items())
    assert not set(first.values()) & set(second.values())


def test_location_and_domain(tmp_path):
    assert open_faces("synthetic", tmp_path).identities == 60
    assert open_faces("synthetic:7", tmp_path).seed == 0
    named = SyntheticFaces("synthetic:1:5", domain="rendered", staging=tmp_path).items()
    assert {item.domain for item in named} == {"rendered"}


@pytest.mark.parametrize(
    "location",
    ["", "faces", "synthetic:", "synthetic:x", "synthetic:0", "synthetic:-1", "synthetic:1:2:3",
     "synthetic:1:", "synthetic:99999", "synthetic:1:4294967296", "synthetic:²"],
)  # fmt: skip
def test_bad_locations_are_refused_with_the_form_expected(location, tmp_path):
    with pytest.raises(InputError, match="expected") as caught:
        open_faces(location, tmp_path)
    assert "\n" not in str(caught.value)
