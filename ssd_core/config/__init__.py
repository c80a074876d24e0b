"""One frozen model per stage.

The string below a field documents it. Defaults live here and in recipes, nowhere else.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from ssd_core.config.augment import (
    AugmentConfig,
    ColourFactorsSpec,
    CropRule,
    PhotometricSpec,
)
from ssd_core.config.method import (
    AnchorLevel,
    ClassificationLossSpec,
    FocalLossSpec,
    LossDivisor,
    MatchingSpec,
    ModelConfig,
    NormSpec,
    PostprocessOverrides,
    PostprocessSpec,
    PyramidSpec,
    SoftmaxLossSpec,
)
from ssd_core.config.section import (
    Section,
    Share,
    differences,
    explain,
    first_problem,
    keys_of,
    parse_section,
)
from ssd_core.config.train import (
    MAX_LOSS_SCALE,
    FreezeConfig,
    InitConfig,
    LossScaleConfig,
    OptimizerConfig,
    Precision,
    ScheduleConfig,
    TrainConfig,
)

__all__ = [
    "AnchorLevel",
    "AugmentConfig",
    "ClassificationLossSpec",
    "ColourFactorsSpec",
    "CropRule",
    "FocalLossSpec",
    "FreezeConfig",
    "InitConfig",
    "LossDivisor",
    "LossScaleConfig",
    "MAX_LOSS_SCALE",
    "MatchingSpec",
    "ModelConfig",
    "NormSpec",
    "OptimizerConfig",
    "PhotometricSpec",
    "PostprocessOverrides",
    "PostprocessSpec",
    "Precision",
    "PredictConfig",
    "PredictionFormat",
    "PyramidSpec",
    "ScheduleConfig",
    "Section",
    "SoftmaxLossSpec",
    "TrainConfig",
    "differences",
    "explain",
    "first_problem",
    "keys_of",
    "parse_section",
]

LabelFormat = Literal["auto", "coco", "voc", "yolo", "txt"]
SourceFormat = Literal[LabelFormat, "mindrecord"]
Policy = Literal["strict", "repair", "skip"]
Crowd = Literal["keep", "object"]
ShardFormat = Literal["arrow", "mindrecord"]
TxtOrder = Literal["xy", "yx"]
SplitName = Literal["train", "val", "test"]
ImageSet = Literal["all", "mindspore"]
FrameworkName = Literal["torch", "mindspore"]
ExportPrecision = Literal["fp32", "fp16", "int8"]
RuntimeName = Literal["onnxruntime", "openvino"]
ResumeRule = Literal["strict", "auto", "fresh"]
PredictionFormat = Literal["jsonl", "coco", "yolo"]
DeviceName = Literal["auto", "cpu", "cuda", "npu"]

SCORE_THRESHOLD = 0.5
"""Lowest score of a detection that people see: predicted, drawn, or counted as a confusion."""


class ConvertConfig(Section):
    """How a source data set becomes shards."""

    format: SourceFormat = "auto"
    """Format of the source; `auto` detects it from the content and logs what it found."""
    train: str | None = None
    """Path of the training split inside the source; None tries the usual names."""
    val: str | None = None
    """Path of the evaluation split; None tries the usual names, else takes a fixed fifth of the
    images by hash."""
    test: str | None = None
    """Path of the test split, which only evaluation with `evaluate.split=test` reads; None takes
    the one named `test` beside an evaluation split, if there is one."""
    images: str | None = None
    """Folder of the images inside the source, for annotations that do not name it."""
    classes: tuple[str, ...] | None = None
    """Classes in label order, each `name` or `old=new`; None takes those of the source. Objects of
    other classes are dropped and counted; several with the same new name become one class."""
    policy: Policy = "strict"
    """Effect of an error finding: stop, apply the documented repair, or drop the sample."""
    max_skipped: Share = 0.01
    """Largest fraction of samples that policy `skip` may drop."""
    txt_order: TxtOrder = "xy"
    """Column order of TXT boxes: x first as MindSpore documents, or y first as its code read."""
    crowd: Crowd = "keep"
    """Meaning of a box around a group: `keep` excludes it from matching and evaluation, as COCO
    does; `object` trains on it like on any other box, as MindSpore's SSD did. Evaluation excludes
    it in either case."""
    voc_offset: Literal[0, 1] = 0
    """Subtracted from VOC coordinates; 1 if pixels are counted from 1, as in original VOC."""
    max_pixels: PositiveInt = 50_000_000
    """Largest accepted image, width times height."""
    decode_check: bool = False
    """Whether to decode every image, which finds damage inside JPEG data at several times the cost;
    all other formats are checked completely without it."""
    shards: ShardFormat = "arrow"
    """Format of the result; `mindrecord` is what MindSpore's SSD reads, and needs MindSpore."""
    shard_bytes: PositiveInt = 64 * 2**20
    """Size of the images at which an Arrow shard is closed; MindRecord has one file per split."""


