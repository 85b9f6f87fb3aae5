"""Configuration of the detectors: one schema each, told apart by `name`."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    Field,
    FiniteFloat,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from dfd_tf.config.schema import Schema
from dfd_tf.config.score_maps import ScoreMap


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


def _refuse_freezing(name: str, phases: tuple[Phase, ...]) -> None:
    frozen = [phase.name for phase in phases if phase.freeze_backbone]
    if frozen:
        raise ValueError(f"phase {frozen[0]}: {name} has no backbone to freeze")


def _refuse_uneven_halves(image_size: int, widths: tuple[int, ...]) -> None:
    step = 2 ** len(widths)
    if image_size % step:
        raise ValueError(
            f"image_size {image_size} must be a multiple of {step} "
            f"(2 to the number of widths, {len(widths)})"
        )


def _refuse_too_many_patches(image_size: int, patch: int, top_patches: int) -> None:
    patches = max(0, (image_size - patch) // (patch // 2) + 1) ** 2
    if top_patches > patches:
        raise ValueError(
            f"top_patches {top_patches} must be at most {patches}, the patches of side {patch} in "
            f"an image of {image_size} pixels"
        )


class SpatialDetector(Schema):
    """Spatial-artifact detector: a backbone, global average pooling and one logit."""

    name: Literal["spatial"] = "spatial"
    image_size: PositiveInt = 224
    """Side of the input, pixels."""
    backbone: str = "resnet50"
    """`resnet18`, `resnet32`, `squeezenet`, or any classification network of keras.applications by
    its function name in lower case (`resnet50`, `efficientnetv2b0`, `mobilenetv3small`, ...)."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random start, said in every artefact) or the path of a weights file."""
    input_residual: Literal["none", "srm", "npr", "laplacian"] = "none"
    """What the backbone sees: the image, or one of its high-frequency residuals."""
    pooling: Literal["average", "top_k"] = "average"
    """`average`: one logit of the mean feature; `top_k`: the mean of the highest logits of the
    locations, because small faults are local."""
    top_k: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Share of the locations averaged, for `pooling: top_k`."""
    location_weight: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the loss at every location of pseudo-fakes and their real images, where it is known
    which pixels were changed; 0: none."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout rate in front of the logit."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.0
    """Labels are drawn towards one half by this much."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="head", epochs=10, learning_rate=1e-3, freeze_backbone=True),
        Phase(name="all", epochs=30, learning_rate=1e-5, early_stop_patience=10),
    )


