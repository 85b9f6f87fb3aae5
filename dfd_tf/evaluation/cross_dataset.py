"""One run on several datasets: `cross_dataset.json` and a picture of it beside the reports."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from etils import epath

from dfd_tf.evaluation.comparison_plots import ForestRow, forest_plot
from dfd_tf.evaluation.plots import png_bytes
from dfd_tf.inference.predictor import Predictor

CHANCE = {"auc": 0.5, "average_precision": "positive_rate", "eer": 0.5, "balanced_accuracy": 0.5}
"""What a score that knows nothing has; of average precision it is each dataset's share of fakes."""
_OF_LEVEL = ("num", "num_real", "num_fake", "num_clusters", "positive_rate", "ranking")
_OF_DATASET = ("dataset", "dataset_fingerprint", "split", "domains", "relation", "warnings")


def write_cross_dataset(
    predictor: Predictor, evaluations: Sequence[Mapping[str, Any]], split: str
) -> list[epath.Path]:
    """Writes what several evaluations of one run say side by side.

    Args:
        predictor: The run.
        evaluations: Content of the metrics.json of each dataset.
        split: The split judged.

    Returns:
        The files written.
    """
    run = predictor.run
    content = {
        "run": str(run),
        "detector": predictor.model.detector,
        "weights_sha256": predictor.model.sha256,
        "selection": evaluations[0]["selection"],
        "operating_point": evaluations[0]["operating_point"],
        "interval": evaluations[0]["interval"],
        "chance": CHANCE,
        "datasets": [summary(figures) for figures in evaluations],
    }
    title = f"{run.path.name} on {len(evaluations)} datasets, {split} split"
    picture = png_bytes(forest_plot([*forest_rows(evaluations)], title))
    json_path = run.reports / f"cross_dataset_{split}.json"
    png_path = run.reports / f"cross_dataset_{split}.png"
    run.write_json(json_path, content)
    run.write(png_path, picture)
    return [json_path, png_path]


def summary(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Picks what a table over datasets shows of one evaluation: ranking, and decisions."""
    levels = {}
    for name, level in figures["levels"].items():
        levels[name] = {
            **{key: level[key] for key in _OF_LEVEL},
            "probability": level.get("probability"),
            "decisions": level["decisions"].get(figures["operating_point"]),
        }
    return {**{key: figures[key] for key in _OF_DATASET}, "levels": levels}


def forest_rows(evaluations: Iterable[Mapping[str, Any]]) -> Iterable[ForestRow]:
    """Yields the AUC of each dataset and level, by what the dataset is to the run."""
    for figures in sorted(evaluations, key=lambda found: found["relation"] != "in-domain"):
        for name, level in figures["levels"].items():
            count = f"{name}s: {level['num_real']} + {level['num_fake']}"
            yield ForestRow(
                figures["relation"], f"{figures['dataset']} ({count})", level["ranking"]["auc"]
            )
