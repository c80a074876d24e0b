"""One frozen model per stage.

Each field is documented by the string under it. Defaults live here and in recipes, nowhere else.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from ssd_core.errors import UsageError, unknown_name

SourceFormat = Literal["auto", "coco", "voc", "yolo", "txt", "mindrecord"]
Policy = Literal["strict", "repair", "skip"]
Crowd = Literal["keep", "object"]
ShardFormat = Literal["arrow", "mindrecord"]
TxtOrder = Literal["xy", "yx"]
CropRule = Literal["mmdetection", "torchvision", "mindspore"]
Precision = Literal["auto", "fp32", "bf16"]
SplitName = Literal["train", "val"]
FrameworkName = Literal["torch", "mindspore"]
DeviceName = Literal["auto", "cpu", "cuda", "npu"]
Share = Annotated[float, Field(ge=0, le=1)]
"""A part of a whole, or a probability."""


class Section(BaseModel):
    """Base of all configuration: frozen, and an unknown key is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


SectionT = TypeVar("SectionT", bound=Section)


class ConvertConfig(Section):
    """How a source data set becomes shards."""

    format: SourceFormat = "auto"
    """Format of the source; `auto` looks at its content and says what it saw."""
    train: str | None = None
    """Where the training split is inside the source; None finds the usual names."""
    val: str | None = None
    """Where the evaluation split is; None finds the usual names, else takes a fixed fifth by image
    hash."""
    images: str | None = None
    """Folder of the images inside the source, where the annotations do not say."""
    classes: tuple[str, ...] | None = None
    """Classes in label order, each `name` or `old=new`; None takes those of the source. Objects of
    other classes are left out and counted; several with the same new name become one class."""
    policy: Policy = "strict"
    """What an error finding does: stop, apply the documented repair, or drop the sample."""
    max_skipped: Share = 0.01
    """Largest share of samples that policy `skip` may drop."""
    txt_order: TxtOrder = "xy"
    """Column order of TXT boxes: x first as its documentation says, or y first as its code read."""
    crowd: Crowd = "keep"
    """What a box around a group is: `keep` leaves it out of matching and evaluation, as COCO does;
    `object` trains on it like on any other, as MindSpore's SSD did."""
    voc_offset: Literal[0, 1] = 0
    """Subtracted from VOC coordinates; 1 where pixels are counted from 1, as in original VOC."""
    max_pixels: PositiveInt = 50_000_000
    """Largest accepted image, width times height."""
    decode_check: bool = False
    """Also decode every image, which finds damage inside of JPEG, at several times the cost; all
    other formats are checked completely without it."""
    shards: ShardFormat = "arrow"
    """Format of the result; `mindrecord` is what MindSpore's SSD reads, and needs MindSpore."""
    shard_bytes: PositiveInt = 64 * 2**20
    """An Arrow shard is closed when its images reach this size; MindRecord has a file a split."""


class AnchorSpec(Section):
    """Anchors of an SSD, one entry a level, in pixels of the input (SSD paper, section 2.2)."""

    strides: tuple[PositiveInt, ...] = Field(min_length=1)
    """Distance of neighbouring anchor centres."""
    min_sizes: tuple[PositiveFloat, ...]
    """Side of the first square."""
    max_sizes: tuple[PositiveFloat, ...]
    """The second square has the side sqrt(min * max)."""
    ratios: tuple[tuple[PositiveFloat, ...], ...]
    """For each r one wide box (r : 1) and one tall box (1 : r) of the first square's area."""
    clip_sizes: bool = False
    """Limit width and height to the input size: torchvision and NVIDIA do, mmdetection does not."""

    @model_validator(mode="after")
    def _levels_agree(self) -> "AnchorSpec":
        lengths = {len(self.strides), len(self.min_sizes), len(self.max_sizes), len(self.ratios)}
        if len(lengths) != 1:
            raise ValueError(
                "strides, min_sizes, max_sizes and ratios must have one entry a level each"
            )
        return self

    @property
    def boxes_per_cell(self) -> tuple[int, ...]:
        """Number of anchors at each cell, one entry a level."""
        return tuple(2 + 2 * len(ratios) for ratios in self.ratios)


