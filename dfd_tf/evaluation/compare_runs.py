"""From several runs and a record folder to their comparison: the work of `dfd-tf compare`."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.run_group import read_group
from dfd_tf.evaluation.comparison import (
    HOLM,
    JudgedRun,
    check_same_items,
    compare_level,
    compared_metrics,
)
from dfd_tf.evaluation.evaluate import calibration_at
from dfd_tf.evaluation.evaluate_run import evaluation_facts, open_records
from dfd_tf.evaluation.samples import ScoredSamples, image_level, video_level
from dfd_tf.evaluation.scoring import Progress, score_split
from dfd_tf.inference.calibration import aggregation_of
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.bad_records import skipped_warning
from pipelines.errors import InputError

_LONGEST_NAME = 100
_OF_RUN = (
    "run",
    "detector",
    "weights_sha256",
    "pretrained",
    "selection",
    "aggregation",
    "relation",
    "warnings",
)
"""Facts of an evaluation that differ from run to run; the others are those of the dataset."""


def load_runs(runs: Sequence[str]) -> tuple[list[Predictor], list[str]]:
    """Loads at least two different runs.

    Returns:
        The runs, and a name for each: its folder's, or the path given where two are called the
        same.

    Raises:
        InputError: There are fewer, one is given twice or a group, or not trained.
        ModelFileError: The files of a run are not those it wrote.
    """
    if len(runs) < 2:
        raise InputError("a comparison needs at least two runs")
    places = [RunDirectory(run).path.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"{run}: given twice")
        if (group := read_group(run)) is not None:
            raise InputError(
                f"{run}: a group of runs; give its members, such as {run}/{group.members[0].name}"
            )
    folders = [place.name for place in places]
    names = [
        folder if folders.count(folder) == 1 else run
        for folder, run in zip(folders, runs, strict=True)
    ]
    return [load_predictor(run) for run in runs], names


def comparison_folder(
    predictors: Sequence[Predictor], names: Sequence[str], output: str | None
) -> epath.Path:
    """Returns the folder asked for, or one below the first run that names the others."""
    if output is not None:
        return epath.Path(output)
    others = "_and_".join(re.sub(r"[^\w.-]", "_", name) for name in names[1:])
    return predictors[0].run.reports / "comparison" / others[:_LONGEST_NAME].lstrip(".")


def compare_runs(
    predictors: Sequence[Predictor],
    names: Sequence[str],
    records: Path,
    split: str,
    operating_point: str,
    progress: Progress | None = None,
) -> tuple[dict[str, Any], dict[str, list[JudgedRun]]]:
    """Scores a split with every run and compares them, each with the first.

    Args:
        predictors: Two runs at least.
        names: A distinct name for each.
        records: Record folder.
        split: Its split.
        operating_point: Where decisions are compared, each run at its own threshold.
        progress: Told how far it is.

    Returns:
        What goes into comparison.json for this dataset, and the scores compared, by level.

    Raises:
        DatasetError: The split is empty, damaged, or was changed meanwhile.
    """
    manifest = open_records(predictors, records, split)
    per_run: list[dict[str, ScoredSamples]] = []
    facts: dict[str, dict[str, Any]] = {}
    for number, (predictor, name) in enumerate(zip(predictors, names, strict=True)):

        def advance(done: int, total: int, begun: int = number) -> None:
            if progress is not None:
                progress(begun * total + done, len(predictors) * total)

        faces = score_split(predictor, records, manifest, split, advance)
        images = image_level(faces)
        videos = video_level(faces, aggregation_of(predictor.calibration)[0])
        found = {"image": images} | ({"video": videos} if videos is not None else {})
        per_run.append({level: samples.labelled() for level, samples in found.items()})
        domains = np.unique(faces.domains).tolist()
        facts[name] = evaluation_facts(
            predictor, records, manifest, split, operating_point, domains
        )
    levels: dict[str, list[JudgedRun]] = {}
    for level in per_run[0]:
        judged = [
            JudgedRun(name, samples[level], calibration_at(predictor.calibration, level))
            for predictor, name, samples in zip(predictors, names, per_run, strict=True)
        ]
        for run in judged[1:]:
            check_same_items(judged[0], run)
        if len(judged[0].samples):
            levels[level] = judged
    seed = predictors[0].experiment.seed
    of_dataset = {key: value for key, value in facts[names[0]].items() if key not in _OF_RUN}
    figures = {
        **of_dataset,
        "first": names[0],
        "runs": {name: {key: found[key] for key in _OF_RUN} for name, found in facts.items()},
        "compared": list(compared_metrics(operating_point)),
        "correction": HOLM,
        "levels": {
            level: compare_level(judged, operating_point, seed) for level, judged in levels.items()
        },
    }
    figures["warnings"] = _warnings(figures)
    if skipped := skipped_warning(records, manifest):
        figures["warnings"].append(skipped)
    return figures, levels


def _warnings(figures: dict[str, Any]) -> list[str]:
    """What a reader must know, a warning that all runs share once."""
    by_run = {name: run["warnings"] for name, run in figures["runs"].items()}
    shared = [
        line for line in next(iter(by_run.values())) if all(line in w for w in by_run.values())
    ]
    found = [*shared]
    for name, warnings in by_run.items():
        found += [f"{name}: {line}" for line in warnings if line not in shared]
    for name, level in figures["levels"].items():
        if not level["independent"]:
            found.append(
                f"{name} level: {level['num']} {name}s of {level['num_clusters']} persons or videos"
                " are not independent, which DeLong's test supposes: AUCs are compared by the"
                " paired cluster bootstrap"
            )
        if not level["num_real"] or not level["num_fake"]:
            only = "real" if level["num_real"] else "fake"
            found.append(f"{name} level: only {only} ones; what needs both is undefined")
    return found
