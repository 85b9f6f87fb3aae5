"""Results never replace inputs, and results of one call are no inputs of the next."""

import pytest

from dfd_tf.inference.result_places import check_apart, without_results
from pipelines.errors import InputError


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A folder of explanations, and a link to it."""
    folder, link = tmp_path / "out", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    return folder, link


@pytest.mark.parametrize("inside", [".", "a.jpg", "below/a.jpg"])
def test_the_folder_of_explanations_holds_no_named_input_and_no_output(places, inside):
    folder, _ = places
    for place in places:
        with pytest.raises(InputError, match=r"--explain .*/out: the input .* lies in it"):
            check_apart(["b.jpg", str(place / inside)], None, folder)
        with pytest.raises(InputError, match=r"--output .*: lies in the folder of --explain"):
            check_apart(["b.jpg"], place / inside, folder)


def test_an_input_is_never_the_output(places, tmp_path):
    (tmp_path / "b.jpg").symlink_to("a.jpg")
    for name in ("a.jpg", "b.jpg", "./link/../a.jpg"):
        with pytest.raises(InputError, match=r"--output a\.jpg: is an input"):
            check_apart([name], tmp_path.joinpath("a.jpg").relative_to(tmp_path), None)


def test_a_folder_around_results_and_neighbours_are_fine(places, tmp_path):
    check_apart([str(tmp_path), "out.jpg", "a.jpg"], tmp_path / "scores.jsonl", places[0])
    check_apart(["a.jpg"], None, None)


def test_links_that_go_in_circles_are_no_results(places, tmp_path):
    """They are listed as inputs that cannot be read."""
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    for name in ("loop.jpg", "loop.jpg/below"):
        assert without_results([name], tmp_path / "scores.csv", places[0]) == [name]


def test_results_below_an_input_folder_are_left_out(places, tmp_path):
    folder, _ = places
    (folder / "c.jpg").symlink_to(tmp_path / "a.jpg")
    files = ["a.jpg", "out/b.json", "out/deep/b.jpg", "out/c.jpg", "link/b.jpg", "outer/b.jpg"]
    scores = tmp_path / "scores.csv"
    assert without_results([*files, "scores.csv"], scores, folder) == ["a.jpg", "outer/b.jpg"]
    assert without_results([*files, "scores.csv"], None, None) == [*files, "scores.csv"]
