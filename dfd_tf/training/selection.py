"""Which epoch is the best one, by a rule fixed before training starts."""

from collections.abc import Mapping
from dataclasses import dataclass

from dfd_tf.config.experiment import Training


@dataclass(frozen=True)
class Selection:
    """Rule that picks the epoch.

    Args:
        metric: `val_loss` (lowest wins) or `val_auc` (highest wins, ties by `val_loss`).
        reason: Why this rule, in words, for provenance and reports.
    """

    metric: str
    reason: str

    def key(self, logs: Mapping[str, float]) -> list[float]:
        """Returns what epochs are compared by, in order of weight; larger is better."""
        if self.metric == "val_auc":
            return [logs["val_auc"], -logs["val_loss"]]
        return [-logs["val_loss"]]

    def improved(self, key: list[float], best: list[float] | None) -> bool:
        return best is None or key > best


def choose_selection(
    training: Training, *, one_class: bool, num_real: int, num_fake: int, num_pseudo: int = 0
) -> Selection:
    """Resolves `training.selection` against the validation split.

    Args:
        training: Asks for `auto`, `val_loss` or `val_auc`.
        one_class: Whether the detector is trained on real images only.
        num_real: Real images of the validation split.
        num_fake: Its fake ones.
        num_pseudo: Pseudo-fakes added to it.
    """
    wanted = training.selection
    if wanted == "val_loss" or (wanted == "auto" and one_class):
        why = "asked for" if wanted == "val_loss" else "free of labels, for a one-class detector"
        return Selection("val_loss", f"lowest val_loss ({why})")
    if num_real and num_fake:
        why = "asked for" if wanted == "val_auc" else "both classes are labelled"
        return Selection("val_auc", f"highest val_auc, ties by val_loss ({why})")
    if num_real and num_pseudo:
        why = "asked for" if wanted == "val_auc" else "it has no fakes"
        return Selection(
            "val_auc",
            f"highest val_auc on pseudo-fakes of the validation split, ties by val_loss ({why})",
        )
    missing = "fake" if num_real else "real"
    return Selection(
        "val_loss", f"lowest val_loss (the validation split has no {missing} images: no AUC)"
    )
