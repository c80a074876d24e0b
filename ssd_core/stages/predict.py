"""Detect objects in image files: boxes as JSON lines and drawn into copies."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from ssd_core.config import PostprocessOverrides
from ssd_core.data.sources.base import IMAGE_SUFFIXES
from ssd_core.errors import DataError, UsageError
from ssd_core.logs import Progress, announce, format_count
from ssd_core.stages.detector import OpenedModel, open_model
from ssd_core.stages.frame import INVOCATION_FILE, Invocation, Results, run_stage
from ssd_core.stages.prediction import StoredImage, read_image
from ssd_core.store import Location
from ssd_core.store.local import walk, write_file
from ssd_core.structures import StageResult

PREDICTIONS_FILE = "predictions.jsonl"
PICTURES_DIR = "pictures"

_MAX_STEM_BYTES = 200
"""A file system takes names of 255 bytes; a number, a suffix and a temporary name are added."""


def run(
    config: PostprocessOverrides,
    model_dir: Location,
    images: Sequence[Location],
    out_dir: Location,
    *,
    framework: str = "torch",
    device: str = "auto",
) -> StageResult:
    """Detect objects in image files.

    Writes `predictions.jsonl`, one line per image, and `pictures/`, copies with the boxes drawn. A
    file that is not a readable image has a line with its error.

    Args:
        config: overrides of the model's post-processing; detections below its score threshold are
            neither written nor drawn.
        model_dir: output of `train`, or its `model` folder.
        images: image files, and folders that are searched for them.
        out_dir: directory of the results.
        framework: framework to run in.
        device: device to run on.

    Raises:
        UsageError: a file does not exist, a folder has no image, or an image would be overwritten.
        DataError: some files are not readable images, after the results of all others.
    """
    paths = find_images(images, out_dir)
    model = open_model(model_dir, config, framework=framework, device=device)
    invocation = Invocation(
        stage="predict",
        config=config,
        inputs={"model": model.source},
        options={
            "images": [location.uri for location in images],
            "framework": framework,
            "device": device,
        },
    )

    def work(folder: Path) -> Results:
        return _predict_all(model, paths, folder)

    results = run_stage(invocation, out_dir, work, in_place=True)
    errors = results["errors"]
    num_images = format_count(results["images"], "image")
    num_objects = format_count(results["detections"], "object")
    if results["images"]:
        announce("found %s in %s: %s", num_objects, num_images, out_dir / PICTURES_DIR)
    if errors:
        rest = f"the results of the other {num_images} are complete"
        raise DataError(
            f"{errors[0]} (error 1 of {len(errors)}, all in {out_dir / PREDICTIONS_FILE}); "
            f"{rest if results['images'] else 'no image is left'}"
        )
    return StageResult(metadata={name: float(results[name]) for name in ("images", "detections")})


def find_images(places: Sequence[Location], out_dir: Location) -> list[Path | StoredImage]:
    """Return the given files, and the images below the given folders, each once.

    The pictures of an earlier run with this output directory are not images.

    Raises:
        UsageError: a path does not exist, a folder has no image, or an image would be overwritten.
    """
    pictures = _pictures_of_an_earlier_run(out_dir)
    found: dict[Path | StoredImage, None] = {}
    for place in places:
        path = place.local
        if path is None:
            found |= dict.fromkeys(_stored_images(place, out_dir))
        elif path.is_dir():
            # Unlike `Path.resolve`, `realpath` accepts a link to itself.
            inside = [file for file in list_images(path) if pictures not in _real(file).parents]
            if not inside:
                raise UsageError(f"{path}: the folder has no images ({' '.join(IMAGE_SUFFIXES)})")
            found |= dict.fromkeys(inside)
        elif path.is_file():
            if pictures in _real(path).parents:
                raise UsageError(f"{path} would be overwritten; choose another --out")
            found[path] = None
        else:
            raise UsageError(f"{path}: the file or folder does not exist")
    return list(found)


def _stored_images(location: Location, out_dir: Location) -> list[StoredImage]:
    pictures = f"{out_dir}/{PICTURES_DIR}/"
    if str(location).startswith(pictures):
        raise UsageError(f"{location} would be overwritten; choose another --out")
    objects = (found.key for found in location.list())
    keys = [key for key in objects if not f"{location}/{key}".startswith(pictures)]
    images = [key for key in keys if PurePosixPath(key).suffix.lower() in IMAGE_SUFFIXES]
    if images:
        return [StoredImage(location, key) for key in images]
    if not keys and location.parent.head(location.name) is not None:
        return [StoredImage(location.parent, location.name)]
    raise UsageError(f"{location}: no images there ({' '.join(IMAGE_SUFFIXES)})")


def _pictures_of_an_earlier_run(out_dir: Location) -> Path | None:
    """Return the folder that will be written, if it exists already.

    Raises:
        UsageError: it exists, but no earlier run wrote it.
    """
    if out_dir.local is None or not os.path.exists(folder := out_dir.local / PICTURES_DIR):
        return None
    if out_dir.head(INVOCATION_FILE) is None:
        raise UsageError(f"{folder} exists already, with files of others; choose another --out")
    return _real(folder)


def list_images(folder: Path) -> list[Path]:
    """Return the files and broken links below a folder that have a suffix of an image, sorted."""
    paths = (Path(parent, name) for parent, _, names in walk(folder) for name in names)
    return sorted(
        path
        for path in paths
        if path.suffix.lower() in IMAGE_SUFFIXES and (path.is_file() or not path.exists())
    )


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def picture_names(paths: Sequence[Path | StoredImage]) -> list[str]:
    """Return a unique file name for the copy of each image."""
    names: dict[str, str] = {}  # by the name in lower case, for file systems that ignore case
    numbers: Counter[str] = Counter()
    for path in paths:
        stem = os.fsencode(path.stem)[:_MAX_STEM_BYTES].decode(errors="ignore")
        name = f"{stem}.jpg"
        while name.lower() in names:
            numbers[stem.lower()] += 1
            name = f"{stem}-{numbers[stem.lower()] + 1}.jpg"
        names[name.lower()] = name
    return list(names.values())


def _predict_all(model: OpenedModel, paths: Sequence[Path | StoredImage], folder: Path) -> Results:
    lines = []
    with Progress("predict: image", len(paths)) as progress:
        for path, name in zip(paths, picture_names(paths), strict=True):
            lines.append(_predict(model, path, folder, f"{PICTURES_DIR}/{name}"))
            progress.update(len(lines))
    write_file(folder / PREDICTIONS_FILE, "".join(json.dumps(line) + "\n" for line in lines))
    found = [len(line["detections"]) for line in lines if "detections" in line]
    errors = [f"{line['image']}: {line['error']}" for line in lines if "error" in line]
    return {"images": len(found), "detections": sum(found), "errors": errors}


def _predict(
    model: OpenedModel, path: Path | StoredImage, out_dir: Path, picture: str
) -> dict[str, Any]:
    """Write a copy of the image with the boxes drawn, and return the line of the image."""
    try:
        prediction = model(read_image(path))
    except DataError as error:
        return {"image": str(path), "error": str(error)}
    write_file(out_dir / picture, prediction.to_jpeg())
    return {"image": str(path), "picture": picture, **prediction.to_dict()}