class DaeDetector(Schema):
    """Denoising autoencoder with perceptual scoring, trained on real faces only."""

    name: Literal["dae"] = "dae"
    image_size: PositiveInt = 128
    """Side of the input, pixels; a multiple of 2 to the number of widths."""
    widths: Annotated[tuple[PositiveInt, ...], Field(min_length=1)] = (32, 64, 128, 256)
    """Channels of the encoder's stages; the decoder mirrors them."""
    latent: PositiveInt = 32
    """Length of the latent vector."""
    noise: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Standard deviation of the noise added in training, where the image's range is 0 to 1."""
    scoring: Literal["standardized", "raw"] = "standardized"
    """`standardized`: the terms of the score are measured in median absolute deviations from their
    median over the real validation images. `raw`: the original's sum of terms of unlike scale."""
    patch: Annotated[int, Field(ge=2)] = 16
    """Side of a patch, pixels; patches start every half side."""
    top_patches: PositiveInt = 3
    """Number of worst patches averaged."""
    perceptual_weights: str = "imagenet"
    """Weights of the frozen ResNet18: `imagenet` (through the extra `keras-hub`), `none` (random,
    said in every artefact) or the path of a file in torchvision, timm or keras-hub form."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="all", epochs=500, learning_rate=1e-3, early_stop_patience=50),
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        _refuse_uneven_halves(self.image_size, self.widths)
        _refuse_too_many_patches(self.image_size, self.patch, self.top_patches)
        return self

    @model_validator(mode="after")
    def _nothing_to_freeze(self) -> Self:
        _refuse_freezing(self.name, self.phases)
        return self


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
        _refuse_uneven_halves(self.image_size, self.widths)
        if self.score == "top_patches":
            _refuse_too_many_patches(self.image_size, self.patch, self.top_patches)
        return self

    @model_validator(mode="after")
    def _nothing_to_freeze(self) -> Self:
        _refuse_freezing(self.name, self.phases)
        return self


class DannDetector(Schema):
    """Domain-adversarial detector: a label head, and a domain head behind a gradient reversal."""

    name: Literal["dann"] = "dann"
    image_size: PositiveInt = 224
    """Side of the input, pixels."""
    backbone: str = "resnet50"
    """As for `spatial`."""
    weights: str = "imagenet"
    """`imagenet`, `none` (random start, said in every artefact) or the path of a weights file."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Dropout rate in front of the label's logit."""
    domain_weight: NonNegativeFloat = 1.0
    """Weight of the domain loss beside the label loss."""
    peak_lambda: NonNegativeFloat = 1.0
    """Largest strength of the gradient reversal; it rises to it from 0 over the training. At 1 the
    adversary's share of the features' gradient is at most as long as the label's. 0: the same
    network without an adversary, to compare with."""
    adversary_rate: PositiveFloat = 10.0
    """Learning rate of the adversary over that of everything else. A slow one is fooled by features
    that still hold the domain."""
    allow_confounded: bool = False
    """Train although there is one domain only, or a domain holds one class only: there the
    adversary removes the very difference between real and fake."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="head", epochs=5, learning_rate=1e-3, freeze_backbone=True),
        Phase(name="all", epochs=30, learning_rate=1e-4, early_stop_patience=10),
    )


class GanDetector(Schema):
    """ResNet32 trained as the discriminator of a GAN."""

    name: Literal["gan"] = "gan"
    image_size: PositiveInt = 64
    """Side of the input and of the generated images, pixels: 8, 16, 32, 64, ..."""
    mode: Literal["semi_supervised", "vanilla", "supervised"] = "semi_supervised"
    """`semi_supervised`: tells real, fake and generated images apart. `vanilla`: real from
    generated ones only, which does not detect a dataset's fakes. `supervised`: real from fake, no
    generator; the baseline that shows whether one helps."""
    latent: PositiveInt = 100
    """Length of the generator's noise vector."""
    generator_width: PositiveInt = 512
    """Channels of the generator's first feature map; each of the next has half as many."""
    label_smoothing: Annotated[float, Field(ge=0, lt=0.5)] = 0.1
    """Labels are drawn towards one half by this much, and data count as such by 1 minus this."""
    phases: Annotated[tuple[Phase, ...], Field(min_length=1)] = (
        Phase(name="all", epochs=50, learning_rate=2e-4),
    )

    @model_validator(mode="after")
    def _generator_fits(self) -> Self:
        num_doublings = (self.image_size // 4).bit_length() - 1
        if num_doublings < 1 or self.image_size != 4 * 2**num_doublings:
            raise ValueError(f"image_size {self.image_size} must be 8, 16, 32, 64, 128, ...")
        narrowest = 2 ** (num_doublings - 1)
        if self.generator_width < narrowest:
            raise ValueError(
                f"generator_width {self.generator_width} must be {narrowest} or more at "
                f"{self.image_size} pixels: it is halved {num_doublings - 1} times"
            )
        return self

    @model_validator(mode="after")
    def _nothing_to_freeze(self) -> Self:
        _refuse_freezing(self.name, self.phases)
        return self


TrainedDetector = Annotated[
    DaeDetector | DannDetector | GanDetector | SpatialDetector | ResidualAutoencoderDetector,
    Field(discriminator="name"),
]


CombineRule = Literal["mean", "weighted", "logistic"]


class EnsembleMember(Schema):
    """A trained detector within an ensemble; its weights are in the ensemble's weights file."""

    name: str
    """Name of the run it came from."""
    detector: TrainedDetector
    """Its resolved configuration."""
    num_domains: PositiveInt = 1
    """Domains it was built for."""
    score_map: ScoreMap
    """How its score comes to the scale the members have in common."""
    weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Factor of its mapped score; a member of weight 0 is not run."""


class EnsembleDetector(Schema):
    """Trained detectors whose scores are combined; written by `dfd-tf ensemble`, never trained."""

    # Not a field: nothing is trained, and a YAML cannot ask for it.
    phases: ClassVar[tuple[Phase, ...]] = ()

    name: Literal["ensemble"] = "ensemble"
    combine: CombineRule
    """Where the weights are from: equal, given by the user, or logistic regression on validation
    data."""
    members: Annotated[tuple[EnsembleMember, ...], Field(min_length=2)]
    offset: FiniteFloat = 0.0
    """Added to the weighted sum: the intercept of the logistic regression."""

    @property
    def image_size(self) -> int:
        """Side of the input, pixels: the largest member's; the others see it scaled down."""
        return max(member.detector.image_size for member in self.members)

    @model_validator(mode="after")
    def _members_differ(self) -> Self:
        names = [member.name for member in self.members]
        if len(set(names)) != len(names):
            raise ValueError(f"members must have different names, found {', '.join(names)}")
        if not any(member.weight for member in self.members):
            raise ValueError("the weights are all 0")
        return self


DetectorConfig = Annotated[TrainedDetector | EnsembleDetector, Field(discriminator="name")]
