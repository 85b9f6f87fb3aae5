"""Backbones: convolutional networks that turn images into feature maps.

A name is `resnet18`, `resnet32`, `squeezenet` or a classification network of `keras.applications`
in lower case. The preprocessing the weights were trained with is part of the backbone, so every
backbone takes RGB float32 in [0, 1].
"""

import inspect
import math
import warnings
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import keras
from keras import layers, ops

from dfd_tf.networks.batch_normalization import BatchNormalization
from dfd_tf.networks.normalization import Normalization
from dfd_tf.networks.resnet18 import resnet18
from dfd_tf.networks.resnet18_weights import load_resnet18_weights
from dfd_tf.networks.resnet32 import resnet32
from dfd_tf.networks.squeezenet import CAFFE_MEAN_BGR, squeezenet
from dfd_tf.networks.weight_files import load_weight_file
from pipelines.errors import InputError


class Preprocessing(NamedTuple):
    """What weights want of an image: channels in `order`, `(image * scale - mean) / deviation`."""

    order: Literal["RGB", "BGR"] = "RGB"
    scale: float = 1.0
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def apply(self, images: Any) -> Any:
        """Returns what the network takes, from RGB float32 (..., 3) in [0, 1]."""
        pixels = images if self.order == "RGB" else ops.flip(images, axis=-1)
        return (pixels * self.scale - ops.array(self.mean)) / ops.array(self.deviation)


IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
CAFFE = Preprocessing("BGR", 255.0, (103.939, 116.779, 123.68))
MINUS_ONE_TO_ONE = Preprocessing(scale=2.0, mean=(1.0, 1.0, 1.0))
STANDARDIZED = Preprocessing(mean=(0.485, 0.456, 0.406), deviation=IMAGENET_DEVIATION)
BYTES = Preprocessing(scale=255.0)  # The network itself does the rest.

_CHOICES = "choose `weights: FILE` (a Keras weights file without top) or `weights: none`"


class OwnNetwork(NamedTuple):
    """A network of `dfd_tf.networks`: its builder, what its trained weights want of an image, and
    how a network takes weights from `imagenet` or from a file.
    """

    build: Callable[[int], keras.Model]
    preprocessing: Preprocessing
    load_weights: Callable[[keras.Model, str], None]


def _load_without_imagenet(network: keras.Model, source: str) -> None:
    if source == "imagenet":
        raise InputError(
            f"detector.weights: ImageNet weights of {network.name} cannot be downloaded; {_CHOICES}"
        )
    load_weight_file(network, source)


def _load_resnet18(network: keras.Model, source: str) -> None:
    load_resnet18_weights(network, source, "detector.weights")


OWN_NETWORKS: MappingProxyType[str, OwnNetwork] = MappingProxyType(
    {
        "resnet18": OwnNetwork(resnet18, STANDARDIZED, _load_resnet18),
        "resnet32": OwnNetwork(resnet32, MINUS_ONE_TO_ONE, _load_without_imagenet),
        "squeezenet": OwnNetwork(
            squeezenet, Preprocessing("BGR", 255.0, CAFFE_MEAN_BGR), _load_without_imagenet
        ),
    }
)

# Modules of keras.applications; the trailing part of `builder.__module__`.
PREPROCESSING_BY_MODULE = MappingProxyType(
    {
        "convnext": BYTES,
        "densenet": STANDARDIZED,
        "efficientnet": BYTES,
        "efficientnet_v2": BYTES,
        "inception_resnet_v2": MINUS_ONE_TO_ONE,
        "inception_v3": MINUS_ONE_TO_ONE,
        "mobilenet": MINUS_ONE_TO_ONE,
        "mobilenet_v2": MINUS_ONE_TO_ONE,
        "mobilenet_v3": BYTES,
        "nasnet": MINUS_ONE_TO_ONE,
        "resnet": CAFFE,
        "resnet_v2": MINUS_ONE_TO_ONE,
        "vgg16": CAFFE,
        "vgg19": CAFFE,
        "xception": MINUS_ONE_TO_ONE,
    }
)

KERAS_NETWORKS: MappingProxyType[str, Callable[..., keras.Model]] = MappingProxyType(
    {
        name.lower(): builder
        for name, builder in vars(keras.applications).items()
        if inspect.isfunction(builder)
        and builder.__module__.rpartition(".")[2] in PREPROCESSING_BY_MODULE
    }
)


