"""A run made of runs, through the commands: it is a run like any other."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dfd_tf.cli.main import run
from dfd_tf.config.loading import load_experiment
from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation.evaluate_run import warnings_of
from dfd_tf.evaluation.stacking import fit_stack, out_of_fold_scores
from dfd_tf.inference.predictor import load_predictor
from dfd_tf.training.run import train
from pipelines.records.manifest import load_manifest
from pipelines.records.shards import iter_records
from pipelines.sources.synthetic_portraits import render_face

PHASES = "detector.phases=[{name: all, epochs: 2, learning_rate: 0.01}]"
COMMON = ["detector.image_size=32", PHASES, "data.batch_size=16", "data.augment=null"]
SETTINGS = {
    "supervised": (
        "spatial_small",
        ["detector.backbone=squeezenet", "detector.weights=none", "calibration.method=isotonic"],
    ),
    "one_class": ("residual_ae_small", ["detector.widths=[8, 16]", "detector.latent=16"]),
}
ONE_KIND = pytest.mark.parametrize("made", ["logistic"], indirect=True)
"""For what does not depend on where the weights are from."""
COUNTS = {"train": 32, "val": 20, "test": 8}


def write_photos(folder, counts, first, labels=("real", "fake")):
    """Rendered faces; fakes are of other people, with stripes that any network finds."""
    number = first
    for split, count in counts.items():
        for label in labels:
            place = folder / split / label
            place.mkdir(parents=True, exist_ok=True)
            for _ in range(count):
                pixels = render_face(41, number, 0, 96).pixels.copy()
                if label == "fake":
                    pixels[:, ::6] = 255 - pixels[:, ::6]
                    pixels[:, 1::6] = 255 - pixels[:, 1::6]
                Image.fromarray(pixels).save(place / f"{number:03}.png")
                number += 1


def prepared(folder, *options):
    arguments = ["prepare", str(folder / "photos"), "--out", str(folder / "records")]
    options = options or ("--size", "48")
    fixed = ["--faces", "none", "--splits", "keep", "--workers", "1", *options]
    assert run([*arguments, *fixed]) == 0
    return folder / "records"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("striped")
    write_photos(folder / "photos", COUNTS, 0)
    return folder


@pytest.fixture(scope="module")
def records(data):
    return prepared(data)


@pytest.fixture(scope="module")
def runs(records, tmp_path_factory):
    """Two trained runs by name; nothing in them may be changed."""
    folder = tmp_path_factory.mktemp("members")
    for name, (config, overrides) in SETTINGS.items():
        train(load_experiment(config, [*overrides, *COMMON]), records, str(folder / name))
    return {name: folder / name for name in SETTINGS}


def combine(runs, records, out, *options):
    arguments = ["ensemble", *map(str, runs), "--data", str(records), "--run", str(out), *options]
    return run(list(map(str, arguments)))


@pytest.fixture(scope="module", params=["weighted", "logistic"])
def made(request, runs, records, tmp_path_factory):
    """An ensemble whose members are gone."""
    folder = tmp_path_factory.mktemp(request.param)
    copies = [shutil.copytree(path, folder / name) for name, path in runs.items()]
    options = ["--weights", "1,3"] if request.param == "weighted" else []
    assert combine(copies, records, folder / "both", "--combine", request.param, *options) == 0
    for copy in copies:
        shutil.rmtree(copy)
    return folder / "both"


def faces(records, split):
    shards = load_manifest(records).split_shards(split)
    return [record for shard in shards for record in iter_records(records / shard.file)]


@pytest.fixture(scope="module")
def predictors(runs):
    return [load_predictor(str(path)) for path in runs.values()]


def mapped_scores(predictors, faces):
    """Scores of the members' own predictors on the common scale, (n, 2) float64."""
    columns = []
    for member in predictors:
        probability = member.calibration.probability
        scores = member.score_encoded([face.encoded for face in faces])
        if probability.method == "platt":
            columns.append(probability.slope * scores + probability.offset)
        else:
            lowest = 1 / (member.calibration.num_real + member.calibration.num_fake + 2)
            found = np.clip(probability.apply(scores), lowest, 1 - lowest)
            columns.append(np.log(found / (1 - found)))
    return np.stack(columns, axis=1)