class ModelConfig(Section):
    """The network and what its input must look like; a model directory carries it."""

    backbone: Literal["vgg16", "residual"]
    """`vgg16`: the paper's network with conv4_3 normalised; `residual`: five small basic blocks
    with batch normalisation."""
    image_size: PositiveInt
    """Side of the square network input in pixels."""
    mean: tuple[float, float, float]
    """Subtracted from the RGB values 0..255."""
    std: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    """Divides the RGB values after the mean is subtracted."""
    anchors: AnchorSpec
    background_bias: float = 0.0
    """Initial bias of the background logit; positive where training starts from random weights."""
    variances: tuple[PositiveFloat, PositiveFloat] = (0.1, 0.2)
    """Scale of the centre and of the size offsets; torchvision's weights are their inverses."""


class AugmentConfig(Section):
    """Random changes of a training image, in the order of application (SSD paper, section 2.2)."""

    zoom_out_probability: Share = 0.5
    """Chance of being put on a larger canvas, filled with the mean."""
    zoom_out_max: float = Field(default=4.0, ge=1)
    """Largest side of the canvas relative to the image."""
    crop_rule: CropRule = "mmdetection"
    """Whose crops are drawn: with enough overlap of every box (`mmdetection`, and the SSD paper's
    words), of the best one (`torchvision`), or by MindSpore's odd test; see
    `data/batches/windows.py`."""
    crop_min_ious: tuple[Share, ...] = (0.1, 0.3, 0.5, 0.7, 0.9, 0.0)
    """One is drawn for each crop, with the choice of no crop added; empty for no crops at all.
    MindSpore's own list ends without the 0."""
    crop_min_scale: float = Field(default=0.3, gt=0, le=1)
    """Smallest side of a crop relative to the image."""
    flip_probability: Share = 0.5
    """Chance of being mirrored from left to right."""
    photometric_probability: Share = 0.5
    """Chance of each of brightness, contrast, saturation, hue and channel permutation."""
    brightness: float = Field(default=32.0, ge=0)
    """Added value is drawn from -b..b, on 0..255."""
    contrast: float = Field(default=0.5, ge=0, lt=1)
    """Factor is drawn from 1-c..1+c."""
    saturation: float = Field(default=0.5, ge=0, lt=1)
    """Factor is drawn from 1-s..1+s."""
    hue: float = Field(default=18.0, ge=0, le=180)
    """Turn is drawn from -h..h degrees."""


