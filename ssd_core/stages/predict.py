"""Detect objects in image files: boxes as JSON lines and drawn into copies."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.config import PostprocessOverrides
from ssd_core.data.decode import decode_image, resize_image
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError, located
from ssd_core.logs import Progress, logger
from ssd_core.report.images import draw_detections
from ssd_core.stages.detector import OpenedModel, open_model
from ssd_core.stages.frame import Invocation, Results, run_stage
from ssd_core.store import Location
from ssd_core.store.local import write_file
from ssd_core.structures import ClassInfo, Detections, StageResult

PREDICTIONS_FILE = "predictions.jsonl"
PICTURES_DIR = "pictures"


def run(
    config: PostprocessOverrides,
    model_dir: Location,
    images: Sequence[Path],
    out_dir: Location,
    *,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Detect objects in image files.

    Writes `predictions.jsonl`, one line per image, and `pictures/`, copies with the boxes drawn.

    Args:
        config: overrides of the model's post-processing; detections below its score threshold are
            neither written nor drawn.
        model_dir: output of `train`, or its `model` folder.
        images: image files, and folders that are searched for them.
        out_dir: directory of the results.
        framework: framework to run in.
        device: device to run on.

    Raises:
        UsageError: a file does not exist, or a folder has no image.
        DataError: a file is not a readable image.
    """
    paths = find_images(images, leave_out=out_dir.local)
    model = open_model(model_dir, config, framework=framework, device=device)
    invocation = Invocation(
        stage="predict",
        config=config,
        inputs={"model": model.source},
        options={
            "images": [str(path.resolve()) for path in images],
            "framework": framework,
            "device": device,
        },
    )

    def work(folder: Path) -> Results:
        lines = []
        with Progress("predict: image", len(paths)) as progress:
            for path, name in zip(paths, picture_names(paths), strict=True):
                lines.append(_predict(model, path, folder, f"{PICTURES_DIR}/{name}"))
                progress.update(len(lines))
        write_file(folder / PREDICTIONS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
        return {
            "images": len(lines),
            "detections": sum(len(line["detections"]) for line in lines),
        }

    counts = run_stage(invocation, out_dir, work)
    images_found = f"{counts['images']} image{'' if counts['images'] == 1 else 's'}"
    logger.info(
        "found %d objects in %s: %s", counts["detections"], images_found, out_dir / PICTURES_DIR
    )
    return StageResult(metadata={name: float(count) for name, count in counts.items()})


def find_images(paths: Sequence[Path], *, leave_out: Path | None) -> list[Path]:
    """Return the given files, and the images below the given folders, each once.

    Args:
        paths: files and folders.
        leave_out: a folder to skip, because it has images of an earlier run.

    Raises:
        UsageError: a path does not exist, or a folder has no image.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if _is_image(file, leave_out))
            if not inside:
                raise UsageError(f"{path}: the folder has no images ({' '.join(IMAGE_SUFFIXES)})")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            found[path] = None
        else:
            raise UsageError(f"{path}: the file or folder does not exist")
    return list(found)


def _is_image(path: Path, leave_out: Path | None) -> bool:
    if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
        return False
    if leave_out is None:
        return True
    # Unlike `Path.resolve`, `realpath` accepts a link to itself.
    return Path(os.path.realpath(leave_out)) not in Path(os.path.realpath(path)).parents


def picture_names(paths: Sequence[Path]) -> list[str]:
    """Return a unique file name for the copy of each image."""
    names: list[str] = []
    taken: set[str] = set()  # in lower case, for file systems that ignore case
    for path in paths:
        number, name = 1, f"{path.stem}.jpg"
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}-{number}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names


def _predict(model: OpenedModel, path: Path, out_dir: Path, picture: str) -> dict[str, Any]:
    """Write a copy of the image with the boxes drawn, and return the line of the image."""
    with located(str(path)):
        pixels = decode_image(_read_image(path))
    height, width = pixels.shape[:2]
    scaled = resize_image(pixels, model.detector.image_size)
    [found] = model.detector.detect(scaled[np.newaxis], [(width, height)])
    write_file(out_dir / picture, draw_detections(pixels, found, model.classes))
    return {
        "image": str(path),
        "picture": picture,
        "width": width,
        "height": height,
        "detections": _plain(found, model.classes),
    }


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the image cannot be read: {error.strerror}") from None


def _plain(found: Detections, classes: Sequence[ClassInfo]) -> list[dict[str, Any]]:
    """Return detections as plain values, boxes as x0, y0, x1, y1 in pixels."""
    return [
        {
            "class": classes[label - 1].name,
            "score": round(score, 4),
            "box": [round(value, 1) for value in box],
        }
        for box, score, label in zip(
            found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True
        )
    ]
