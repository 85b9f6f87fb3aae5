"""The contract every detector keeps.

A detector is a Keras model that turns RGB images, float32 in [0, 1] of shape (batch, height,
width, 3), into one score each; higher means more likely fake. `keras.Model.fit` trains it on
batches `(images, targets)`, where targets is a dict of `label` and `domain`, both int32 (batch,).
Batches hold the 8-bit pixels the decoder wrote; `to_unit` makes them float32 in [0, 1] in the
model's first step, where that costs a quarter of the memory traffic.
"""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import keras
from keras import ops

from dfd_tf.config.detectors import DetectorConfig, Phase

_TO_UNIT = 1.0 / 255.0


def to_unit(images: Any) -> Any:
    """Returns images as float32 in [0, 1], from uint8 or from what is so already."""
    if keras.backend.standardize_dtype(images.dtype) == "uint8":
        return ops.cast(images, "float32") * _TO_UNIT
    return images


class Detector(keras.Model):
    """Base of the detectors.

    A subclass overrides `call`, `score`, `explain`, `embed`, `compute_loss` (and `compute_metrics`
    where it has figures of its own), so that the stock `train_step` works: `compile` gets an
    optimiser and nothing else. Its constructor takes its config's fields but `name` and `phases` as
    plain keyword arguments, makes every weight, and reads no file; `get_config` returns those
    arguments.
    """

    fitted: ClassVar[bool] = True
    """Whether `dfd-tf train` makes its runs; else the command of the detector's own name does."""

    one_class: bool
    """Trained on real images only; data of the other labels never reach `fit`. An attribute of the
    class, or where the settings decide, of the instance beside an own `is_one_class`."""

    caveats: tuple[str, ...] = ()
    """What nobody may overlook who reads a score: repeated in `best/model.json`, in every report
    and with every prediction."""

    uses_unlabelled: ClassVar[bool] = False
    """Whether images of label -1 (unknown) reach `fit`; the label loss must leave them out."""

    needs_domains: ClassVar[bool] = False
    """Trained against domains: there must be several, and both classes in each."""

    image_size: int
    """Side of the input, pixels."""

    pretrained: str
    """Where the initial weights came from, in words, for the artefacts' honesty line: e.g.
    `ImageNet weights from squeezenet.h5`, `random (asked for by weights: none)`."""

    def __init__(self, **kwargs: Any) -> None:
        # Images stay float32 up to the first layer that has an opinion: half precision would round
        # away grey levels before the preprocessing has centred them.
        super().__init__(autocast=False, **kwargs)

    @property
    def score_is_logit(self) -> bool:
        """Whether sigmoid(score) means to be a probability of fake."""
        return not self.one_class

    @classmethod
    def from_settings(cls, settings: DetectorConfig, num_domains: int) -> Self:  # noqa: ARG003
        """Constructs the detector an experiment asks for.

        Args:
            settings: The config of this detector.
            num_domains: Domains in the training records, for detectors that tell them apart.
        """
        return cls(**settings.model_dump(exclude={"name", "phases"}))

    @classmethod
    def is_one_class(cls, settings: DetectorConfig) -> bool:  # noqa: ARG003
        """Says of settings what `one_class` says of the detector built from them."""
        return cls.one_class

    def build(self, input_shape: Any) -> None:
        """Marks the model as built: the constructor has made every weight."""

    def load_initial_weights(self) -> None:
        """Loads the pretrained weights the config names; random weights need nothing.

        Raises:
            InputError: The weights cannot be had.
            ModelFileError: The weights file was refused.
        """

    def train_step(self, data: Any) -> Any:
        images, targets = data
        return super().train_step((to_unit(images), targets))

    def test_step(self, data: Any) -> Any:
        images, targets = data
        return super().test_step((to_unit(images), targets))

    def compile_phase(self, make_optimizer: Callable[[], keras.optimizers.Optimizer]) -> None:
        """Compiles for a phase, after `begin_phase`, and builds every optimiser.

        Args:
            make_optimizer: Returns a fresh optimiser of the experiment's settings; all of them
                share the phase's learning rate.
        """
        self.compile(optimizer=make_optimizer())
        self.optimizer.build(self.trainable_variables)

    def extra_optimizers(self) -> tuple[keras.optimizers.Optimizer, ...]:
        """Returns the optimisers beside `self.optimizer`, built; a resume restores them too.

        A method, and what it returns must not be an attribute that Keras can see: it would store
        the optimisers in the weights file.
        """
        return ()

    def set_progress(self, progress: float) -> None:
        """Called before every training step with the share of all planned steps done, in [0, 1).

        What follows it (a loss weight, say) must be a variable, or it would be baked in.
        """

    def fit_score(self, real_images: Iterable[Any]) -> None:
        """Sets what score and map need to know of real images, in variables saved with the weights.

        Called before an epoch's weights are kept as the best, and before they are scored.

        Args:
            real_images: Batches of real validation images as `fit` gets them, read only if used.
        """

    def trouble(self, history: Sequence[Mapping[str, Any]]) -> str | None:  # noqa: ARG002
        """Looks at the rows of `history.csv` after an epoch; returns a warning in one line, or
        None. The run prints it once and keeps it in its provenance.
        """
        return None

    def generate(self) -> Any:
        """Returns pictures to follow the training by: (n, height, width, 3) float32 in [0, 1], made
        from nothing but the weights, the n-th always from the same noise; or None.
        """
        return None

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
    def embed(self, images: Any) -> Any:
        """Describes images by what the score is made of: (batch, d) float32, in inference mode."""

    def reconstruct(self, images: Any) -> Any:  # noqa: ARG002
        """Reconstructs images: same shape, float32 in [0, 1]; None from what does not do that."""
        return None

    def begin_phase(self, phase: Phase) -> None:
        """Sets what trains in a phase, by default everything that ever does; called before
        `compile`, also on resume.
        """
