"""Runs side by side, datasets side by side, and pictures degraded, through the commands."""

import csv
import io
import json
import shutil
from unittest import mock

import numpy as np
import pytest
from etils import epath
from PIL import Image
from sklearn.metrics import roc_auc_score

from dfd_tf.cli.main import run
from dfd_tf.config.atomic_files import file_sha256
from dfd_tf.evaluation import report_files, robustness
from dfd_tf.evaluation.perturbations import PERTURBATIONS
from dfd_tf.evaluation.scoring import score_split
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records

pytestmark = pytest.mark.parametrize("tiny_run", ["residual_ae"], indirect=True)


@pytest.fixture(autouse=True)
def few_pictures():
    """Leaves out the pictures of every report, which are tested elsewhere and take the time."""
    with mock.patch.object(report_files, "_plots", return_value={}):
        yield


@pytest.fixture(scope="module")
def two(tiny_run, tmp_path_factory):
    """A run and a copy of it with disturbed weights, calibrated anew."""
    folder = tmp_path_factory.mktemp("two")
    first, second = folder / "first", folder / "second"
    shutil.copytree(tiny_run, first)
    shutil.copytree(tiny_run, second)
    predictor = load_predictor(str(second))
    generator = np.random.default_rng(0)
    for weight in predictor.detector.trainable_variables:
        weight.assign(weight + generator.normal(0, 0.05, weight.shape))
    weights = epath.Path(second / "best" / "model.weights.h5")
    predictor.detector.save_weights(str(weights))
    model = json.loads((second / "best" / "model.json").read_text())
    model["sha256"] = file_sha256(weights)
    (second / "best" / "model.json").write_text(json.dumps(model))
    (second / "calibration.json").unlink()
    assert run(["calibrate", str(second)]) == 0
    return first, second


@pytest.fixture(scope="module")
def other_records(tmp_path_factory):
    """Stills of nobody known, independent of each other; fakes are brighter."""
    folder = tmp_path_factory.mktemp("other")
    generator = np.random.default_rng(0)
    for label, bright in (("real", 110), ("fake", 130)):
        place = folder / "photos" / "test" / label
        place.mkdir(parents=True)
        for number in range(12):
            pixels = generator.normal(bright, 60, (16, 16, 3)).clip(0, 255).astype("uint8")
            Image.fromarray(pixels).save(place / f"{number:02}.png")
    arguments = ["--faces", "none", "--splits", "keep", "--size", "16", "--workers", "1"]
    out = folder / "other"
    assert run(["prepare", str(folder / "photos"), "--out", str(out), *arguments]) == 0
    return out


@pytest.fixture
def copy(tiny_run, tmp_path):
    return shutil.copytree(tiny_run, tmp_path / "copy")


def has_content(path):
    with Image.open(path) as picture:
        return picture.width > 400 and np.ptp(np.asarray(picture.convert("L"))) > 200


