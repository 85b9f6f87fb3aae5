"""Which faces a report shows, and what it stores of them."""

import json
import shutil

import numpy as np
from evaluation_samples import face_samples
from hypothesis import given
from hypothesis import strategies as st
from report_runs import Page

from dfd_tf.evaluation.evaluate_run import evaluate_run
from dfd_tf.evaluation.report_cases import NUM_CASES, choose_cases
from dfd_tf.inference.predictor import load_predictor
from pipelines.media_item import FAKE, REAL


def chosen(scores, labels, threshold, keys=None):
    groups = choose_cases(face_samples(scores, labels, keys), threshold)
    return {group.name: (group.count, list(group.places)) for group in groups}


def test_errors_come_worst_first_and_are_counted():
    scores = [0.9, 0.1, 0.6, 0.2, 0.7, 0.95, 0.3, 0.05, 0.45, 0.55]
    labels = [0, 1, 0, 1, 0, 1, 0, 1, 1, 0]
    found = chosen(scores, labels, 0.5)
    assert found["false_negatives"] == (4, [7, 1, 3, 8])
    assert found["false_positives"] == (4, [0, 4, 2, 9])
    assert found["borderline"] == (None, [6, 5])
    assert found["true_positives"] == (1, [])  # shown as borderline
    assert found["true_negatives"] == (1, [])
    assert found["unlabelled"] == (0, [])


def test_a_score_at_the_threshold_is_called_real():
    found = chosen([0.5, 0.5], [0, 1], 0.5)
    assert found["false_negatives"] == (1, [1])
    assert found["false_positives"] == (0, [])


def test_without_a_threshold_nothing_is_called_an_error():
    found = chosen([0.1, 0.9, 0.5, 0.8, 0.2], [1, 0, 0, 1, 0], None)
    assert set(found) == {
        "low_fakes", "high_reals", "borderline", "high_fakes", "low_reals", "unlabelled",
    }  # fmt: skip
    assert found["low_fakes"] == (None, [0, 3])
    assert found["high_reals"] == (None, [1, 2, 4])


def test_an_image_is_shown_by_its_face_of_the_highest_score():
    found = chosen([0.2, 0.9, 0.1], [0, 0, 0], 0.5, keys=["a", "a", "b"])
    assert found["false_positives"] == (1, [1])
    assert found["borderline"] == (None, [2])


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.sampled_from([-1, 0, 1])),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from([None, 0.0, 0.5, 1.0]),
)
def test_nothing_is_shown_twice_and_errors_are_errors(rows, threshold):
    scores, labels = np.array(rows).T
    groups = choose_cases(face_samples(scores, labels), threshold)
    places = [place for group in groups for place in group.places]
    assert len(places) == len(set(places))
    assert places
    for group in groups:
        assert len(group.places) <= NUM_CASES
        for place in group.places:
            if group.name == "false_negatives":
                assert (labels[place], scores[place] > threshold) == (FAKE, False)
            if group.name == "false_positives":
                assert (labels[place], scores[place] > threshold) == (REAL, True)


def test_an_evaluation_shows_its_errors_with_their_pictures(tiny_run, tiny_records, tmp_path):
    copy = tmp_path / tiny_run.name
    shutil.copytree(tiny_run, copy)
    predictor = load_predictor(str(copy))
    evaluation, files = evaluate_run(predictor, tiny_records, "test", "optimal")
    folder = copy / "reports" / tiny_records.name / "test"
    cases = json.loads((folder / "cases.json").read_text())
    decisions = evaluation.figures["levels"]["image"]["decisions"]["optimal"]
    counts = {group["name"]: group["count"] for group in cases["groups"]}
    assert cases["threshold"] == decisions["threshold"]
    for name in ("false_negatives", "false_positives", "true_positives", "true_negatives"):
        assert counts[name] == decisions[name]
    page = Page((folder / "report.html").read_text())
    kinds = 3 if tiny_run.name == "residual_ae" else 2
    shown = [case for group in cases["groups"] for case in group["cases"]]
    pictures = [source for source in page.attributes("img", "src") if "jpeg" in source]
    assert len(pictures) == kinds * len(shown) > 0
    listed = {name for case in shown for name in case["pictures"].values()}
    assert listed == {str(path.relative_to(folder)) for path in folder.glob("cases/*.jpg")}
    for case in shown:
        assert case["key"] in page.text
        assert f"score {case['score']:.4g}" in page.text
    assert {str(path) for path in files} >= {str(folder / "report.html"), str(folder / "cases.png")}
    assert (folder / "report.html").stat().st_size < 5_000_000
    assert "Not evaluated yet" in (tiny_run / "MODEL_CARD.md").read_text()
    auc = evaluation.figures["levels"]["image"]["ranking"]["auc"]["value"]
    assert f"value: {auc}" in (copy / "MODEL_CARD.md").read_text()
    assert_a_second_evaluation_leaves_nothing_of_the_first(predictor, tiny_records, folder)


def assert_a_second_evaluation_leaves_nothing_of_the_first(predictor, records, folder):
    """The same run, as if it were not calibrated: no errors and no probabilities any more."""
    predictor.run.calibration.unlink()
    predictor.calibration = None
    _, files = evaluate_run(predictor, records, "test", "optimal")
    listed = json.loads((folder / "cases.json").read_text())
    assert listed["threshold"] is None
    names = {
        name for g in listed["groups"] for case in g["cases"] for name in case["pictures"].values()
    }
    assert names == {str(path.relative_to(folder)) for path in folder.glob("cases/*.jpg")}
    assert not any("false" in name for name in names)
    assert {str(path) for path in folder.glob("*.png")} <= {str(path) for path in files}
    assert not (folder / "image_confusion.png").exists()
    assert "No decisions at image level" in (folder / "report.html").read_text()
