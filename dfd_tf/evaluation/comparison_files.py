"""What a comparison of runs leaves in its folder: comparison.json and pictures."""

import json
import re
from collections.abc import Sequence
from typing import Any

from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.evaluation.comparison import JudgedRun
from dfd_tf.evaluation.comparison_plots import ForestRow, forest_plot, roc_overlay
from dfd_tf.evaluation.plots import png_bytes
from pipelines.errors import InputError

COMPARISON_NAME = "comparison.json"


def write_comparison(
    run: RunDirectory,
    folder: epath.Path,
    compared: Sequence[tuple[dict[str, Any], dict[str, list[JudgedRun]]]],
) -> list[epath.Path]:
    """Writes the comparison on one or more datasets.

    Args:
        run: The first run, which tests are against.
        folder: Where; made when missing.
        compared: What `compare_runs` found, dataset by dataset.

    Returns:
        The files: comparison.json, auc.png, and a ROC picture for each dataset and level that has
        both classes.

    Raises:
        InputError: The folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be made ({error.strerror})") from None
    results = [figures for figures, _ in compared]
    text = json.dumps(results, indent=2, allow_nan=False) + "\n"
    files = {COMPARISON_NAME: text.encode()}
    split = results[0]["split"]
    rows = [
        ForestRow(f"{figures['dataset']}, {level} level", name, metrics["ranking"]["auc"])
        for figures in results
        for level, found in figures["levels"].items()
        for name, metrics in found["runs"].items()
    ]
    files["auc.png"] = png_bytes(
        forest_plot(rows, f"{len(results[0]['runs'])} runs, {split} split")
    )
    for number, (figures, levels) in enumerate(compared, 1):
        for level, judged in levels.items():
            found = figures["levels"][level]
            if not found["num_real"] or not found["num_fake"]:
                continue
            title = (
                f"ROC on {figures['dataset']}/{split}\n{level} level, {found['num_real']} real,"
                f" {found['num_fake']} fake"
            )
            dataset = re.sub(r"[^\w-]", "_", figures["dataset"])[:60]
            name = f"roc_{number}_{dataset}_{level}.png"
            files[name] = png_bytes(roc_overlay(judged, found, title))
    for name, content in files.items():
        run.write(folder / name, content)
    return [folder / name for name in files]
