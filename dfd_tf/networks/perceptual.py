"""Distance of images in the features of a frozen ResNet18 (DETECTORS 1).

Channel-normalised as in LPIPS (Zhang et al. 2018, arXiv:1801.03924, equation 1, without learnt
weights). Images (batch, height, width, 3) float32 in [0, 1] become (batch,) float32 in [0, 4].
"""

from pathlib import Path
from typing import Any

import keras
from keras import layers, ops

from dfd_tf.networks.backbones import STANDARDIZED
from dfd_tf.networks.resnet18 import resnet18_stages
from dfd_tf.networks.resnet18_weights import load_resnet18_weights

NUM_STAGES = 3
_TINY = 1e-10  # Keeps features that are all zero at a location apart from 0 / 0.


@keras.saving.register_keras_serializable(package="dfd_tf")
class PerceptualDistance(layers.Layer):
    """Mean over ResNet18's layers 1 to 3 of the mean over locations of |f(a)/|f(a)| - f(b)/|f(b)||²
    where |.| is the norm over the channels.

    Never trained: `trainable` is False whatever a parent is set to, and batch normalisation always
    uses its moving statistics. float32 under every policy: half precision would drown the distance
    of a good reconstruction in rounding.

    Args:
        image_size: Side of the square images, pixels.
        weights: Initial weights: `imagenet`, `none` (random) or a file; read by
            `load_initial_weights`.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 in [0, 1].
        others: Images to compare them with, of the same shape.

    Returns:
        (batch,) float32 in [0, 4].
    """

    def __init__(self, image_size: int, weights: str = "imagenet", **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.image_size = image_size
        self.weights_name = weights
        self.network = resnet18_stages(image_size, NUM_STAGES, dtype="float32")
        self.network.trainable = False
        self.built = True

    @property
    def trainable(self) -> bool:
        return False

    @trainable.setter
    def trainable(self, value: bool) -> None:
        """Does nothing: setting `trainable` on a parent sets it on every layer below."""

    def call(self, images: Any, others: Any) -> Any:
        distances = [ops.mean(one, axis=(1, 2)) for one in self._location_distances(images, others)]
        return sum(distances) / NUM_STAGES

    def distance_map(self, images: Any, others: Any) -> Any:
        """Where the distance comes from: (batch, image_size, image_size) float32 in [0, 4].

        The mean over the layers of the distances at their locations, scaled up bilinearly; the
        mean of the map is the distance where the layers' sides divide that of the images.
        """
        shape = (self.image_size, self.image_size)
        maps = [
            ops.image.resize(one[..., None], shape, data_format="channels_last")
            for one in self._location_distances(images, others)
        ]
        return (sum(maps) / NUM_STAGES)[..., 0]

    def _location_distances(self, images: Any, others: Any) -> list[Any]:
        """Squared distances (batch, rows, columns) of the normalised features of each layer."""
        both = STANDARDIZED.apply(ops.concatenate([images, others], axis=0))
        maps = []
        for features in self.network(both, training=False):
            norm = ops.sqrt(ops.sum(ops.square(features), axis=-1, keepdims=True))
            first, second = ops.split(features / (norm + _TINY), 2, axis=0)
            maps.append(ops.sum(ops.square(first - second), axis=-1))
        return maps

    def load_initial_weights(self, option: str) -> None:
        """Loads the initial weights; `none` leaves the random ones.

        Args:
            option: Configuration key that names the weights, for messages.

        Raises:
            InputError: The weights cannot be had.
            ModelFileError: The file was refused.
        """
        if self.weights_name != "none":
            load_resnet18_weights(self.network, self.weights_name, option)

    def provenance(self, option: str) -> str:
        """Says in words where the weights come from."""
        if self.weights_name == "none":
            return f"random ResNet18 (asked for by {option}: none)"
        if self.weights_name == "imagenet":
            return "ResNet18 with ImageNet weights of keras-hub"
        return f"ResNet18 with weights from {Path(self.weights_name).name}"

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "image_size": self.image_size,
            "weights": self.weights_name,
        }