def test_scores_are_the_members_scores_combined_by_hand(made, predictors, records):
    predictor = load_predictor(str(made))
    settings = predictor.experiment.detector
    kinds = [member.score_map.kind for member in settings.members]
    assert kinds == ["isotonic", "log_odds"]
    test = faces(records, "test")
    scores = mapped_scores(predictors, test)
    weights, offset = [0.25, 0.75], 0.0
    if settings.combine == "logistic":
        validation = faces(records, "val")
        fitted_on = mapped_scores(predictors, validation)
        stack = fit_stack(fitted_on, np.array([face.label for face in validation]))
        weights, offset = stack.weights, stack.offset
        assert stack.weights.any()
    expected = scores @ weights + offset
    found = predictor.score_encoded([face.encoded for face in test])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    assert np.ptp(expected) > 0.1


def test_a_stack_is_calibrated_by_stacks_that_do_not_know_the_image(made, predictors, records):
    values = json.loads((made / "calibration.json").read_text())
    validation = faces(records, "val")
    scores = mapped_scores(predictors, validation)
    labels = np.array([face.label for face in validation])
    settings = RunDirectory(made).read_experiment().detector
    weights = [member.weight for member in settings.members]
    expected = scores @ weights + settings.offset
    assert values["cross_fitted"] is (settings.combine == "logistic")
    if values["cross_fitted"]:
        clusters = np.array([f"image:{face.path}" for face in validation])
        found = out_of_fold_scores(scores, labels, clusters, "val")
        assert not np.allclose(found, expected, atol=1e-3)
        expected = found
    expected = np.sort(expected[labels == 0])
    np.testing.assert_allclose(values["real_scores"], expected, rtol=1e-4, atol=1e-4)


def test_calibrate_again_gives_the_same_bytes(made, tmp_path):
    copy = shutil.copytree(made, tmp_path / "copy")
    before = (copy / "calibration.json").read_bytes()
    (copy / "calibration.json").unlink()
    assert run(["calibrate", str(copy)]) == 0
    assert (copy / "calibration.json").read_bytes() == before


