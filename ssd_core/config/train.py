"""How a detector is trained.

The string below a field documents it.
"""

from typing import Literal

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from ssd_core.config.augment import AugmentConfig
from ssd_core.config.method import (
    ClassificationLossSpec,
    LossDivisor,
    MatchingSpec,
    ModelConfig,
    SoftmaxLossSpec,
)
from ssd_core.config.section import Section, Share

Precision = Literal["auto", "fp32", "bf16", "fp16"]

MAX_LOSS_SCALE = 2.0**127
"""The greatest power of 2 in single precision."""


class OptimizerConfig(Section):
    """The optimizer."""

    name: Literal["sgd", "adamw"]
    """`sgd` with momentum, or `adamw`."""
    learning_rate: PositiveFloat
    """Peak rate for the configured global batch; it is never scaled implicitly."""
    rate_batch_size: PositiveInt | None = None
    """Batch that `learning_rate` is for: the rate of another `batch_size` is in proportion (Goyal
    et al. 2017). `--scale-lr` sets it to the batch of the recipe; None scales nothing."""
    weight_decay: float = Field(ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Only used by `sgd`."""
    decay_norms_and_biases: bool = True
    """Whether weight decay applies to normalisation weights and biases."""
    clip_norm: PositiveFloat | None = None
    """Largest Euclidean norm of all gradients together; greater ones are shortened to it."""


class LossScaleConfig(Section):
    """A factor of the loss that is divided out of its gradients: below 6e-8 fp16 has only 0."""

    start: float = Field(default=1.0, ge=1, le=MAX_LOSS_SCALE)
    """Factor of the first step. In fp32 a power of 2 changes no bit."""
    growth_interval: PositiveInt | None = None
    """Steps after which the factor doubles; then an update is left out if its gradients are not
    finite, and the factor is halved, to at least 1. None never changes the factor."""


class ScheduleConfig(Section):
    """How the learning rate changes during a run."""

    name: Literal["step", "cosine"]
    """`step` decays at the milestones, `cosine` throughout the rest of the run, to `end_ratio`."""
    warmup: float = Field(default=0.0, ge=0)
    """Length of the linear warm-up: below 1 a fraction of the run, else a number of steps."""
    warmup_ratio: Share = 0.001
    """Rate of the first step relative to the peak."""
    end_ratio: Share = 0.0
    """Rate relative to the peak that `cosine` approaches at the end of the run."""
    milestones: tuple[Share, ...] = ()
    """Fractions of the run after which `step` multiplies the rate by 0.1."""


class InitConfig(Section):
    """The weights that a training starts from; a resumed training does not load them."""

    source: str | None = None
    """Model directory, output of `ssd train`, checkpoint, or .safetensors file: a path or URI; None
    for random weights."""
    sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    """Expected SHA-256 of the file with the weights."""
    scope: Literal["all", "backbone", "without-heads"] = "all"
    """Which weights are taken, if their names and shapes fit: `all` includes the heads, with the
    rows of the classes whose names are in both data sets."""
    renamed: tuple[str, ...] = ()
    """Classes that have another name in this data set, each `old=new`."""
    expected: str | None = None
    """Weights that the recipe was made for; a training without a source warns."""


class FreezeConfig(Section):
    """The parts of the network that a training leaves as they are."""

    stages: NonNegativeInt = 0
    """Stages of the backbone, counted from the image; `docs/recipes.md` lists them."""
    names: tuple[str, ...] = ()
    """Further arrays by name, with `*` for any text, for example `extras.*`."""
    statistics: bool = True
    """Whether the norms of these parts also keep their mean and variance."""


class TrainConfig(Section):
    """How a detector is trained."""

    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    loss_scale: LossScaleConfig = LossScaleConfig()
    schedule: ScheduleConfig
    batch_size: PositiveInt
    """Images per optimizer step, over all devices."""
    repeat_threshold: float | None = Field(default=None, gt=0, le=1)
    """Share of the images below which a class is rare: images with it are taken more often, and
    others less (repeat factor sampling). An epoch keeps its length. None takes all equally often.
    """
    micro_batch_size: PositiveInt | None = None
    """Images that a device computes at once; the gradients of these parts of a batch are added up.
    None takes all images of the device. Norms take the statistics of a part."""
    virtual_shards: PositiveInt | None = None
    """Equal parts of the batch, a power of 2, that are computed apart and added up in a fixed
    order: then the weights depend neither on the number of ranks, which must divide it, nor on
    that of processors. Each part uses one processor. None for none; PyTorch on CPUs only."""
    epochs: PositiveFloat
    """Passes over the training split."""
    start_epoch: NonNegativeInt = 0
    """Epochs that are left out: training begins with the images and the learning rate of this one,
    and ends after `epochs`. For weights that have been trained so far elsewhere."""
    steps: PositiveInt | None = None
    """Number of optimizer steps; None computes it from `epochs`."""
    matching: MatchingSpec = MatchingSpec()
    classification_loss: ClassificationLossSpec = SoftmaxLossSpec()
    loss_divisor: LossDivisor = "batch"
    """`batch`: the sum of all losses is divided by the positives of the global batch, at least 1
    (torchvision, MindSpore); `batch_at_least_one`: an image without positives counts as one in that
    divisor (mmdetection); `image`: the loss of each image is divided by its own positives, at least
    1, and the batch takes the mean (NVIDIA)."""
    init: InitConfig = InitConfig()
    freeze: FreezeConfig = FreezeConfig()
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights per step, at most (1 + n) / (10 + n)
    after n steps; evaluations and models then have the averages. None for none."""
    precision: Precision = "auto"
    """In which the network computes; its weights, the loss and the optimizer stay in fp32. `auto`
    selects bf16 if the device has instructions for it."""
    compile: bool = False
    """Whether the network is compiled by torch.compile, which takes a minute or more at each start;
    where that fails, the training goes on without it and logs why. Compiled code rounds in another
    way, so it is part of what identifies a training. PyTorch only."""
    seed: int = Field(default=1, ge=0, lt=2**64)
    """Seed of the initial weights, of the order of the images and of their augmentation."""
    checkpoint_interval: PositiveInt = 200
    """Steps between checkpoints."""
    keep_checkpoints: int = Field(default=2, ge=2)
    """Newest checkpoints that stay, besides that of the best evaluation; the second newest serves
    if the newest is damaged."""
    keep_every_epochs: PositiveFloat | None = None
    """Epochs between further checkpoints that stay; None for none."""
    log_interval: PositiveInt = 20
    """Steps between log lines."""
    log: tuple[Literal["tensorboard", "mlflow"], ...] = ()
    """Programs that also receive the training curves; each needs the optional package of the same
    name."""
    evaluate_every: PositiveInt | None = None
    """Steps between evaluations on the val split, as set in the section `evaluate`; the best
    weights are kept. None keeps the last weights."""
    validation_loss: bool = False
    """Whether these evaluations measure the loss too, `val_loss`, on unchanged images."""
    best_metric: Literal["ap", "ap50", "ap75", "val_loss"] = "ap"
    """Metric of these evaluations by which weights are the best."""
    patience: PositiveInt | None = None
    """Evaluations in a row without a better one after which the training ends; None for all
    epochs."""
    all_reduce_fusion: tuple[NonNegativeInt, ...] = ()
    """Ascending indices of weights: the gradients up to each are summed over the ranks in one
    message. Empty for one message; only MindSpore on GPUs and NPUs sends several."""
    loader_threads: PositiveInt | None = None
    """Threads that decode and augment images; None takes as many as this process has processors.
    The images do not depend on it."""

    @property
    def peak_rate(self) -> float:
        """The learning rate for this batch size."""
        base = self.optimizer.rate_batch_size or self.batch_size
        return self.optimizer.learning_rate * (self.batch_size / base)

    @field_validator("batch_size", mode="before")
    @classmethod
    def _size_is_known(cls, size: object) -> object:
        if size == "auto":
            raise ValueError(
                "the largest batch depends on the device; find it there with "
                "'ssd train --batch-size auto', then set its number"
            )
        return size

    @field_validator("all_reduce_fusion")
    @classmethod
    def _indices_ascend(cls, indices: tuple[int, ...]) -> tuple[int, ...]:
        if sorted(set(indices)) != list(indices):
            raise ValueError("expected ascending indices")
        return indices

    @model_validator(mode="after")
    def _shards_divide_the_batch(self) -> "TrainConfig":
        shards = self.virtual_shards
        if shards is not None and (shards & (shards - 1) or self.batch_size % shards):
            raise ValueError(
                f"virtual_shards {shards} is not a power of 2 that divides batch_size "
                f"{self.batch_size}"
            )
        if shards is not None and self.compile:
            raise ValueError("virtual_shards computes in threads, compile does not; leave one out")
        return self

    @model_validator(mode="after")
    def _evaluations_measure_what_is_used(self) -> "TrainConfig":
        if self.patience is not None and self.evaluate_every is None:
            raise ValueError("patience counts evaluations; set evaluate_every too")
        if self.best_metric == "val_loss" and not self.validation_loss:
            raise ValueError("best_metric 'val_loss' needs validation_loss")
        return self

    @model_validator(mode="after")
    def _scores_fit_the_loss(self) -> "TrainConfig":
        scores = "softmax" if self.classification_loss.name == "softmax" else "sigmoid"
        if self.model.postprocess.scores != scores:
            raise ValueError(
                f"classification_loss '{self.classification_loss.name}' needs "
                f"model.postprocess.scores '{scores}'"
            )
        return self

    @model_validator(mode="after")
    def _something_is_left_to_train(self) -> "TrainConfig":
        if self.start_epoch and self.steps is not None:
            raise ValueError("start_epoch counts within epochs; leave steps at null")
        if self.start_epoch >= self.epochs:
            raise ValueError(
                f"start_epoch {self.start_epoch} leaves none of {self.epochs:g} epochs"
            )
        return self
