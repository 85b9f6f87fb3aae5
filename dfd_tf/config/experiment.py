"""An experiment: detector, data, training and calibration, as one YAML states it."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from dfd_tf.config.detectors import DetectorConfig
from dfd_tf.config.schema import Schema
from pipelines.settings import AugmentSettings, PseudoFakeSettings


class Data(Schema):
    """What the batches look like."""

    batch_size: PositiveInt = 32
    """Global batch size."""
    balance: Literal["none", "class", "class_domain"] = "class"
    """Sampling of supervised detectors; one-class detectors ignore it."""
    shuffle_buffer: PositiveInt = 2048
    """Records held for shuffling."""
    augment: AugmentSettings | None = AugmentSettings()
    """Label-blind degradations of the training images; null for none."""
    pseudo_fakes: PseudoFakeSettings | None = None
    """Fakes made of real images while a supervised detector is trained; null for none. Records
    without fakes give pairs of a real image and its pseudo-fake, others have a share of their fakes
    replaced. One-class detectors ignore it."""
    domains: tuple[str, ...] = ()
    """Domains used; empty: all."""
    leave_out: str | None = None
    """A domain that is not used even so: neither trained nor validated on, so that `dfd-tf
    evaluate` shows what the detector makes of a domain it has never seen."""
    on_bad_record: Literal["stop", "skip"] = "stop"
    """Records whose picture cannot be decoded: `stop` names the first one met; `skip` looks for
    them beforehand and leaves out up to 0.1 % of a folder's, named in every artefact."""

    def used_domains(self, known: Sequence[str]) -> tuple[str, ...]:
        """Returns the domains of a dataset that are used, in the dataset's order."""
        chosen = self.domains or known
        return tuple(name for name in known if name in chosen and name != self.leave_out)


class Optimizer(Schema):
    """The optimiser; its learning rate is the phase's."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    weight_decay: NonNegativeFloat = 1e-5
    """Decoupled weight decay (AdamW only)."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum (SGD only)."""
    beta_1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the mean of the gradients (Adam and AdamW only)."""
    clip_norm: PositiveFloat | None = None
    """Global gradient norm above which gradients are scaled down."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of a moving average of the weights, used for validation and kept as the result."""


class Schedule(Schema):
    """How the learning rate moves within a phase."""

    name: Literal["constant", "plateau", "cosine"] = "plateau"
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Plateau: factor applied when the monitored value stalls."""
    patience: PositiveInt = 5
    """Plateau: epochs without improvement before that."""
    minimum: NonNegativeFloat = 1e-7
    """Plateau and cosine: lowest rate."""
    warmup_steps: NonNegativeInt = 0
    """Steps over which the rate rises linearly from zero at the start of a phase."""


class Training(Schema):
    """How the detector is fitted."""

    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    selection: Literal["auto", "val_loss", "val_auc"] = "auto"
    """What picks the best epoch: `auto` is `val_auc` for supervised detectors, `val_loss` (free of
    labels) for one-class ones. Stored in the run and printed in every report."""
    strategy: Literal["auto", "cpu", "gpu", "mirrored"] = "auto"
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    """`auto`: mixed_float16 on a GPU with tensor cores, float32 elsewhere."""
    checkpoint_steps: PositiveInt | None = None
    """Steps between resumable states within an epoch; every epoch ends with one anyway."""
    deterministic: bool = False
    """TensorFlow's op determinism; slower, and not needed for exact resume on a CPU."""
    threads: PositiveInt | None = None
    """Threads TensorFlow may use; None: one a core. Results depend on it, so it is recorded."""


class Calibration(Schema):
    """How scores become probabilities and verdicts, on the validation split."""

    method: Literal["auto", "temperature", "platt", "isotonic", "none"] = "auto"
    """`auto`: where both classes are labelled, the simplest map within one standard error of the
    lowest cross-fitted log loss, temperature (logits only), Platt or isotonic; else none:
    thresholds from real scores only."""


class Experiment(Schema):
    """One experiment; a YAML states only what differs from these defaults."""

    detector: DetectorConfig
    seed: NonNegativeInt = 0
    data: Data = Data()
    training: Training = Training()
    calibration: Calibration = Calibration()

    @model_validator(mode="after")
    def _average_of_one_network(self) -> Self:
        detector = self.detector
        has_two = detector.name == "gan" and detector.mode != "supervised"
        if has_two and self.training.optimizer.ema is not None:
            raise ValueError(
                "training.optimizer.ema must be null for gan: two networks are trained, and the "
                "average is kept for one"
            )
        return self
