"""Files as users have them."""

import numpy as np
import pytest
from PIL import Image

from pipelines.sources.synthetic_portraits import render_face, render_portrait_pair


@pytest.fixture(scope="module")
def mixed_files(tmp_path_factory):
    """A folder with two good files, a broken one, one without a face and one that is no medium."""
    folder = tmp_path_factory.mktemp("mixed")
    Image.fromarray(render_face(9, 1, 0, 256).pixels).save(folder / "a good.jpg", quality=92)
    Image.fromarray(render_portrait_pair(9, 2, 3, 0, 256)[0]).save(folder / "b_pair.png")
    whole = (folder / "a good.jpg").read_bytes()
    (folder / "c_cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(folder / "d_grey.png")
    (folder / "e_notes.txt").write_text("no picture")
    return folder
