"""The telling faces of a file, side by side: as seen, where the score comes from, rebuilt."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dfd_tf.inference.explanations import HEAT_COLOURS, FaceExplanation, heat_overlay
from dfd_tf.inference.figures import png_bytes


def face_strip_png(
    explanations: Sequence[FaceExplanation], captions: Sequence[str], title: str
) -> bytes:
    """Draws a row of pictures for each face, as a PNG.

    The face, its heat map laid over it, and from an autoencoder the reconstruction and the absolute
    difference. Heat maps have each their own scale; differences share one.

    Args:
        explanations: At least one face.
        captions: What is written beside each, its score for instance.
        title: What stands above.
    """
    columns = ["face", "heat map"]
    if explanations[0].reconstruction is not None:
        columns += ["reconstruction", "difference"]
    width, height = 2.0 * len(columns) + 0.5, 1.9 * len(explanations) + 1.0
    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=9, parse_math=False)
    grid = figure.subplots(len(explanations), len(columns), squeeze=False)
    differences = [one.difference for one in explanations if one.difference is not None]
    largest = max((float(one.max()) for one in differences), default=0.0) or 1.0
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(
            name if name != "difference" else f"difference, up to {largest:.0%}", fontsize=8
        )
    for row, one, caption in zip(grid, explanations, captions, strict=True):
        row[0].set_ylabel(caption, fontsize=8, parse_math=False)
        _show(row[0], one.crop)
        _show(row[1], heat_overlay(one.crop[None] / 255.0, one.heat[None])[0])
        if not one.heat.any():
            row[1].set_xlabel("nothing speaks for a fake", fontsize=7)
        if one.difference is not None and one.reconstruction is not None:
            _show(row[2], one.reconstruction)
            _show(row[3], one.difference / largest)
    return png_bytes(figure)


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, vmin=0, vmax=1, cmap=HEAT_COLOURS)
    axes.set(xticks=[], yticks=[])