class EvaluateConfig(Section):
    """How accuracy is measured."""

    postprocess: PostprocessOverrides = PostprocessOverrides()
    split: SplitName = "val"
    """Split to evaluate."""
    images: ImageSet = "all"
    """Images that count: `all`, as in COCO's figures, or `mindspore`, without images that have a
    crowd or no objects, as MindSpore's SSD measured; the two figures are not comparable."""
    voc_ap: bool = False
    """Whether to add VOC's average precision by the rules of 2007 and of 2012."""
    closing_line: bool = False
    """Whether the figures end with the line `mAP: 0.238`, as those of MindSpore's SSD did."""
    batch_size: PositiveInt = 8
    """Images per forward pass; it changes results by no more than rounding."""


class PredictConfig(Section):
    """How objects are detected in images; not a part of recipes."""

    score: float = Field(default=SCORE_THRESHOLD, gt=0, lt=1)
    """Lowest score of a detection."""
    batch_size: PositiveInt = 8
    """Images, or tiles, per forward pass; it changes results by no more than rounding."""
    tile: PositiveInt | None = None
    """Side in pixels of the tiles in which a larger image is searched besides the whole; None for
    the whole alone."""
    tile_overlap: float = Field(default=0.2, ge=0, le=0.5)
    """Least fraction of a tile that its neighbour shares: an object of that size is whole in one of
    them."""
    format: PredictionFormat = "jsonl"
    """`jsonl`: `predictions.jsonl`, a line per image; `coco`: `detections.json` in the COCO results
    format, and `images.json` with the ids; `yolo`: `labels/`, a text file per image."""
    has_pictures: bool = True
    """Whether copies of the images with drawn boxes are written."""


class BenchmarkConfig(Section):
    """How speed is measured."""

    postprocess: PostprocessOverrides = PostprocessOverrides()
    batch_sizes: tuple[PositiveInt, ...] = Field(default=(1, 8), min_length=1)
    """Images per forward pass; each size is measured separately."""
    seconds: PositiveFloat = 3.0
    """Measuring time per batch size, after the warm-up."""
    train_steps: NonNegativeInt = 0
    """Steps of a training whose speed is measured too, data loading included; 0 for none."""
    fail_on_regression: NonNegativeFloat | None = None
    """Percent of the median of a series by which a speed may be lower; one that is lower and
    outside the noise of the series fails the run. None for no limit."""

    @model_validator(mode="before")
    @classmethod
    def _read_earlier_models(cls, values: Any) -> Any:
        """Replace the two keys that models of an earlier format have, always together."""
        if not isinstance(values, Mapping) or not (found := values.keys() & _EARLIER_KEYS):
            return values
        if found != _EARLIER_KEYS:  # of a recipe file or an option, not of a model
            raise ValueError(
                f"'{found.pop()}' no longer exists; set benchmark.fail_on_regression to the "
                "percent by which a speed may be lower than the median of its series"
            )
        limit = 0.0 if values["fail_if_slower"] else None
        kept = {name: value for name, value in values.items() if name not in _EARLIER_KEYS}
        return {"fail_on_regression": limit, **kept}


_EARLIER_KEYS = {"tolerance", "fail_if_slower"}
"""Of a benchmark whose tolerance was fixed instead of measured."""


class ReportConfig(Section):
    """The content of the report."""

    title: str | None = None
    """Headline; None composes it of recipe and data set."""
    images: int = Field(default=9, ge=0)
    """Number of images with most errors that are shown."""
    score_threshold: float = Field(default=SCORE_THRESHOLD, gt=0, lt=1)
    """Lowest score of a box that is drawn."""


class PublishConfig(Section):
    """The requirements of a model that is published."""

    min_ap: Share = 0.0
    """Lowest AP (IoU 0.50:0.95, all areas); 0 for no requirement."""
    min_images_per_second: float = Field(default=0.0, ge=0)
    """Lowest throughput; 0 for no requirement."""


class Recipe(Section):
    """A complete configuration: one section per stage."""

    name: str
    """The name that `--recipe` takes."""
    description: str
    """One line for the list of recipes."""
    convert: ConvertConfig = ConvertConfig()
    train: TrainConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    benchmark: BenchmarkConfig = BenchmarkConfig()
    report: ReportConfig = ReportConfig()
    publish: PublishConfig = PublishConfig()
