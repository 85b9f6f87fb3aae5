"""Training curves from a run's `history.csv`, for the report."""

import csv
import io
import math
from itertools import pairwise

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_NOT_CURVES = ("epoch", "phase", "steps")
_COLUMNS = 3
_TRAINING, _VALIDATION = "#2a78b5", "#d1495b"


def read_history(text: str) -> list[dict[str, str]]:
    """Reads `history.csv`: one dict an epoch, empty strings where there was no figure.

    Raises:
        ValueError: It is no such table.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise ValueError(f"no table of epochs: {error}") from None
    for row in rows:
        if None in row or None in row.values() or not {"epoch", "phase"} <= row.keys():
            raise ValueError(f"no table of epochs: {row}")
        int(row["epoch"])
        for name in _curves(row):
            float(row[name] or "nan")
    if not rows or not _curves(rows[0]):
        raise ValueError("no table of epochs: it has no figures")
    return rows


def _curves(row: dict[str, str]) -> list[str]:
    return [name for name in row if name not in _NOT_CURVES]


def history_plot(rows: list[dict[str, str]], best_epoch: int, run: str) -> Figure:
    """One panel a figure, training beside validation, with the epoch that was selected.

    Args:
        rows: Epochs, as `read_history` returns them; at least one.
        best_epoch: The epoch whose weights are the run's, counted from 1.
        run: Name of the run, for the title.
    """
    curves = _curves(rows[0])
    panels = list(dict.fromkeys(name.removeprefix("val_") for name in curves))
    panels.sort(key=lambda name: (name != "loss", name == "learning_rate"))
    columns = min(_COLUMNS, len(panels))
    lines = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(3.3 * columns, 2.4 * lines + 0.6), layout="constrained")
    figure.suptitle(f"Training of {run}, {len(rows)} epochs", fontsize=9, parse_math=False)
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    epochs = [int(row["epoch"]) for row in rows]
    changes = [
        int(after["epoch"]) - 0.5
        for before, after in pairwise(rows)
        if before["phase"] != after["phase"]
    ]
    for axes, name in zip(grid, panels, strict=False):
        for column, color, label in (
            (name, _TRAINING, "training"),
            (f"val_{name}", _VALIDATION, "validation"),
        ):
            if column in curves:
                values = [float(row[column]) if row[column] else math.nan for row in rows]
                axes.plot(epochs, values, "o-", color=color, markersize=3, label=label)
        for change in changes:
            axes.axvline(change, color="#bbbbbb", linestyle=":", linewidth=1)
        axes.axvline(best_epoch, color="#333333", linestyle="--", linewidth=0.8, label="selected")
        axes.set_title(name.replace("_", " "), fontsize=8, parse_math=False)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name == "learning_rate":
            axes.set_yscale("log")
    grid[0].legend(loc="upper right", fontsize=7)
    for axes in grid[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[max(0, len(panels) - columns) : len(panels)]:
        axes.set_xlabel("epoch", fontsize=7)
    return figure
