"""The detectors there are: one line each."""

from importlib import import_module
from math import prod
from types import MappingProxyType

import keras

from dfd_tf.config.detectors import DetectorConfig
from dfd_tf.detectors.base import Detector

DETECTORS: MappingProxyType[str, str] = MappingProxyType(
    {
        "dae": "dfd_tf.detectors.dae:DenoisingAutoencoder",
        "dann": "dfd_tf.detectors.dann:DomainAdversarialDetector",
        "ensemble": "dfd_tf.detectors.ensemble:Ensemble",
        "gan": "dfd_tf.detectors.gan:GanDetector",
        "residual_ae": "dfd_tf.detectors.residual_ae:ResidualAutoencoder",
        "spatial": "dfd_tf.detectors.spatial:SpatialDetector",
    }
)


def detector_class(name: str) -> type[Detector]:
    """Imports and returns the class of a detector; KeyError for a name not in `DETECTORS`."""
    module, _, class_name = DETECTORS[name].partition(":")
    return getattr(import_module(module), class_name)


def build_detector(
    config: DetectorConfig, num_domains: int = 1, *, initial_weights: bool = True
) -> Detector:
    """Builds a detector with all its weights.

    Random weights follow `keras.utils.set_random_seed`; dtypes follow the global dtype policy.

    Args:
        config: The detector's settings.
        num_domains: Domains in the training records, for detectors that tell them apart.
        initial_weights: Load the pretrained weights the config names. False when trained weights
            are loaded next: needs neither the network nor the file, and `pretrained` still says
            where training started.

    Returns:
        A built detector, ready for `load_weights` or for `begin_phase`, `compile` and `fit`.

    Raises:
        InputError: Unknown backbone, unsuitable image size, or weights that cannot be had.
        ModelFileError: A weights file that was refused.
    """
    detector = detector_class(config.name).from_settings(config, num_domains)
    if initial_weights:
        detector.load_initial_weights()
    return detector


def count_parameters(model: keras.Model) -> tuple[int, int]:
    """Counts trainable and non-trainable weights, as the `trainable` flags stand."""
    trainable = sum(prod(weight.shape) for weight in model.trainable_weights)
    frozen = sum(prod(weight.shape) for weight in model.non_trainable_weights)
    return trainable, frozen