@keras.saving.register_keras_serializable(package="dfd_tf")
class Backbone(layers.Layer):
    """Preprocessing and a network without its classifier.

    A backbone that is not trainable runs in inference mode whatever `training` says, so that its
    moving statistics cannot drift in a frozen phase (keras#20285).

    Args:
        architecture: Name of the network.
        image_size: Side of the square input, pixels.
        weights: Initial weights: `imagenet`, `none` (random) or the path of a Keras weights file
            without top (for resnet18 also torchvision's or timm's); read by
            `load_initial_weights`.

    Call arguments:
        images: (batch, image_size, image_size, 3) float32 RGB in [0, 1].
        training: Whether batch statistics are used.

    Returns:
        Features (batch, height, width, channels) in the compute dtype of the global policy.

    Raises:
        InputError: Unknown network, or images too small for it.
    """

    def __init__(
        self, architecture: str, image_size: int, weights: str = "none", **kwargs: Any
    ) -> None:
        # The preprocessing runs in float32 under every policy.
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.architecture = architecture
        self.image_size = image_size
        self.weights_name = weights
        self._preprocessing = preprocessing_of(architecture, weights)
        self.network = _build_network(architecture, image_size)
        self.num_channels: int = self.network.output_shape[-1]
        self.built = True

    def call(self, images: Any, training: bool | None = None) -> Any:
        pixels = self._preprocessing.apply(images)
        return self.network(pixels, training=bool(training and self.trainable))

    def load_initial_weights(self) -> None:
        """Loads the initial weights; `none` leaves the random ones.

        Raises:
            InputError: The weights cannot be had; the message names the choices.
            ModelFileError: The file was refused.
        """
        if self.weights_name == "none":
            return
        if self.architecture in OWN_NETWORKS:
            OWN_NETWORKS[self.architecture].load_weights(self.network, self.weights_name)
        elif self.weights_name == "imagenet":
            self.network.set_weights(_imagenet_weights(self.architecture, self.image_size))
        else:
            load_weight_file(self.network, self.weights_name)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "architecture": self.architecture,
            "image_size": self.image_size,
            "weights": self.weights_name,
        }


def backbone_names() -> list[str]:
    """Returns the names `Backbone` takes."""
    return sorted([*OWN_NETWORKS, *KERAS_NETWORKS])


def preprocessing_of(architecture: str, weights: str) -> Preprocessing:
    """Looks up the preprocessing of a network; InputError for an unknown one."""
    if architecture in OWN_NETWORKS:
        trained = OWN_NETWORKS[architecture].preprocessing
    elif architecture in KERAS_NETWORKS:
        module = KERAS_NETWORKS[architecture].__module__.rpartition(".")[2]
        trained = PREPROCESSING_BY_MODULE[module]
    else:
        raise InputError(
            f"detector.backbone: unknown network {architecture!r}; "
            f"known: {', '.join(backbone_names())}"
        )
    # Preprocessing belongs to the weights. Random ones start badly on pixels of up to 255, unless
    # the network itself rescales them.
    return MINUS_ONE_TO_ONE if weights == "none" and trained is not BYTES else trained


def _build_network(architecture: str, image_size: int) -> keras.Model:
    try:
        if architecture in OWN_NETWORKS:
            return OWN_NETWORKS[architecture].build(image_size)
        # Without weights here: loading trained weights into it later must not need the network.
        original = _keras_network(architecture, image_size, weights=None)
    except ValueError as error:
        raise InputError(
            f"detector.backbone: {architecture} cannot take images of {image_size} pixels: {error}"
        ) from error
    return keras.models.clone_model(
        original, clone_function=_clone_layer, call_function=_call_layer(architecture)
    )


def _keras_network(architecture: str, image_size: int, weights: str | None) -> keras.Model:
    with warnings.catch_warnings():
        # MobileNets say that sizes other than 224 take the weights of 224, as they should.
        warnings.filterwarnings("ignore", message="`input_shape` is undefined or non-square")
        return KERAS_NETWORKS[architecture](
            include_top=False, weights=weights, input_shape=(image_size, image_size, 3)
        )


def _clone_layer(layer: layers.Layer) -> layers.Layer:
    config = layer.get_config()
    if isinstance(layer, layers.BatchNormalization):
        return BatchNormalization.from_config(config)
    if isinstance(layer, layers.Rescaling | layers.Normalization):
        config["dtype"] = "float32"
    if isinstance(layer, layers.Normalization):
        return Normalization.from_config(config)
    return layer.__class__.from_config(config)


def _call_layer(architecture: str) -> Callable[..., Any]:
    def call(layer: layers.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        if isinstance(layer, layers.Normalization) and _needs_second_scale(architecture):
            factors = [1 / math.sqrt(deviation) for deviation in IMAGENET_DEVIATION]
            return layers.Rescaling(factors, dtype="float32")(outputs)
        return outputs

    return call


def _needs_second_scale(architecture: str) -> bool:
    # keras.applications adds this layer to EfficientNet v1 only when it loads ImageNet weights
    # itself; a network rebuilt for its trained weights must be the same one.
    return KERAS_NETWORKS[architecture].__module__.endswith(".efficientnet")


def _imagenet_weights(architecture: str, image_size: int) -> list[Any]:
    try:
        return _keras_network(architecture, image_size, weights="imagenet").get_weights()
    # keras.utils.get_file raises bare `Exception` when a download fails.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(
            f"detector.weights: ImageNet weights of {architecture} could not be had ({reason}); "
            f"connect once to fill ~/.keras/models, or {_CHOICES}"
        ) from error