class OptimizerConfig(Section):
    """The optimizer."""

    name: Literal["sgd", "adamw"]
    """`sgd` with momentum, or `adamw`."""
    learning_rate: PositiveFloat
    """Peak rate for the global batch as it is configured; it is never scaled silently."""
    weight_decay: float = Field(ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Used by sgd only."""
    decay_norms_and_biases: bool = True
    """False leaves normalisation weights and biases without decay."""


class ScheduleConfig(Section):
    """How the learning rate moves during a run."""

    name: Literal["step", "cosine"]
    """`step` falls at the milestones, `cosine` all the time after the warm-up, to 0."""
    warmup: float = Field(default=0.0, ge=0)
    """Length of the linear warm-up: below 1 a share of the run, from 1 on a number of steps."""
    warmup_ratio: Share = 0.001
    """Rate at the first step relative to the peak."""
    milestones: tuple[Share, ...] = ()
    """Shares of the run at which `step` multiplies the rate by 0.1."""


class TrainConfig(Section):
    """How a detector is trained."""

    model: ModelConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig
    schedule: ScheduleConfig
    batch_size: PositiveInt
    """Images an optimizer step, over all devices."""
    epochs: PositiveFloat
    """Passes over the training split."""
    steps: PositiveInt | None = None
    """Number of optimizer steps; None computes it from `epochs`."""
    iou_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Lowest IoU at which an anchor is positive."""
    neg_to_pos_ratio: PositiveFloat = 3.0
    """Hard negatives kept for each positive."""
    precision: Precision = "auto"
    """`auto` takes bf16 where the device is faster with it."""
    seed: int = Field(default=1, ge=0)
    """Of the initial weights, the order of the images and their augmentation."""
    checkpoint_interval: PositiveInt = 200
    """Steps between checkpoints."""
    log_interval: PositiveInt = 20
    """Steps between log lines."""
    evaluate_every: PositiveInt | None = None
    """Steps between evaluations on the val split, with the defaults of `evaluate`; the best weights
    are kept. None keeps the last weights."""
    loader_threads: PositiveInt = 2
    """Threads that decode and augment."""


class PostprocessSpec(Section):
    """How raw outputs become detections."""

    score_threshold: float = Field(default=0.02, gt=0, lt=1)
    """A detection scores more than this."""
    nms_iou_threshold: float = Field(default=0.45, gt=0, le=1)
    """A box that overlaps a better one of its class by more than this is dropped."""
    topk_candidates: PositiveInt = 400
    """Best candidates a class that enter NMS."""
    max_detections_per_image: PositiveInt = 200
    """The best ones of all classes are kept."""


class EvaluateConfig(Section):
    """How accuracy is measured."""

    postprocess: PostprocessSpec = PostprocessSpec()
    split: SplitName = "val"
    """Whose images are looked at."""
    batch_size: PositiveInt = 8
    """Images a forward pass; does not change the result."""


class BenchmarkConfig(Section):
    """How speed is measured."""

    postprocess: PostprocessSpec = PostprocessSpec()
    batch_sizes: tuple[PositiveInt, ...] = Field(default=(1, 8), min_length=1)
    """Images a forward pass, each measured apart."""
    seconds: PositiveFloat = 3.0
    """Time spent on each batch size after the warm-up."""
    tolerance: Share = 0.05
    """Part by which images/second may differ from the median of a series and count as the same."""
    fail_if_slower: bool = False
    """Whether a result that is slower than its series fails the run."""


class ReportConfig(Section):
    """What the report shows."""

    title: str | None = None
    """Headline; None names recipe and data set."""
    images: int = Field(default=9, ge=0)
    """Sample images with true and found boxes."""
    score_threshold: float = Field(default=0.5, gt=0, lt=1)
    """Lowest score of a box drawn."""


class PublishConfig(Section):
    """What a model must reach to be published."""

    min_ap: Share = 0.0
    """Lowest AP (IoU 0.50:0.95, all areas); 0 asks for none."""
    min_images_per_second: float = Field(default=0.0, ge=0)
    """Lowest throughput; 0 asks for none."""


class Recipe(Section):
    """A complete configuration: one section a stage."""

    name: str
    """What `--recipe` calls it."""
    description: str
    """One line for the list of recipes."""
    convert: ConvertConfig = ConvertConfig()
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    report: ReportConfig = ReportConfig()
    publish: PublishConfig = PublishConfig()


def parse_section(kind: type[SectionT], values: Mapping[str, Any], path: str) -> SectionT:
    """Turn plain values, for example from JSON, into the frozen model `kind`.

    Args:
        kind: model to build.
        values: nested mappings, lists and scalars.
        path: name of the section in error messages, for example "train"; "" for a whole recipe.

    Raises:
        UsageError: an unknown key, with the nearest known one, or a value that does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        details = error.errors(include_url=False)[0]
        if details["type"] == "extra_forbidden":
            raise _unknown_key(kind, details["loc"], path) from None
        raise UsageError(first_problem(error, path)) from None


def first_problem(error: ValidationError, path: str = "") -> str:
    """Say in one line what the first value is that does not fit, and where.

    Args:
        error: of a pydantic model.
        path: name of the whole, before the place inside of it; "" for none.
    """
    details = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in (path, *details["loc"]) if part != "")
    if details["type"] == "missing":
        return f"{place} is missing"
    before = f"{place}: " if place else ""
    expected = details["msg"].lower().partition(" or instance of")[0]
    shown = json.dumps(details["input"], default=str)
    return f"{before}{expected}, got {shown[:80]}"


def differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> list[str]:
    """List the leaves that differ between two nested mappings, as `path: old -> new`."""
    lines = []
    for key in sorted({*old, *new}):
        place, before, after = f"{path}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            lines += differences(before, after, f"{place}.")
        elif before != after:
            lines.append(f"{place}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines


def _unknown_key(kind: type[Section], location: tuple[int | str, ...], path: str) -> UsageError:
    """Name the unknown key with the nearest key of the model it was given to."""
    *parents, key = location
    prefix = "".join(f"{part}." for part in [path, *parents] if part != "")
    known = _model_at(kind, parents).model_fields
    return unknown_name("key", f"{prefix}{key}", [f"{prefix}{name}" for name in known])


def _model_at(kind: type[Section], location: Sequence[int | str]) -> type[Section]:
    """Return the model of a nested value, which may also be optional, or one of several."""
    for name in location:
        if isinstance(name, str):  # a number is a place in a list
            annotation = kind.model_fields[name].annotation
            (kind,) = [
                part
                for part in (annotation, *get_args(annotation))
                if hasattr(part, "model_fields")
            ]
    return kind
