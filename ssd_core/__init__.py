"""Train, evaluate, benchmark and publish SSD object detectors.

Detect objects with a trained model:

    from ssd_core import load_detector

    detector = load_detector("trained")  # output of `ssd train`: a path or s3://bucket/prefix
    found = detector("photo.jpg")  # or s3://bucket/key, bytes of a file, a PIL image, or pixels
    print(found.names, found.scores, found.boxes, found.to_json())
    found.draw().save("found.jpg")

A list of images gives a list, in batches. `stream` reads any number of images ahead on threads:

    for found in detector.stream(["photo.jpg", "photo.jpg"]):
        print(len(found.boxes))

`load_detector("trained", tile=640)` also searches larger images in tiles, for small objects.
All other work is done by commands: `ssd --help`.
"""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ssd_core.stages.prediction.detector import LoadedDetector

__all__ = ["load_detector"]
__version__ = "0.1.0"


def load_detector(
    model: str | os.PathLike[str],
    *,
    score: float | None = None,
    tile: int | None = None,
    batch_size: int | None = None,
    framework: str | None = None,
    device: str = "auto",
) -> "LoadedDetector":
    """Open a trained model; call the result with an image, or a list, to detect objects in it.

    Args:
        model: output of `ssd train`, its `model` folder, or a file of `ssd export --format onnx`:
            a path or `s3://bucket/prefix`.
        score: lowest score of a detection, in (0, 1); None takes that of `ssd predict`, 0.5.
        tile: side in pixels of the overlapping tiles in which a larger image is searched besides
            the whole; None for the whole alone.
        batch_size: images, or tiles, per forward pass; None takes that of `ssd predict`, 8.
        framework: `torch` (default) or `mindspore`, whichever of them trained the model; for an
            exported file `onnxruntime` (default) or `openvino`.
        device: `auto`, `cpu`, `cuda` or `npu`; `auto` takes the fastest.

    Raises:
        DataError: the model is incomplete or damaged.
        UsageError: an argument is invalid, the model does not exist, or the device is not
            available.
        ModuleNotFoundError: the framework is not installed.
    """
    from ssd_core.config import PredictConfig, parse_section
    from ssd_core.stages.detector import choose_framework
    from ssd_core.stages.prediction.detector import open_detector
    from ssd_core.store import Location

    given = {"score": score, "tile": tile, "batch_size": batch_size}
    values = {name: value for name, value in given.items() if value is not None}
    config = parse_section(PredictConfig, values, "")
    location = Location.parse(os.fspath(model))
    chosen = choose_framework(location, framework)
    return open_detector(location, config, framework=chosen, device=device)
