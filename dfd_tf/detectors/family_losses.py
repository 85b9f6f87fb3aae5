"""Mean loss of each family of pseudo-fakes, beside that of the images of the dataset.

Figures are called `loss_dataset`, `loss_self_blend` and so on; `loss_locations` is that of where a
pseudo-fake was changed, in detectors that are asked for it. A family that has not come yet has
no mean, so its figure is NaN; `drop_absent` takes it out of an epoch's logs. The names do not end
in `loss`, which is where the training looks for a loss that is not finite.
"""

import math
from typing import Any

import keras
from keras import ops

from dfd_tf.detectors.location_loss import location_losses
from pipelines.media_item import FAKE
from pipelines.settings import PSEUDO_FAKE_FAMILIES

PREFIX = "loss_"
NAMES = tuple(PREFIX + family for family in ("dataset", *PSEUDO_FAKE_FAMILIES, "locations"))


class FamilyLosses(keras.metrics.Metric):
    """Running mean loss by family; no figures at all while the targets hold no `family`.

    Example:
        In a detector's constructor, and in its `compute_metrics`:

        >>> family_losses = FamilyLosses()
        >>> family_losses.update_from_logits(
        ...     {"label": ops.array([0, 1]), "family": ops.array([0, 1])}, ops.array([0.0, 0.0])
        ... )
        >>> sorted(family_losses.result())[1]
        'loss_resample'
    """

    def __init__(self, name: str = "family_losses") -> None:
        super().__init__(name=name, dtype="float32")
        shape = (len(NAMES),)
        self._totals = self.add_weight(shape=shape, initializer="zeros", name="totals")
        self._counts = self.add_weight(shape=shape, initializer="zeros", name="counts")
        self._used = False

    def update_from_logits(self, targets: dict[str, Any], logits: Any) -> None:
        """Adds the binary cross-entropy of logits (batch,); a higher one is more likely fake."""
        if "family" in targets:
            logits = ops.cast(logits, "float32")
            is_fake = ops.cast(ops.equal(targets["label"], FAKE), "float32")
            self.update_state(targets, ops.softplus(logits) - is_fake * logits)

    def update_from_locations(self, targets: dict[str, Any], logits: Any) -> None:
        """Adds the `location_losses` of logits (batch, rows, columns)."""
        if "changed" not in targets:
            return
        losses, known = location_losses(logits, targets["changed"])
        member = ops.one_hot(len(NAMES) - 1, len(NAMES), dtype="float32")
        self._totals.assign_add(ops.sum(losses) * member)
        self._counts.assign_add(ops.sum(known) * member)

    def update_state(self, targets: dict[str, Any], losses: Any) -> None:
        """Adds losses, float32 (batch,), of images whose label is known."""
        if "family" not in targets:
            return
        self._used = True
        known = ops.cast(targets["label"] >= 0, "float32")[:, None]
        members = known * ops.one_hot(targets["family"], len(NAMES), dtype="float32")
        self._totals.assign_add(ops.sum(members * ops.cast(losses, "float32")[:, None], axis=0))
        self._counts.assign_add(ops.sum(members, axis=0))

    def result(self) -> dict[str, Any]:
        if not self._used:
            return {}
        means = ops.divide(self._totals, self._counts)
        return {name: means[index] for index, name in enumerate(NAMES)}


def drop_absent(logs: dict[str, Any]) -> None:
    """Removes the figures of families that did not come, in place; `val_` ones too."""
    for name in [name for name in logs if name.removeprefix("val_") in NAMES]:
        if math.isnan(logs[name]):
            del logs[name]
