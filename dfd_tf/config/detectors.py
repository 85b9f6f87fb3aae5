"""Configuration of the detectors: one schema each, told apart by `name`."""

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

from dfd_tf.config.schema import Schema


class Phase(Schema):
    """One stretch of training with its own learning rate and its own patience."""

    name: str
    """Name of the phase, shown in logs."""
    epochs: PositiveInt
    """Most epochs the phase lasts."""
    learning_rate: PositiveFloat
    """Learning rate at the start of the phase."""
    freeze_backbone: bool = False
    """Train the head only; the backbone then runs in inference mode."""
    early_stop_patience: PositiveInt | None = None
    """Epochs without improvement after which the phase ends; None: never."""


class SpatialDetector(Schema):
    """Spatial-artifact detector: a backbone, global average pooling and one logit."""

    name: Literal["spatial"] = "spatial"
    image_size: PositiveInt = 224
    """Side of the input, pixels."""
    backbone: str = "resnet50"
    """`resnet32`, `squeezenet`, or any classification network of keras.applications by its
    function name in lower case (`resnet50`, `efficientnetv2b0`, `mobilenetv3small`, ...)."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random start, said in every artefact) or the path of a weights file."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout rate in front of the logit."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Labels are drawn towards one half by this much."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="head", epochs=10, learning_rate=1e-3, freeze_backbone=True),
        Phase(name="all", epochs=30, learning_rate=1e-5, early_stop_patience=10),
    )


class ResidualAutoencoderDetector(Schema):
    """Residual convolutional autoencoder trained on real faces only."""

    name: Literal["residual_ae"] = "residual_ae"
    image_size: PositiveInt = 128
    """Side of the input, pixels; a multiple of 2 to the number of widths."""
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=2)] = (64, 128, 256, 512, 512)
    """Channels of the encoder's stages; the decoder mirrors them."""
    latent: PositiveInt = 512
    """Length of the latent vector."""
    score: Literal["mse", "top_patches"] = "mse"
    """Per-image mean squared error, or the mean error of the `top_patches` worst patches."""
    patch: Annotated[int, Field(ge=2)] = 16
    """Side of a patch, pixels, for `score: top_patches`; patches start every half side."""
    top_patches: PositiveInt = 3
    """Number of worst patches averaged, for `score: top_patches`."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="all", epochs=100, learning_rate=1e-3),
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        step = 2 ** len(self.widths)
        if self.image_size % step:
            raise ValueError(
                f"image_size {self.image_size} must be a multiple of {step} "
                f"(2 to the number of widths, {len(self.widths)})"
            )
        if self.score == "top_patches":
            patches = max(0, (self.image_size - self.patch) // (self.patch // 2) + 1) ** 2
            if self.top_patches > patches:
                raise ValueError(
                    f"top_patches {self.top_patches} must be at most {patches}, the patches of "
                    f"side {self.patch} in an image of {self.image_size} pixels"
                )
        return self

    @model_validator(mode="after")
    def _nothing_to_freeze(self) -> Self:
        frozen = [phase.name for phase in self.phases if phase.freeze_backbone]
        if frozen:
            raise ValueError(f"phase {frozen[0]}: residual_ae has no backbone to freeze")
        return self


DetectorConfig = Annotated[
    SpatialDetector | ResidualAutoencoderDetector, Field(discriminator="name")
]
