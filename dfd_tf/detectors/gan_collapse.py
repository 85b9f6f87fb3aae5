"""Whether a GAN's discriminator has won for good."""

from collections.abc import Mapping, Sequence
from typing import Any

LOWEST_LOSS = 0.05
NUM_EPOCHS = 3


def collapse_warning(history: Sequence[Mapping[str, Any]]) -> str | None:
    """Looks at the last epochs' `discriminator_loss`, which is log 2 or less at chance.

    Args:
        history: Figures of the epochs, oldest first.

    Returns:
        A warning in one line where all are under 0.05, or None.
    """
    losses = [row["discriminator_loss"] for row in history[-NUM_EPOCHS:]]
    if len(losses) < NUM_EPOCHS or max(losses) >= LOWEST_LOSS:
        return None
    return (
        f"the discriminator has won: its loss was under {LOWEST_LOSS} for {NUM_EPOCHS} epochs, so"
        " it and the generator teach each other nothing any more. Try a lower learning rate or a"
        " higher detector.label_smoothing"
    )
