"""The step that looks at pictures: a model and image files in, boxes out, as text and drawn."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ssd_core.config import PostprocessOverrides, parse_section
from ssd_core.data.decode import decode_image, resize_image
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError, located
from ssd_core.logs import Progress, logger
from ssd_core.report.images import draw_detections
from ssd_core.stages.detector import OpenedModel, open_model
from ssd_core.stages.invocation import prepare_out_dir, write_invocation, write_results
from ssd_core.store import LocalDirectory, Location
from ssd_core.store.local import write_file
from ssd_core.structures import ClassInfo, Detections, StageResult

PREDICTIONS_FILE = "predictions.jsonl"
PICTURES_DIR = "pictures"


def run(
    config: Mapping[str, Any],
    model_dir: Location,
    images: Sequence[Path],
    out_dir: Path,
    *,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Find objects in pictures.

    Writes `predictions.jsonl`, one line a picture, and `pictures/`, copies with the boxes drawn.

    Args:
        config: the `postprocess` section; its score threshold decides what is written and drawn.
        model_dir: output of `train`, or its `model` folder, also in a store.
        images: image files, and folders that are searched for them.
        out_dir: place of the results.
        framework: framework to run in.
        device: device to run on.

    Raises:
        UsageError: a wrong configuration, framework or device; no such file; no image in a folder.
        DataError: a file that is not a readable image, or an incomplete model.
    """
    section = parse_section(PostprocessOverrides, config, "postprocess")
    paths = find_images(images, leave_out=out_dir)
    model = open_model(model_dir, section, framework=framework, device=device)
    prepare_out_dir(LocalDirectory(out_dir), "predict")
    lines = []
    with Progress("predict: image", len(paths)) as progress:
        for path, name in zip(paths, picture_names(paths), strict=True):
            lines.append(_predict(model, path, out_dir, f"{PICTURES_DIR}/{name}"))
            progress.update(len(lines))
    write_file(out_dir / PREDICTIONS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
    counts = {"images": len(lines), "detections": sum(len(line["detections"]) for line in lines)}
    images_word = "image" if len(lines) == 1 else "images"
    logger.info(
        "found %d objects in %d %s: %s",
        counts["detections"],
        counts["images"],
        images_word,
        out_dir / PICTURES_DIR,
    )
    write_invocation(
        LocalDirectory(out_dir),
        "predict",
        section.model_dump(mode="json"),
        inputs={"model_dir": model.source},
        images=[str(path.resolve()) for path in images],
        framework=framework,
        device=device,
    )
    write_results(LocalDirectory(out_dir), counts)
    return StageResult(metadata={name: float(count) for name, count in counts.items()})


def find_images(places: Sequence[Path], *, leave_out: Path) -> list[Path]:
    """Return the named files, and the images below the named folders, each once.

    Args:
        places: files and folders.
        leave_out: a folder in which nothing is found: that of the results, which are pictures too.

    Raises:
        UsageError: nothing is there, or a folder holds no image.
    """
    paths: dict[Path, None] = {}
    for place in places:
        if place.is_dir():
            found = sorted(path for path in place.rglob("*") if _is_image(path, leave_out))
            if not found:
                raise UsageError(f"{place}: no image in this folder ({' '.join(IMAGE_SUFFIXES)})")
            paths |= dict.fromkeys(found)
        elif place.is_file():
            paths[place] = None
        else:
            raise UsageError(f"{place}: no such image or folder")
    return list(paths)


def _is_image(path: Path, leave_out: Path) -> bool:
    if path.suffix.lower() not in IMAGE_SUFFIXES or not path.is_file():
        return False
    # Unlike `Path.resolve`, `realpath` has no trouble with a link to itself.
    return Path(os.path.realpath(leave_out)) not in Path(os.path.realpath(path)).parents


def picture_names(paths: Sequence[Path]) -> list[str]:
    """Return a file name for the copy of each image; equal stems get a number."""
    names: list[str] = []
    taken: set[str] = set()  # in lower case, because some file systems know no case
    for path in paths:
        number, name = 1, f"{path.stem}.jpg"
        while name.lower() in taken:
            number += 1
            name = f"{path.stem}-{number}.jpg"
        taken.add(name.lower())
        names.append(name)
    return names


def _predict(model: OpenedModel, path: Path, out_dir: Path, picture: str) -> dict[str, Any]:
    """Write the picture with its boxes and return its line."""
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
    """Return what was found, boxes as x0, y0, x1, y1 in pixels."""
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