def refused(arguments, message, capsys):
    capsys.readouterr()
    assert run([*map(str, arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_compare_states_figures_differences_and_files(two, tiny_records, other_records, capsys):
    arguments = ["compare", *two, "--data", tiny_records, "--data", other_records]
    assert run([*map(str, arguments)]) == 0
    output = capsys.readouterr()
    assert "paired tests against first" in output.out
    assert {"paired cluster bootstrap", "DeLong"} <= {
        line.split("│")[-2].strip() for line in output.out.splitlines() if "│ AUC" in line
    }
    assert "DeLong's test supposes" in output.err
    folder = two[0] / "reports" / "comparison" / "second"
    results = json.loads((folder / "comparison.json").read_text())
    assert [one["runs"]["second"]["relation"] for one in results] == ["in-domain", "cross-dataset"]
    predictors = [load_predictor(str(path)) for path in two]
    for records, found in zip((tiny_records, other_records), results, strict=True):
        manifest = load_manifest(records)
        # Pictures of one face each: scores of faces are those of images.
        scores = [score_split(one, records, manifest, "test") for one in predictors]
        aucs = [roc_auc_score(one.labels, one.scores) for one in scores]
        level = found["levels"]["image"]
        for name, auc in zip(("first", "second"), aucs, strict=True):
            assert level["runs"][name]["ranking"]["auc"]["value"] == pytest.approx(auc)
        difference = level["differences"]["second"]["auc"]
        assert difference["value"] == pytest.approx(aucs[1] - aucs[0])
        assert level["independent"] == (records is other_records)
    assert has_content(folder / "auc.png")
    assert len([path for path in folder.glob("roc_*.png") if has_content(path)]) == 2


def test_comparisons_that_cannot_be_are_one_line(two, tiny_records, tmp_path, capsys):
    first, second = two
    data = ["--data", tiny_records]
    for arguments, message in (
        ([first, *data], "at least two runs"),
        ([first, first, *data], "given twice"),
        ([first, tmp_path / "none", *data], "not a run directory"),
        ([first, second], "Missing option '--data'"),
        ([first, second, *data, "--operating-point", "odd"], "no such operating point"),
    ):
        refused(["compare", *arguments], message, capsys)


def test_several_datasets_make_one_table_and_one_picture(copy, tiny_records, other_records, capsys):
    data = ["--data", str(other_records), "--data", str(tiny_records)]
    assert run(["evaluate", str(copy), *data]) == 0
    assert "cross-dataset" in capsys.readouterr().out
    found = json.loads((copy / "reports" / "cross_dataset_test.json").read_text())
    assert [one["relation"] for one in found["datasets"]] == ["cross-dataset", "in-domain"]
    for one in found["datasets"]:
        own = json.loads((copy / "reports" / one["dataset"] / "test" / "metrics.json").read_text())
        assert one["relation"] == own["relation"]
        assert one["levels"]["image"]["ranking"] == own["levels"]["image"]["ranking"]
        assert 0 < one["levels"]["image"]["positive_rate"] < 1
    assert found["chance"]["auc"] == 0.5
    assert has_content(copy / "reports" / "cross_dataset_test.png")


def test_robustness_joins_the_report(copy, tiny_records, capsys):
    arguments = ["evaluate", str(copy), "--operating-point", "optimal", "--format", "json"]
    assert run([*arguments, "--perturbation", "crop", "--perturbation", "contrast"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    swept, level = figures["robustness"], figures["levels"]["image"]
    assert swept["num_images_of_split"] == swept["num"] == level["num"]
    assert swept["clean"]["auc"] == level["ranking"]["auc"]
    assert swept["weights_sha256"] == figures["weights_sha256"]
    folder = copy / "reports" / figures["dataset"] / "test"
    assert json.loads((folder / "robustness.json").read_text()) == swept
    assert has_content(folder / "robustness.png")
    rows = list(csv.DictReader(io.StringIO((folder / "robustness.csv").read_text())))
    assert [row["perturbation"] for row in rows] == ["clean"] + ["contrast"] * 6 + ["crop"] * 4
    assert "Not measured" not in (folder / "report.html").read_text()


def test_unknown_perturbations_are_refused_before_anything_is_scored(copy, capsys):
    arguments = ["evaluate", copy, "--perturbation", "rain"]
    refused(arguments, "--perturbation: no rain (there are jpeg, webp", capsys)
    assert not (copy / "reports").exists()


def test_perturbing_nothing_gives_the_scores_of_the_evaluation(tiny_run, tiny_records):
    manifest = load_manifest(tiny_records)
    records = [
        record
        for shard in manifest.split_shards("test")
        for record in iter_records(tiny_records / shard.file)
    ]
    predictor = load_predictor(str(tiny_run))
    sweep = robustness.Sweep(predictor, records, range(len(records)), None)
    scores = score_split(predictor, tiny_records, manifest, "test").scores
    counted = []
    assert np.array_equal(sweep.samples(None, 0, counted.append).scores, scores)
    assert sum(counted) == len(records)
    noisy = [sweep.samples(PERTURBATIONS["noise"], 25, counted.append).scores for _ in range(2)]
    assert np.array_equal(*noisy)
    assert not np.array_equal(noisy[0], scores)


def test_a_sweep_goes_on_where_it_was_stopped(copy, tiny_records, monkeypatch):
    predictor, manifest = load_predictor(str(copy)), load_manifest(tiny_records)
    folder = epath.Path(copy / "report")
    folder.mkdir()
    original, calls, stop_at = Predictor.score_encoded, [], 4

    def counted(self, encoded):
        calls.append(len(encoded))
        if len(calls) == stop_at:
            raise KeyboardInterrupt
        return original(self, encoded)

    def sweep(operating_point="optimal", names=("jpeg", "contrast")):
        return robustness.measure_robustness(
            predictor, tiny_records, manifest, "test", operating_point, folder,
            perturbations=names, num_images=6,
        )  # fmt: skip

    monkeypatch.setattr(Predictor, "score_encoded", counted)
    with pytest.raises(KeyboardInterrupt):
        sweep()
    stopped = json.loads((folder / "robustness.json").read_text())
    before = stopped["perturbations"]["jpeg"]["levels"]
    assert [found["level"] for found in before] == [90, 70]
    num_faces = calls[0]
    calls, stop_at = [], None
    found = sweep()
    # Clean once more, three levels of JPEG and six of contrast.
    assert calls == [num_faces] * 10
    assert found["perturbations"]["jpeg"]["levels"][:2] == before
    assert (found["num_real"], found["num_fake"]) == (3, 3)
    assert found["num_clusters"] > 1
    assert found["num_images_of_split"] > 6
    calls = []
    assert sweep() == found == json.loads((folder / "robustness.json").read_text())
    assert calls == []
    # Another operating point has other flips: nothing of the old is kept.
    again = sweep("sensitive", ["blur"])
    assert calls == [num_faces] * 6
    assert list(again["perturbations"]) == ["blur"]
