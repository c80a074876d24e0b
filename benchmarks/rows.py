"""The rows of the tables in `docs/performance.md` and `README.md`: work, peer, target, script."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_args

from benchmarks.interleaved import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measured value with its target."""

    script: str
    """Module of `benchmarks` that measures it."""
    work: str
    peer: str = ""
    packages: tuple[str, ...] = ()
    """Distributions of the peer."""
    unit: str = "CPU"
    """Of the value; a clock stands for a ratio of times on it."""
    target: float | None = None
    """Upper limit of the value; None if the row only explains another one."""

    @property
    def clock(self) -> Clock | None:
        """The clock of a ratio."""
        return next((clock for clock in get_args(Clock) if clock == self.unit), None)


_TORCH = ("torchvision", "torch")


def _scale(work: str, **changes: object) -> Row:
    values = {"script": "scale", "peer": "a tenth of the images", "target": 11} | changes
    return Row(work=work, **values)  # type: ignore[arg-type]


ROWS: Mapping[str, Row] = {
    "convert-arrow": Row(
        script="convert_arrow",
        work="convert to Arrow, image headers checked",
        peer="read, append and SHA-256 of the same bytes, then `fsync`",
        unit="wall",
        target=1.3,
    ),
    "convert-arrow-cpu": Row(
        script="convert_arrow",
        work="the same, over all threads",
        peer="the same",
    ),
    "convert-decoded": Row(
        script="convert_decode_check",
        work="convert to Arrow, every image decoded",
        peer="read and decode the images",
        packages=("simplejpeg",),
        unit="wall",
        target=1.2,
    ),
    "convert-mindrecord": Row(
        script="convert_mindrecord",
        work="convert to MindRecord",
        peer="one row per call into 8 files",
        packages=("mindspore",),
        unit="wall",
        target=0.3,
    ),
    "json-small": Row(
        script="coco_json",
        work="COCO JSON to arrays, a small file",
        peer="`json.load`, which stops at dicts",
        target=0.12,
    ),
    "json-large": Row(
        script="coco_json",
        work="COCO JSON to arrays, a file as large as COCO's",
        peer="`json.load`, which stops at dicts",
        target=0.12,
    ),
    "augment-mmdet": Row(
        script="augment",
        work="decoding and SSD augmentation, one thread",
        peer="the order of mmdetection 3.x in OpenCV",
        packages=("opencv-python-headless",),
        target=0.37,
    ),
    "augment-mindspore": Row(
        script="augment",
        work="the same, with MindSpore's augmentation",
        peer="MindSpore's chain: OpenCV, NumPy, targets of the anchors, normalisation",
        packages=("opencv-python-headless",),
        target=0.667,
    ),
    "matching": Row(
        script="matching",
        work="matching and encoding, 32 images, one thread",
        peer="NumPy, image by image, as in MindSpore's input pipeline",
        packages=("numpy",),
        target=1,
    ),
    "matching-losses": Row(
        script="matching",
        work="the same with losses and gradients",
        peer="the same, without losses",
        packages=("numpy",),
    ),
    "loader-mmdet": Row(
        script="loader",
        work="whole loader, 2 threads",
        peer="torch's DataLoader, 2 workers, the order of mmdetection 3.x in OpenCV",
        packages=("torch", "opencv-python-headless"),
        unit="wall",
        target=0.4,
    ),
    "loader-mindspore": Row(
        script="loader",
        work="the same, with MindSpore's augmentation",
        peer="torch's DataLoader, 2 workers, MindSpore's chain",
        packages=("torch", "opencv-python-headless"),
        unit="wall",
        target=0.667,
    ),
    "reading": Row(
        script="reading",
        work="reading in training order, no decode",
        peer="`pread` of each image into one buffer",
        target=0.3,
    ),
    "training-fp32": Row(
        script="training_step",
        work="training step of SSD300-VGG16, batch 8, fp32, one thread",
        peer="torchvision in fp32, the same weights",
        packages=_TORCH,
        target=0.85,
    ),
    "training-bf16": Row(
        script="training_step",
        work="the same in bf16 (`avx512_bf16`)",
        peer="the same",
        packages=_TORCH,
        target=0.42,
    ),
    "training-amx": Row(
        script="training_step",
        work="the same in bf16 (AMX)",
        peer="the same",
        packages=_TORCH,
        target=0.2,
    ),
    "shards-ssd300_vgg16": Row(
        script="virtual_shards",
        work="training step in 4 virtual shards, `ssd300_vgg16`, 2 threads",
        peer="the same step without them",
        unit="wall",
        target=1.15,
    ),
    "shards-demo": Row(
        script="virtual_shards",
        work="the same, `demo`",
        peer="the same",
        unit="wall",
        target=1.15,
    ),
    "launches": Row(
        script="launches",
        work="matching, losses and gradients of 64 images",
        peer="the losses of torchvision",
        packages=_TORCH,
        unit="calls of aten",
        target=150,
    ),
    "detection-fp32-1": Row(
        script="inference",
        work="detection with SSD300-VGG16, batch 1, fp32, one thread",
        peer="torchvision in fp32, the same weights",
        packages=_TORCH,
    ),
    "detection-fp32-8": Row(
        script="inference",
        work="the same, batch 8",
        peer="the same",
        packages=_TORCH,
    ),
    "detection-bf16-1": Row(
        script="inference",
        work="the same in bf16 (`avx512_bf16`), batch 1",
        peer="the same",
        packages=_TORCH,
        target=0.45,
    ),
    "detection-bf16-8": Row(
        script="inference",
        work="the same in bf16 (`avx512_bf16`), batch 8",
        peer="the same",
        packages=_TORCH,
        target=0.4,
    ),
    "detection-amx-1": Row(
        script="inference",
        work="the same in bf16 (AMX), batch 1",
        peer="the same",
        packages=_TORCH,
        target=0.2,
    ),
    "detection-amx-8": Row(
        script="inference",
        work="the same in bf16 (AMX), batch 8",
        peer="the same",
        packages=_TORCH,
        target=0.15,
    ),
    "sparse-1": Row(
        script="postprocessing",
        work="post-processing, sparse outputs, batch 1, one thread",
        peer="torchvision's `postprocess_detections`",
        packages=_TORCH,
        target=0.4,
    ),
    "sparse-8": Row(
        script="postprocessing",
        work="the same, batch 8",
        peer="the same",
        packages=_TORCH,
        target=0.4,
    ),
    "dense-1": Row(
        script="postprocessing",
        work="the same, dense outputs (270,000 scores per image), batch 1",
        peer="the same",
        packages=_TORCH,
        target=0.4,
    ),
    "dense-8": Row(
        script="postprocessing",
        work="the same, dense outputs, batch 8",
        peer="the same",
        packages=_TORCH,
        target=0.4,
    ),
    "coco-evaluation": Row(
        script="coco_evaluation",
        work="COCO evaluation, 100 detections per image",
        peer="pycocotools, the same arrays and twelve numbers",
        packages=("pycocotools",),
        unit="wall",
        target=0.02,
    ),
    "report-time": Row(
        script="report",
        work="report of 5,000 images, 500,000 detections",
        unit="s",
        target=30,
    ),
    "report-memory": Row(script="report", work="the same, peak memory", unit="MB", target=1000),
    "checkpoint": Row(
        script="checkpoint",
        work="pause by a checkpoint, 274 MB",
        peer="write, `fsync` and SHA-256 of the same bytes",
        unit="wall",
        target=1.2,
    ),
    "startup": Row(
        script="startup",
        work="`ssd --help`",
        peer="`--help` of a typer program of one line",
        packages=("typer",),
    ),
    "scale-check": _scale("growth of `ssd check --no-decode` with the data set"),
    "scale-convert": _scale("the same, `ssd convert`"),
    "scale-verify": _scale("the same, `ssd verify`"),
    "scale-epoch": _scale("the same, an epoch in training order, not decoded"),
    "scale-evaluate": _scale("the same, `ssd evaluate`"),
    "scale-memory": _scale(
        "memory of `ssd convert` per additional image", peer="", unit="KB", target=1
    ),
    "demo": Row(
        script="demo", work="the demo, from images to the report", unit="minutes", target=4
    ),
}
"""By the name in `benchmarks/figures.json`."""

README_ROWS = ("augment-mmdet", "loader-mmdet", "sparse-1", "coco-evaluation")
"""Those that the README shows."""
