"""Detect objects in images and videos: files of the detections, and copies with the boxes drawn."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, groupby
from pathlib import Path
from typing import NamedTuple, TypeGuard

from ssd_core.config import PredictConfig
from ssd_core.data.ahead import map_batches_ahead
from ssd_core.errors import DataError
from ssd_core.logs import Progress, announce, format_count
from ssd_core.stages.detector import choose_framework
from ssd_core.stages.frame import RESULTS_FILE, Invocation, Results, parse_json, run_stage
from ssd_core.stages.prediction.detector import LoadedDetector, open_detector
from ssd_core.stages.prediction.formats import WRITERS, Outcome
from ssd_core.stages.prediction.images import (
    PICTURES_DIR,
    StoredImage,
    find_images,
    name_outputs,
    read_image,
)
from ssd_core.stages.prediction.result import Prediction
from ssd_core.stages.prediction.video import (
    VIDEO_SUFFIXES,
    count_frames,
    open_video,
    read_frames,
    read_rate,
)
from ssd_core.store import Location
from ssd_core.store.local import write_file
from ssd_core.structures import ImageArray, StageResult


class _Item(NamedTuple):
    """An image, or a frame of a video."""

    path: Path | StoredImage
    name: str
    """Name of its outputs without a suffix."""
    frame: int | None = None
    content: ImageArray | DataError | None = None
    """Pixels of the frame, or its error; None for an image, which is read later."""


def run(
    config: PredictConfig,
    model_dir: Location,
    images: Sequence[Location],
    out_dir: Location,
    *,
    framework: str | None = None,
    device: str = "auto",
) -> StageResult:
    """Detect objects in images and in the frames of videos.

    Writes the detections in the format of the configuration, and `pictures/`, copies with the boxes
    drawn. A file that is not a readable image does not stop the rest; `results.json` has all
    errors, and the files that were written, which the next run removes.

    Args:
        config: thresholds, tiles and formats.
        model_dir: output of `train`, or its `model` folder.
        images: images and videos, and folders that are searched for images.
        out_dir: directory of the results.
        framework: framework to run in; None takes the usual one, see `choose_framework`.
        device: device to run on.

    Raises:
        UsageError: a file does not exist, a folder has no image, or an image would be overwritten.
        DataError: some files are not readable images, after the results of all others.
    """
    paths = find_images(images, out_dir)
    framework = choose_framework(model_dir, framework)
    detector = open_detector(model_dir, config, framework=framework, device=device)
    invocation = Invocation(
        stage="predict",
        config=config,
        inputs={"model": detector.model.source},
        options={
            "images": [location.uri for location in images],
            "framework": framework,
            "device": device,
        },
    )
    earlier = _list_earlier_outputs(out_dir)

    def work(folder: Path) -> Results:
        for name in earlier:
            out_dir.delete(name)
        return _predict_all(detector, paths, folder)

    results = run_stage(invocation, out_dir, work, in_place=True)
    _announce(results, config, out_dir)
    return StageResult(metadata={name: float(results[name]) for name in ("images", "detections")})


def _list_earlier_outputs(out_dir: Location) -> list[str]:
    """Return the files that a complete run has written to this directory."""
    try:
        results = parse_json(out_dir.get(RESULTS_FILE), out_dir / RESULTS_FILE)
    except (FileNotFoundError, DataError):
        return []
    outputs: list[str] = results.get("outputs", [])
    return outputs


def _predict_all(
    detector: LoadedDetector, paths: Sequence[Path | StoredImage], folder: Path
) -> Results:
    counts = {"images": 0, "detections": 0}
    errors: list[str] = []
    pictures: dict[str, None] = {}  # in order; all frames of a video have one

    def outcomes() -> Iterator[Outcome]:
        total = sum(map(_count, paths))
        with Progress("predict: image", total) as progress:
            for done, outcome in enumerate(_draw_all(detector, _list_items(paths), folder), 1):
                if isinstance(outcome.result, DataError):
                    errors.append(f"{outcome.image}: {outcome.result}")
                else:
                    counts["images"] += 1
                    counts["detections"] += len(outcome.result.found)
                if outcome.picture is not None:
                    pictures[outcome.picture] = None
                yield outcome
                progress.update(done)

    _, write = WRITERS[detector.config.format]
    files = write(folder, outcomes(), detector.model.classes)
    return {**counts, "errors": errors, "outputs": [*files, *pictures]}


def _list_items(paths: Sequence[Path | StoredImage]) -> Iterator[_Item]:
    for path, name in zip(paths, name_outputs(paths), strict=True):
        if not _is_video(path):
            yield _Item(path, name)
            continue
        try:
            for number, pixels in enumerate(read_frames(path)):
                yield _Item(path, name, number, pixels)
        except DataError as error:
            yield _Item(path, name, None, error)


def _is_video(path: Path | StoredImage) -> TypeGuard[Path]:
    return isinstance(path, Path) and path.suffix.lower() in VIDEO_SUFFIXES


def _count(path: Path | StoredImage) -> int:
    return count_frames(path) if _is_video(path) else 1


def _read(item: _Item) -> ImageArray:
    if isinstance(item.content, DataError):
        raise item.content
    return read_image(item.path) if item.content is None else item.content


def _draw_all(detector: LoadedDetector, items: Iterable[_Item], folder: Path) -> Iterator[Outcome]:
    """Yield the outcome of each item after its picture is written; threads draw those of images."""

    def draw(found: tuple[_Item, Prediction | DataError]) -> Outcome:
        item, result = found
        suffix = ".jpg" if item.frame is None else ".mp4"
        picture: str | None = f"{PICTURES_DIR}/{item.name}{suffix}"
        if isinstance(result, DataError) or not detector.config.has_pictures:
            picture = None
        elif item.frame is None:
            write_file(folder / str(picture), result.to_jpeg())
        return Outcome(str(item.path), item.name, item.frame, picture, result)

    found = detector.detect_ahead(_read, items)
    with closing(map_batches_ahead(draw, found, batch_size=1, depth=1)) as drawn:
        for video, outcomes in groupby(chain.from_iterable(drawn), key=_video_of):
            if video is None:
                yield from outcomes
            else:
                source, picture = video
                yield from _draw_video(outcomes, folder / picture, read_rate(Path(source)))


def _video_of(outcome: Outcome) -> tuple[str, str] | None:
    """Return the video whose frame this is, and the one to be drawn; None for an image."""
    if outcome.frame is None or outcome.picture is None:
        return None
    return outcome.image, outcome.picture


def _draw_video(outcomes: Iterable[Outcome], path: Path, rate: float) -> Iterator[Outcome]:
    """Yield the outcomes of all frames; without a picture, and then the error, if none is drawn."""
    outcomes = iter(outcomes)
    try:
        with open_video(path, rate) as write:
            for each in outcomes:
                if isinstance(each.result, Prediction):
                    write(each.result.draw())
                yield each
    except DataError as error:  # of the first frame
        for frame in chain([each], outcomes):
            yield frame._replace(picture=None)
        yield Outcome(each.image, each.name, None, None, error)


def _announce(results: Results, config: PredictConfig, out_dir: Location) -> None:
    """Log the number of objects; raise DataError if an image could not be read."""
    errors = results["errors"]
    num_images = format_count(results["images"], "image")
    num_objects = format_count(results["detections"], "object")
    if results["images"]:
        shown = out_dir / PICTURES_DIR if config.has_pictures else out_dir
        announce("found %s of score ≥ %g in %s: %s", num_objects, config.score, num_images, shown)
    if errors:
        rest = f"the results of the other {num_images} are complete"
        raise DataError(
            f"{errors[0]} (error 1 of {len(errors)}, all in {out_dir / RESULTS_FILE}); "
            f"{rest if results['images'] else 'no image is left'}"
        )
