"""Report files and plots: strict JSON, odd names, one class, nothing empty."""

import csv
import io
import json

import numpy as np
import pytest
from evaluation_samples import calibration_of, face_samples, normal_scores
from PIL import Image

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation import plots
from dfd_tf.evaluation.evaluate import evaluate_samples
from dfd_tf.evaluation.evaluate_run import item_counts, report_folder
from dfd_tf.evaluation.report_files import METRICS_NAME, Report, write_report
from pipelines.errors import InputError
from pipelines.records.manifest import Failure, Manifest

CALIBRATION = calibration_of(*normal_scores(1, 120, 120))
CONTEXT = plots.PlotContext("run", "data $x_2$ [red]", "test")
CURVES = {"histogram", "roc", "precision_recall", "confusion", "reliability"}


def report(tmp_path, faces, calibration=CALIBRATION):
    """Writes the report of some scores and returns its folder and what was written."""
    found = Report(RunDirectory(tmp_path), RunDirectory(tmp_path).reports / "d" / "test", CONTEXT)
    write_report(found, evaluate_samples(faces, calibration, seed=0), calibration, "balanced")
    return found.folder, {path.name for path in found.written}


def strict(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_every_level_has_scores_and_pictures(tmp_path):
    scores, labels = normal_scores(2, 40, 40)
    videos = [f"ds/{label}/{i // 4}" for i, label in enumerate(labels)]
    keys = [f"{video}#{i % 4}" for i, video in enumerate(videos)]
    folder, written = report(tmp_path, face_samples(scores, labels, keys=keys, videos=videos))
    expected = {METRICS_NAME, "image_scores.csv", "video_scores.csv"}
    expected |= {f"{level}_{name}.png" for level in ("image", "video") for name in CURVES}
    assert written == expected
    assert strict((folder / METRICS_NAME).read_text())["levels"]["video"]["num"] == 20
    for name in expected:
        if name.endswith(".png"):
            with Image.open(folder / name) as picture:
                assert np.ptp(np.asarray(picture.convert("L"))) > 200


@pytest.mark.parametrize(
    ("label", "calibration", "pictures"),
    [
        (0, CALIBRATION, {"histogram", "confusion"}),
        (1, CALIBRATION, {"histogram", "confusion"}),
        (0, None, {"histogram"}),
        (-1, CALIBRATION, set()),
    ],
)
def test_one_class_gives_the_plots_that_make_sense(tmp_path, label, calibration, pictures):
    faces = face_samples(np.linspace(0, 1, 30), np.full(30, label))
    folder, written = report(tmp_path, faces, calibration)
    assert {name for name in written if name.endswith(".png")} == {
        f"image_{name}.png" for name in pictures
    }
    strict((folder / METRICS_NAME).read_text())


def test_odd_names_survive_the_csv_on_one_line_each(tmp_path):
    names = ['a,b".jpg', "new\nline.jpg", "\udcff.jpg", "[red]ä.jpg"]
    folder, _ = report(tmp_path, face_samples([0.0, 1, 2, 3], [0, 0, 1, 1], keys=names))
    text = (folder / "image_scores.csv").read_bytes().decode("utf-8")
    assert len(text.splitlines()) == 5
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["key"] for row in rows] == [
        'a,b".jpg', "new\\nline.jpg", "\\udcff.jpg", "[red]ä.jpg",
    ]  # fmt: skip
    assert [float(row["score"]) for row in rows] == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path):
    (tmp_path / "reports").write_text("in the way")
    with pytest.raises(InputError, match="cannot be made"):
        report(tmp_path, face_samples([0.0, 1.0], [0, 1]))


def test_plots_say_level_dataset_split_and_n():
    faces = face_samples(*normal_scores(3, 7, 5))
    title = plots.histogram_plot(faces, CALIBRATION.thresholds, CONTEXT).axes[0].get_title()
    assert title == "Scores\nrun on data $x_2$ [red]/test\nface level, 7 real, 5 fake"


def test_confusion_of_a_missing_class_says_so():
    faces = face_samples(np.zeros(4), np.zeros(4))
    figure = plots.confusion_plot(faces, CALIBRATION.threshold("balanced"), CONTEXT)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert texts == ["4\n100.0%", "0\n0.0%", "no such images", "no such images"]


@pytest.mark.parametrize("scores", [[0.5] * 6, [0.5, 0.5, 0.5, 0.5, 0.5, 1e9], [1e-9] * 6])
def test_histograms_of_extreme_scores_hold_every_image(scores):
    faces = face_samples(scores, np.zeros(6))
    figure = plots.histogram_plot(faces, (), CONTEXT)
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 6
    assert plots.png_bytes(figure)


def test_equal_figures_give_equal_bytes():
    faces = face_samples(*normal_scores(3, 7, 5))
    first, second = (plots.png_bytes(plots.histogram_plot(faces, (), CONTEXT)) for _ in range(2))
    assert first == second


def manifest(name, **changes):
    return Manifest(name=name, settings={}, shards=(), domains=(), **changes)


def test_two_datasets_of_one_name_get_two_reports(tmp_path):
    run = RunDirectory(tmp_path)
    first = manifest("records")
    second = Manifest(name="records", settings={}, shards=(), domains=("other",))
    folder = report_folder(run, first, "test")
    assert folder == run.reports / "records" / "test"
    folder.mkdir(parents=True)
    fingerprint = json.dumps({"dataset_fingerprint": first.fingerprint()})
    (folder / METRICS_NAME).write_text(fingerprint)
    assert report_folder(run, first, "test") == folder
    assert report_folder(run, second, "test").parent.name.startswith("records-")


@pytest.mark.parametrize("name", ["../../up", "..", "", "a/b", "/etc"])
def test_a_dataset_name_never_leads_out_of_the_reports(tmp_path, name):
    folder = report_folder(RunDirectory(tmp_path), manifest(name), "test")
    assert folder.parent.parent == RunDirectory(tmp_path).reports
    assert folder.parent.name not in {"", ".", ".."}


def test_items_that_gave_no_face_are_counted():
    counts = item_counts(
        manifest(
            "d",
            failed=(Failure("a", "no_face", "x"), Failure("b", "no_face", "x")),
            sources=({"items": 9, "recorded": 7},),
        )
    )
    assert counts == {"found": 9, "recorded": 7, "not_used": {"no_face": 2}}
