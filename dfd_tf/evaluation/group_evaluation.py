"""Evaluation of a group of runs: the spread over seeds, or figures on domains left out.

The standard deviation over seeds says how much the training's chance matters. It is no confidence
interval: all runs are judged on the same images, whose choice is what each run's interval covers.
"""

import statistics
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from etils import epath

from dfd_tf.config.run_directory import RunDirectory
from dfd_tf.config.run_group import LEAVE_ONE_OUT, RunGroup, check_members
from dfd_tf.evaluation.comparison_plots import ForestRow, forest_plot
from dfd_tf.evaluation.cross_dataset import summary
from dfd_tf.evaluation.evaluate import Metric
from dfd_tf.evaluation.evaluate_run import evaluate_run
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.evaluation.scoring import Progress
from dfd_tf.inference.prediction import operating_point as check_operating_point
from dfd_tf.inference.predictor import Predictor, load_predictor
from pipelines.errors import InputError
from pipelines.records.manifest import load_manifest

SEEDS_NOTE = (
    "mean, standard deviation (SD, n - 1) and range are over seeds: the chance of training; the"
    " interval of each seed is over images, the chance of the test set"
)
Bar = Callable[[str], AbstractContextManager[Progress]]
"""Opens a progress bar for a piece of work of this name."""


