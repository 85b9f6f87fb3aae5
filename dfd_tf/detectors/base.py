"""The contract every detector keeps.

A detector is a Keras model that turns RGB images, float32 in [0, 1] of shape (batch, height,
width, 3), into one score each; higher means more likely fake. `keras.Model.fit` trains it on
batches `(images, targets)`, where targets is a dict of `label` and `domain`, both int32 (batch,).
"""

from abc import abstractmethod
from typing import Any, ClassVar, Self

import keras

from dfd_tf.config.detectors import DetectorConfig, Phase


class Detector(keras.Model):
    """Base of the detectors.

    A subclass overrides `call`, `score`, `explain`, `compute_loss` (and `compute_metrics` where it
    has figures of its own), so that the stock `train_step` works: `compile` gets an optimiser and
    nothing else. Its constructor takes its config's fields but `name` and `phases` as plain keyword
    arguments, makes every weight, and reads no file; `get_config` returns those arguments.
    """

    one_class: ClassVar[bool]
    """Trained on real images only; data of the other labels never reach `fit`."""

    image_size: int
    """Side of the input, pixels."""

    pretrained: str
    """Where the initial weights came from, in words, for the artefacts' honesty line: e.g.
    `ImageNet weights from squeezenet.h5`, `random (asked for by weights: none)`."""

    def __init__(self, **kwargs: Any) -> None:
        # Images stay float32 up to the first layer that has an opinion: half precision would round
        # away grey levels before the preprocessing has centred them.
        super().__init__(autocast=False, **kwargs)

    @classmethod
    def from_settings(cls, settings: DetectorConfig, num_domains: int) -> Self:  # noqa: ARG003
        """Constructs the detector an experiment asks for.

        Args:
            settings: The config of this detector.
            num_domains: Domains in the training records, for detectors that tell them apart.
        """
        return cls(**settings.model_dump(exclude={"name", "phases"}))

    def build(self, input_shape: Any) -> None:
        """Marks the model as built: the constructor has made every weight."""

    def load_initial_weights(self) -> None:
        """Loads the pretrained weights the config names; random weights need nothing.

        Raises:
            InputError: The weights cannot be had.
            ModelFileError: The weights file was refused.
        """

    @abstractmethod
    def score(self, images: Any) -> Any:
        """Scores images in inference mode.

        Args:
            images: (batch, image_size, image_size, 3) float32 in [0, 1].

        Returns:
            (batch,) float32, higher = more likely fake.
        """

    @abstractmethod
    def explain(self, images: Any) -> Any:
        """Maps where the score comes from: (batch, image_size, image_size) float32 in [0, 1].

        Each map is divided by its own maximum; an image without any evidence gives zeros.
        """

    @abstractmethod
    def begin_phase(self, phase: Phase) -> None:
        """Sets what trains in a phase; called before `compile`, also on resume."""