@ONE_KIND
def test_evaluate_and_predict_take_it_like_any_run(made, data, tmp_path, capsys):
    copy = shutil.copytree(made, tmp_path / "copy")
    capsys.readouterr()
    assert run(["evaluate", str(copy), "--format", "json"]) == 0
    (figures,) = json.loads(capsys.readouterr().out)
    image = figures["levels"]["image"]
    assert (image["num_real"], image["num_fake"]) == (8, 8)
    assert image["ranking"]["auc"]["value"] > 0.8
    assert figures["detector"] == "ensemble"
    assert figures["selection"].startswith("none; ")
    assert "supervised: random" in figures["pretrained"]
    photos = [str(data / "photos" / "test" / label) for label in ("real", "fake")]
    assert run(["predict", str(copy), *photos, "--format", "jsonl"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 16
    assert all(row["label"] in ("real", "fake") and 0 <= row["probability"] <= 1 for row in rows)


def test_provenance_says_what_it_is_made_of(made, runs, records):
    facts = json.loads((made / "provenance.json").read_text())
    fingerprint = load_manifest(records).fingerprint()
    assert facts["records"]["fingerprint"] == fingerprint
    for member, path in zip(facts["members"], runs.values(), strict=True):
        model = RunDirectory(path).read_model()
        own = json.loads((path / "provenance.json").read_text())
        assert member["name"] == path.name
        assert member["weights_sha256"] == model.sha256
        assert member["selection"] == own["selection"]
        assert member["records"]["fingerprint"] == fingerprint
        assert (member["calibration"]["num_real"], member["calibration"]["num_fake"]) == (20, 20)
    rule = facts["combination"]["rule"]
    if facts["combination"]["combine"] == "logistic":
        assert "L2, C = 1" in rule
        assert "20 real and 20 fake" in rule
        assert "fitted without its person" in facts["combination"]["calibration"]
    assert "closely" in "".join(facts["warnings"])  # the isotonic member
    model = json.loads((made / "best" / "model.json").read_text())
    assert (model["selection"], model["value"], model["epoch"]) == ("members", None, 0)


@ONE_KIND
def test_it_is_not_trained(made, records, tmp_path, capsys):
    capsys.readouterr()
    arguments = ["train", str(made / "config.yaml"), "--data", str(records)]
    assert run([*arguments, "--run", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert "`dfd-tf ensemble`" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_member_without_probabilities_counts_by_robust_z_scores(runs, records, tmp_path, capsys):
    copy = shutil.copytree(runs["one_class"], tmp_path / "real_only")
    config = (copy / "config.yaml").read_text()
    (copy / "config.yaml").write_text(config.replace("method: auto", "method: none"))
    assert run(["calibrate", str(copy)]) == 0
    capsys.readouterr()
    assert combine([runs["supervised"], copy], records, tmp_path / "out") == 0
    assert "real_only has no probabilities" in " ".join(capsys.readouterr().err.split())
    predictor = load_predictor(str(tmp_path / "out"))
    assert predictor.detector.score_is_logit is False
    real = np.array(load_predictor(str(copy)).calibration.real_scores)
    score_map = predictor.experiment.detector.members[1].score_map
    assert score_map.median == pytest.approx(np.median(real))
    deviation = np.median(np.abs(real - np.median(real)))
    assert score_map.spread == pytest.approx(deviation / 0.6744897501960817, rel=1e-4)


@pytest.fixture(scope="module")
def other_data(data, tmp_path_factory):
    """New people, but for one training photo of the members in the test split."""
    folder = tmp_path_factory.mktemp("other")
    write_photos(folder / "photos", {"val": 20, "test": 2}, 500)
    seen = sorted((data / "photos" / "train" / "real").iterdir())[0]
    shutil.copy(seen, folder / "photos" / "test" / "real")
    return folder


def test_evaluate_knows_what_the_members_were_trained_on(runs, other_data, tmp_path):
    records = prepared(other_data)
    assert combine(runs.values(), records, tmp_path / "out") == 0
    found = warnings_of(
        load_predictor(str(tmp_path / "out")), records, load_manifest(records), "test"
    )
    assert "the run was trained or selected on 1 of these media files" in found


def test_runs_of_one_name_are_told_apart(runs, records, tmp_path):
    copies = [shutil.copytree(runs["one_class"], tmp_path / place / "same") for place in "ab"]
    assert combine([*copies, runs["supervised"]], records, tmp_path / "out") == 0
    members = RunDirectory(tmp_path / "out").read_experiment().detector.members
    assert [member.name for member in members] == ["same", "same-2", "supervised"]
    assert [member.weight for member in members] == [1 / 3] * 3


def refused(capsys, arguments, message):
    *_, out = arguments[:3]
    capsys.readouterr()
    assert combine(*arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--combine", "weighted"], "--weights goes with --combine weighted"),
        (["--weights", "1,2"], "--weights goes with --combine weighted"),
        (["--combine", "weighted", "--weights", "1,2,3"], "3 weights for 2 runs"),
        (["--combine", "weighted", "--weights", "1,0"], "above 0"),
        (["--combine", "weighted", "--weights", "1,nan"], "above 0"),
        (["--weights", "1;2"], "expected numbers with commas"),
    ],
)
def test_weights_that_make_no_sense(runs, records, tmp_path, options, message, capsys):
    refused(capsys, [runs.values(), records, tmp_path / "out", *options], message)


@ONE_KIND
def test_runs_that_cannot_be_members(runs, records, made, tmp_path, capsys):
    out, good = tmp_path / "out", runs["one_class"]
    refused(capsys, [[good], records, out], "at least two runs")
    refused(capsys, [[good, good.parent / "." / good.name], records, out], "given twice")
    refused(capsys, [[good, tmp_path / "missing"], records, out], "not a run directory")
    refused(capsys, [[good, made], records, out], "an ensemble already")
    copy = shutil.copytree(runs["supervised"], tmp_path / "copy")
    (copy / "calibration.json").unlink()
    refused(capsys, [[good, copy], records, out], "not calibrated")


@ONE_KIND
def test_a_run_directory_in_use_is_left_alone(runs, records, made, capsys):
    before = sorted(made.rglob("*"))
    assert combine(runs.values(), records, made) == 2
    assert "not empty" in capsys.readouterr().err
    assert sorted(made.rglob("*")) == before


def test_records_that_cannot_judge_the_members(runs, data, tmp_path, capsys):
    out = tmp_path / "out"
    sized = tmp_path / "sized"
    write_photos(sized / "photos", {"val": 2}, 700)
    records = prepared(sized, "--size", "32")
    refused(capsys, [runs.values(), records, out], "size 48")
    seen = tmp_path / "seen"
    write_photos(seen / "photos", {"val": 2}, 800)
    photo = sorted((data / "photos" / "train" / "fake").iterdir())[0]
    shutil.copy(photo, seen / "photos" / "val" / "fake")
    refused(capsys, [runs.values(), prepared(seen), out], "1 of its val images are in the train")
    real = tmp_path / "real"
    write_photos(real / "photos", {"val": 3}, 900, ["real"])
    records = prepared(real)
    refused(capsys, [runs.values(), records, out, "--combine", "logistic"], "3 real and 0 fake")
    fake = tmp_path / "fake"
    write_photos(fake / "photos", {"val": 3}, 950, ["fake"])
    refused(capsys, [runs.values(), prepared(fake), out], "no real images in its val split")