def spread(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """Mean, standard deviation and range of the defined ones among some values.

    Returns:
        `num`, and `mean`, `std` (n - 1; None below two values), `min`, `max`; None without any.
    """
    defined = [value for value in values if value is not None]
    if not defined:
        return {"num": 0, **dict.fromkeys(("mean", "std", "min", "max"))}
    return {
        "num": len(defined),
        "mean": statistics.fmean(defined),
        "std": statistics.stdev(defined) if len(defined) > 1 else None,
        "min": min(defined),
        "max": max(defined),
    }


def table_metrics(level: dict[str, Any]) -> dict[str, Metric]:
    """Returns the metrics of a summarised level that tables show, by name."""
    probability, decisions = level["probability"] or {}, level["decisions"] or {}
    found = {
        **{name: level["ranking"][name] for name in ("auc", "average_precision", "eer")},
        **{name: probability.get(name) for name in ("log_loss", "brier")},
        **{name: decisions.get(name) for name in ("balanced_accuracy", "fpr")},
    }
    return {name: metric for name, metric in found.items() if metric is not None}


def evaluate_group(
    folder: str,
    group: RunGroup,
    data: Sequence[Path],
    split: str,
    operating_point: str,
    bar: Bar,
) -> tuple[dict[str, Any], list[epath.Path]]:
    """Judges every member, writes its own report as ever, and one on the whole group.

    Args:
        folder: Of the group.
        group: Its plan.
        data: Record folders; empty: those it was trained on.
        split: The split judged.
        operating_point: Threshold of the decisions shown.
        bar: Shows progress.

    Returns:
        Content of `reports/<kind>_<split>.json`, and the files written for the group.

    Raises:
        InputError: A member is not trained yet or was trained otherwise than planned, or a
            leave-one-domain-out group is to be judged on other records than its own.
        DatasetError: Records are damaged.
    """
    check_members(folder, group)
    members = []
    for member in group.members:
        predictor = load_predictor(str(RunDirectory(folder).path / member.name))
        check_operating_point(predictor, operating_point)
        members.append(predictor)
    judge = _left_out if group.kind == LEAVE_ONE_OUT else _over_seeds
    found = judge(group, members, data or (members[0].records,), split, operating_point, bar)
    figures = {
        "group": folder,
        "kind": group.kind,
        "detector": members[0].model.detector,
        "split": split,
        "operating_point": operating_point,
        "weights_sha256": {
            member.name: predictor.model.sha256
            for member, predictor in zip(group.members, members, strict=True)
        },
        **found,
    }
    run = RunDirectory(folder)
    name = f"{group.kind}_{split}"
    paths = [run.reports / f"{name}.json", run.reports / f"{name}.png"]
    run.reports.mkdir(parents=True, exist_ok=True)
    run.write_json(paths[0], figures)
    title = f"{run.path.name}: {group.kind.replace('_', ' ')}, {split} split"
    run.write(paths[1], png_bytes(forest_plot(_forest_rows(figures), title)))
    return figures, paths


def _over_seeds(
    group: RunGroup,
    members: Sequence[Predictor],
    data: Sequence[Path],
    split: str,
    operating_point: str,
    bar: Bar,
) -> dict[str, Any]:
    datasets = []
    for records in data:
        found = {}
        for member, predictor in zip(group.members, members, strict=True):
            with bar(f"{member.name} on {records.name}") as progress:
                evaluation, _ = evaluate_run(predictor, records, split, operating_point, progress)
            found[member.name] = summary(evaluation.figures)
        datasets.append(_dataset(found))
    return {"note": SEEDS_NOTE, "datasets": datasets}


def _dataset(found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Puts the summaries of the members on one dataset together."""
    one = next(iter(found.values()))
    levels = {}
    for level in one["levels"]:
        metrics = {name: table_metrics(figures["levels"][level]) for name, figures in found.items()}
        names = list(dict.fromkeys(name for of_run in metrics.values() for name in of_run))
        levels[level] = {
            **{k: one["levels"][level][k] for k in ("num_real", "num_fake", "positive_rate")},
            "spread": {
                name: spread(
                    [of_run[name]["value"] for of_run in metrics.values() if name in of_run]
                )
                for name in names
            },
            "members": metrics,
        }
    warnings = {line for figures in found.values() for line in figures["warnings"]}
    return {
        **{key: one[key] for key in ("dataset", "dataset_fingerprint", "split", "relation")},
        "warnings": sorted(warnings),
        "levels": levels,
    }


def _left_out(
    group: RunGroup,
    members: Sequence[Predictor],
    data: Sequence[Path],
    split: str,
    operating_point: str,
    bar: Bar,
) -> dict[str, Any]:
    """Judges each member on the domain it never saw, and beside it on those it did."""
    (records, *others) = data
    manifest = load_manifest(records)
    if others or manifest.fingerprint() != group.records_fingerprint:
        raise InputError(
            "a leave-one-domain-out group is judged on the domains of the records it was trained"
            " on; on other records evaluate its members"
        )
    domains = []
    for member, predictor in zip(group.members, members, strict=True):
        used = predictor.experiment.data.used_domains(manifest.domains)
        parts = {"held_out": [str(member.left_out)], "trained": list(used)}
        found: dict[str, Any] = {"left_out": member.left_out, "member": member.name}
        for part, names in parts.items():
            with bar(f"{member.name}: {', '.join(names)}") as progress:
                evaluation, _ = evaluate_run(
                    predictor, records, split, operating_point, progress, domains=names
                )
            found[part] = summary(evaluation.figures)
        domains.append(found)
    aucs = [one["held_out"]["levels"]["image"]["ranking"]["auc"]["value"] for one in domains]
    defined = [
        (auc, one["left_out"]) for auc, one in zip(aucs, domains, strict=True) if auc is not None
    ]
    return {
        "dataset": manifest.name,
        "dataset_fingerprint": manifest.fingerprint(),
        "domains": domains,
        "held_out_auc": spread(aucs),
        "worst_domain": min(defined)[1] if defined else None,
    }


def _forest_rows(figures: dict[str, Any]) -> list[ForestRow]:
    if figures["kind"] == LEAVE_ONE_OUT:
        return [
            ForestRow(
                {"held_out": "domains left out", "trained": "domains trained on"}[part],
                f"{one['member']} ({level})",
                found["ranking"]["auc"],
            )
            for part in ("held_out", "trained")
            for one in figures["domains"]
            for level, found in one[part]["levels"].items()
        ]
    return [
        ForestRow(f"{one['dataset']}, {level}s ({one['relation']})", name, metrics["auc"])
        for one in figures["datasets"]
        for level, found in one["levels"].items()
        for name, metrics in found["members"].items()
    ]
