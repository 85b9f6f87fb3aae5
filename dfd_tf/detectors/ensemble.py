"""Ensemble: trained detectors whose scores come to one scale and are combined.

score(x) = offset + sum_i weight_i * map_i(score_i(x)), after Wolpert, "Stacked generalization",
Neural Networks 5 (1992), for `combine: logistic`. Images (batch, image_size, image_size, 3) RGB
float32 in [0, 1] are scaled down, in the graph, to each member's own size.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from dfd_tf.config.detectors import EnsembleMember
from dfd_tf.config.score_maps import RobustZScore
from dfd_tf.detectors.base import Detector, to_unit
from dfd_tf.detectors.explanation import explanation_map
from dfd_tf.detectors.registry import build_detector
from dfd_tf.detectors.score_maps import common_scale


@keras.saving.register_keras_serializable(package="dfd_tf")
class Member(Detector):
    """A detector that takes the ensemble's images and scores on the ensemble's scale.

    Args:
        image_size: Side of the ensemble's images, pixels.
        settings: Plain values of an `EnsembleMember`.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].

    Returns:
        (batch,) float32 log odds or robust z-scores, higher = more likely fake.
    """

    fitted = False
    one_class = False

    def __init__(self, image_size: int, settings: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.image_size = image_size
        self.settings = EnsembleMember.model_validate(settings)
        self.detector = build_detector(
            self.settings.detector, self.settings.num_domains, initial_weights=False
        )
        self.pretrained = self.detector.pretrained
        self.built = True

    @property
    def score_is_logit(self) -> bool:
        return not isinstance(self.settings.score_map, RobustZScore)

    def load_initial_weights(self) -> None:
        self.detector.load_initial_weights()

    def call(self, images: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - Keras's
        return self.score(images)

    def score(self, images: Any) -> Any:
        return common_scale(self.detector.score(self.resized(images)), self.settings.score_map)

    def explain(self, images: Any) -> Any:
        return explanation_map(self.detector.explain(self.resized(images)), self.image_size)

    def embed(self, images: Any) -> Any:
        """The detector's embedding, of length 1: (batch, d) float32."""
        return ops.normalize(self.detector.embed(self.resized(images)), axis=-1)

    def resized(self, images: Any) -> Any:
        """Scales images to the detector's size as the decoder does: anti-aliased, in 8 bit.

        Networks that look at high frequencies know that rounding from their training.
        """
        side = self.detector.image_size
        if side == self.image_size:
            return images
        smaller = ops.image.resize(
            ops.round(images * 255.0),
            (side, side),
            interpolation="bilinear",
            antialias=True,
            data_format="channels_last",
        )
        return to_unit(ops.cast(ops.round(smaller), "uint8"))

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "image_size": self.image_size,
            "settings": self.settings.model_dump(mode="json"),
        }


@keras.saving.register_keras_serializable(package="dfd_tf")
class Ensemble(Detector):
    """Weighted sum of the mapped scores of trained detectors.

    Args:
        members: Plain values of at least two `EnsembleMember`.
        combine: Where the weights are from: `mean`, `weighted` or `logistic`.
        offset: Added to the weighted sum.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1], where image_size is that of
            the member with the largest images.

    Returns:
        (batch,) float32, higher = more likely fake; log odds unless a member's score is a z-score.
    """

    fitted = False
    one_class = False

    def __init__(
        self,
        members: Sequence[Mapping[str, Any]],
        combine: str,
        offset: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        settings = [EnsembleMember.model_validate(member) for member in members]
        self.image_size = max(member.detector.image_size for member in settings)
        self.combine = combine
        self.offset = offset
        self.members = [Member(self.image_size, member.model_dump()) for member in settings]
        self.pretrained = "; ".join(
            f"{member.settings.name}: {member.pretrained}" for member in self.members
        )
        self.caveats = tuple(
            f"{member.settings.name}: {line}"
            for member in self.members
            for line in member.detector.caveats
        )
        # Keras stores an optimiser that is there; nothing here ever has one.
        self.optimizer = None
        self.built = True

    @property
    def score_is_logit(self) -> bool:
        """Whether all parts are log odds; a logistic regression makes log odds of anything."""
        return self.combine == "logistic" or all(one.score_is_logit for one in self.used_members())

    def used_members(self) -> list[Member]:
        """Returns the members that weigh anything."""
        return [member for member in self.members if member.settings.weight]

    def load_initial_weights(self) -> None:
        for member in self.members:
            member.load_initial_weights()

    def call(self, images: Any, training: bool | None = None) -> Any:  # noqa: ARG002 - Keras's
        return self.score(images)

    def score(self, images: Any) -> Any:
        return self.offset + sum(
            member.settings.weight * member.score(images) for member in self.used_members()
        )

    def explain(self, images: Any) -> Any:
        """Sum of the members' maps, each weighed by what its member adds to the score.

        A member whose mapped score is below 0 (log odds of less than one half, or a real image like
        most) speaks for `real`, and its map is left out.
        """
        maps = sum(
            ops.relu(member.settings.weight * member.score(images))[:, None, None]
            * member.explain(images)
            for member in self.used_members()
        )
        return explanation_map(maps, self.image_size)

    def embed(self, images: Any) -> Any:
        """The members' embeddings, each of length 1, side by side: (batch, d) float32."""
        return ops.concatenate([one.embed(images) for one in self.used_members()], axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "members": [member.settings.model_dump(mode="json") for member in self.members],
            "combine": self.combine,
            "offset": self.offset,
        }
