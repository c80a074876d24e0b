"""Train, evaluate, benchmark and publish SSD object detectors.

Detect objects with a trained model:

    from ssd_core import load_detector

    detector = load_detector("trained")  # output of `ssd train`: a path or s3://bucket/prefix
    found = detector("photo.jpg")  # or s3://bucket/key, or pixels [H, W, 3] RGB
    print(found.names, found.scores, found.boxes, found.to_json())
    found.draw().save("found.jpg")

All other work is done by commands: `ssd --help`.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssd_core.stages.detector import OpenedModel

__all__ = ["load_detector"]
__version__ = "0.1.0"


def load_detector(
    model: str | os.PathLike[str],
    *,
    score: float | None = None,
    framework: str = "torch",
    device: str = "auto",
) -> "OpenedModel":
    """Open a trained model; call the result with an image to detect objects in it.

    Args:
        model: output of `ssd train`, or its `model` folder: a path or `s3://bucket/prefix`.
        score: lowest score of a detection; None takes that of `ssd predict`.
        framework: `torch` or `mindspore`; the other one may have trained the model.
        device: `auto`, `cpu`, `cuda` or `npu`; `auto` takes the fastest.

    Raises:
        DataError: the model does not exist, or is incomplete or damaged.
        UsageError: an argument is invalid, or the device is not available.
        ModuleNotFoundError: the framework is not installed.
    """
    from ssd_core.config import SCORE_THRESHOLD, PostprocessOverrides, parse_section
    from ssd_core.stages.detector import open_model
    from ssd_core.store import Location

    threshold = {"score_threshold": SCORE_THRESHOLD if score is None else score}
    config = parse_section(PostprocessOverrides, threshold, "postprocess")
    location = Location.parse(os.fspath(model))
    return open_model(location, config, framework=framework, device=device)
