"""The shape of `invocation.json` and `results.json` that a reader takes for granted.

More keys are welcome: a report shows every metric that it finds.
"""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ssd_core.metrics import END_TO_END, PARTS
from ssd_core.store.known_file import KnownFile

_Count = Annotated[int, Field(ge=0)]
_Interval = Annotated[list[float], Field(min_length=2, max_length=2)]


class _Shape(BaseModel):
    model_config = ConfigDict(strict=True, allow_inf_nan=False)


class _Source(_Shape):
    uri: str
    digest: str


class Request(_Shape):
    """`invocation.json`."""

    stage: str
    version: str
    config: dict[str, Any]
    inputs: dict[str, _Source]
    options: dict[str, Any]


class Frame(_Shape):
    """The part of `results.json` that every stage has."""

    invocation: str
    files: list[KnownFile]
    metrics: dict[str, float | None] = {}


class _Model(_Shape):
    recipe: str
    step: int
    training_id: str


class _Environment(_Shape):
    device_name: str
    precision: str


class _Run(_Shape):
    host: str
    begun: str
    seconds: float


class _Measured(_Shape):
    metrics: dict[str, float | None]
    model: _Model
    environment: _Environment


class _Class(_Shape):
    label: Annotated[int, Field(ge=1)]
    name: str
    objects: _Count
    sizes: dict[str, _Count]
    ap: float | None
    ap50: float | None
    missed: _Count
    false: _Count
    precision_at_recall: Annotated[list[float], Field(min_length=101, max_length=101)] | None


class _Error(_Shape):
    count: _Count
    ap50_cost: float


class _Curves(_Shape):
    threshold: list[float]
    precision: list[float]
    recall: list[float]
    f1: list[float]

    @model_validator(mode="after")
    def _are_equally_long(self) -> "_Curves":
        if len({len(self.threshold), len(self.precision), len(self.recall), len(self.f1)}) > 1:
            raise ValueError("expected curves of equal length")
        return self


class _Bin(_Shape):
    score: float
    precision: float
    detections: _Count


class _WorstImage(_Shape):
    row: _Count
    image_id: int
    objects: _Count
    missed: _Count
    false: _Count


class _Confusion(_Shape):
    classes: Annotated[list[str], Field(min_length=1)]
    matrix: list[list[_Count]]
    among_others: _Count = 0

    @model_validator(mode="after")
    def _is_square(self) -> "_Confusion":
        size = len(self.classes)
        if [len(row) for row in self.matrix] != [size] * size:
            raise ValueError(f"expected a matrix of {size} x {size}")
        return self


class _Data(_Shape):
    name: str
    split: str


class _Evaluated(_Measured):
    run: _Run
    image_set: str
    images: _Count
    skipped_images: _Count
    objects: _Count
    detections: _Count
    classes: list[_Class]
    sizes: dict[str, _Count]
    aspects: dict[str, _Count] = {}
    errors: Annotated[dict[str, _Error], Field(min_length=1)]
    thresholds: _Curves
    calibration: list[_Bin]
    min_score: float
    confusion: _Confusion
    worst_images: list[_WorstImage]
    intervals: dict[str, _Interval | None] = {}
    data: _Data


class _Percentiles(_Shape):
    p50: float
    p90: float
    p99: float


class _WarmUp(_Shape):
    batches: _Count
    is_stable: bool


class _Batch(_Shape):
    batch_size: Annotated[int, Field(ge=1)]
    images_per_second: float
    milliseconds: dict[str, _Percentiles]
    warm_up: _WarmUp

    @model_validator(mode="after")
    def _has_all_parts(self) -> "_Batch":
        if missing := {*PARTS, END_TO_END} - self.milliseconds.keys():
            raise ValueError(f"milliseconds of '{min(missing)}' are missing")
        return self


class _Images(_Shape):
    origin: str
    count: _Count
    mean_bytes: _Count


class _Verdict(_Shape):
    """Without a margin in results of an earlier version."""

    value: float
    earlier: list[float] = []
    median: float | None
    margin: float | None = None
    comparison: str

    @model_validator(mode="after")
    def _has_centre(self) -> "_Verdict":
        if self.margin is not None and self.median is None:
            raise ValueError("the median of the margin is missing")
        return self


class _Timed(_Measured):
    run: _Run
    verdict: _Verdict | None = None
    batches: Annotated[list[_Batch], Field(min_length=1)]
    images: _Images


class LogLine(_Shape):
    """A line of the log of a training that becomes part of a chart."""

    step: int
    ap: float = 0
    ap50: float = 0


class StepLine(LogLine):
    """A line about steps."""

    samples: _Count
    epoch: float
    seconds: Annotated[float, Field(gt=0)]
    loss: float
    learning_rate: float


class _WholeRecipe(_Shape):
    train: dict[str, Any]


class _TrainRequest(Request):
    config: _WholeRecipe  # type: ignore[assignment]


class _Split(_Shape):
    split: str


class _EvaluateRequest(Request):
    config: _Split  # type: ignore[assignment]


REPORTED: dict[str, tuple[type[BaseModel], type[BaseModel], tuple[str, ...]]] = {
    "train": (_TrainRequest, _Measured, ("dataset",)),
    "import-weights": (Request, _Shape, ("weights",)),
    "evaluate": (_EvaluateRequest, _Evaluated, ("model", "dataset")),
    "benchmark": (Request, _Timed, ("model",)),
}
"""Stages whose outputs others read: shape of the invocation and of the results, input names."""
