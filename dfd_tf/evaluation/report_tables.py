"""What the figures of metrics.json are called and mean, for the tables of report and model card."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from dfd_tf.evaluation.evaluate import Metric
from dfd_tf.evaluation.metrics import PROBABILITY, RANKING
from pipelines.errors import printable
from pipelines.media_item import LABEL_NAMES


class Description(NamedTuple):
    """One metric in words.

    Args:
        short: Name in table heads.
        meaning: One line for readers who have not met it.
    """

    short: str
    meaning: str


DESCRIPTIONS = {
    "auc": Description(
        "AUC", "area under the ROC curve: how often a fake scores above a real one; chance 0.5"
    ),
    "average_precision": Description(
        "AP", "average precision, area under precision over recall; chance: the positive rate"
    ),
    "eer": Description(
        "EER", "equal error rate, where as many reals as fakes go wrong; chance 0.5, best 0"
    ),
    "tpr_at_fpr_1": Description(
        "TPR at 1 % FPR",
        "share of fakes found at the threshold, set on these data, of 1 % FPR; no interval below"
        " 200 real persons, videos or lone images",
    ),
    "tpr_at_fpr_5": Description(
        "TPR at 5 % FPR",
        "share of fakes found at the threshold, set on these data, of 5 % FPR; no interval below"
        " 40 real persons, videos or lone images",
    ),
    "log_loss": Description("log loss", "of the probabilities, in nats; best 0"),
    "brier": Description("Brier", "mean squared error of the probabilities; best 0"),
    "ece": Description("ECE", "expected calibration error of the probabilities, 15 bins; best 0"),
    "balanced_accuracy": Description("balanced accuracy", "mean of the shares right per class"),
    "accuracy": Description("accuracy", "share of all decisions that are right"),
    "precision": Description("precision", "share of those called fake that are fake"),
    "recall": Description("TPR", "true positive rate, or recall: share of fakes called fake"),
    "f1": Description("F1", "harmonic mean of precision and TPR"),
    "fpr": Description("FPR", "false positive rate: share of reals called fake"),
}
"""In the order of the tables."""

RATES = ("fpr", "recall", "precision", "balanced_accuracy", "f1")
"""Metrics of the table of decisions."""


def whole_level(level: Mapping[str, Any]) -> list[tuple[str, Metric]]:
    """Returns the metrics of a level that need no threshold, by name, in table order."""
    found = {**level["ranking"], **level.get("probability", {})}
    return [(name, found[name]) for name in (*RANKING, *PROBABILITY) if name in found]


def glossary(names: tuple[str, ...]) -> str:
    """Returns what abbreviations mean, on one line."""
    return "; ".join(f"{DESCRIPTIONS[name].short}: {DESCRIPTIONS[name].meaning}" for name in names)


def count_rows(counts: Mapping[str, Mapping[str, int]]) -> list[dict[str, Any]]:
    """Returns `Manifest.counts()` as rows of `split`, `label`, `domain` and `faces`."""
    return [
        {
            "split": split,
            "label": LABEL_NAMES[int(key.partition("|")[0])],
            "domain": printable(key.partition("|")[2]),
            "faces": faces,
        }
        for split, found in counts.items()
        for key, faces in found.items()
    ]
