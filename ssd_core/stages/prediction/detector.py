"""A trained model that is called with images: one, several, or an endless stream of them."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar, overload

import numpy as np

from ssd_core.config import PredictConfig
from ssd_core.data.ahead import map_batches_ahead
from ssd_core.data.batches.resize import resize_image
from ssd_core.detection.tiles import Window, list_windows, merge_windows
from ssd_core.errors import DataError
from ssd_core.logs import format_count
from ssd_core.stages.detector import OpenedModel, describe_model, open_model
from ssd_core.stages.prediction.images import ImageLike, to_pixels
from ssd_core.stages.prediction.result import Prediction
from ssd_core.store import Location
from ssd_core.structures import Detections, ImageArray

ItemT = TypeVar("ItemT")


class _Image(NamedTuple):
    """An image and its windows: the whole, which is scaled, and tiles."""

    pixels: ImageArray
    windows: list[Window]
    whole: ImageArray
    """[S, S, 3], the input of the network for the first window."""


@dataclass(frozen=True, slots=True, repr=False)
class LoadedDetector:
    """A trained model; call it with an image, or with a list of images."""

    model: OpenedModel
    config: PredictConfig

    def __repr__(self) -> str:
        """Return recipe, number of classes, framework and device."""
        recipe, device = self.model.description.recipe.name, self.model.device
        classes = format_count(len(self.model.classes), "class")
        return f"<detector {recipe}: {classes}, {device.framework}, {device.device}>"

    @overload
    def __call__(self, image: ImageLike) -> Prediction: ...

    @overload
    def __call__(self, image: list[Any] | tuple[Any, ...]) -> list[Prediction]: ...

    def __call__(
        self, image: ImageLike | list[Any] | tuple[Any, ...]
    ) -> Prediction | list[Prediction]:
        """Detect objects in one image, or in several, which the network sees in batches.

        Args:
            image: a path, `s3://bucket/key`, the content of a file, a PIL image, or pixels,
                [H, W, 3] RGB uint8; or a list of them.

        Raises:
            DataError: a file cannot be read, or is not an image.
            UsageError: the pixels have another shape or type, or the path is a folder or a glob.
        """
        if isinstance(image, list | tuple):
            return list(self.stream(image))
        return next(self.stream([image]))

    def stream(self, images: Iterable[ImageLike]) -> Iterator[Prediction]:
        """Yield the detections of any number of images; the next ones are decoded on threads ahead.

        The errors are those of a call.
        """
        for _, found in self.detect_ahead(to_pixels, images):
            if isinstance(found, DataError):
                raise found
            yield found

    def detect_ahead(
        self, read: Callable[[ItemT], ImageArray], items: Iterable[ItemT]
    ) -> Iterator[tuple[ItemT, Prediction | DataError]]:
        """Yield each item with the detections of its image, or with the DataError of `read`.

        `read` runs on threads, a batch ahead, and returns pixels, [H, W, 3] RGB.
        """

        def prepare(item: ItemT) -> tuple[ItemT, _Image | DataError]:
            try:
                return item, self._prepare(read(item))
            except DataError as error:
                return item, error

        # The tiles of one image fill batches of their own; few large images are in memory then.
        size = 1 if self.config.tile else self.config.batch_size
        with closing(map_batches_ahead(prepare, items, batch_size=size, depth=size)) as batches:
            for batch in batches:
                results = self._detect([image for _, image in batch])
                yield from zip((item for item, _ in batch), results, strict=True)

    def _prepare(self, pixels: ImageArray) -> _Image:
        height, width = pixels.shape[:2]
        windows = list_windows((width, height), self.config.tile, self.config.tile_overlap)
        network = self.model.detector.config
        return _Image(pixels, windows, resize_image(pixels, network))

    def _detect(self, images: Sequence[_Image | DataError]) -> Iterator[Prediction | DataError]:
        """Yield the detections of prepared images; an error stands for itself."""
        views = (
            (image, window)
            for image in images
            if isinstance(image, _Image)
            for window in image.windows
        )
        found: list[Detections] = []
        # Tiles are scaled a batch ahead: those of a large image together fill gigabytes.
        size = self.config.batch_size
        with closing(map_batches_ahead(self._scale, views, batch_size=size)) as batches:
            for batch in batches:
                pixels, sizes = zip(*batch, strict=True)
                found += self.model.detector.detect(np.stack(pixels), sizes)
        done = 0
        for image in images:
            if isinstance(image, DataError):
                yield image
                continue
            parts = found[done : done + len(image.windows)]
            done += len(parts)
            merged = merge_windows(parts, image.windows, self.model.postprocess)
            yield Prediction(image.pixels, merged, self.model.classes)

    def _scale(self, view: tuple[_Image, Window]) -> tuple[ImageArray, tuple[int, int]]:
        """Return the input of the network for a window, and the size of the window in pixels."""
        image, (x0, y0, x1, y1) = view
        size = (x1 - x0, y1 - y0)
        if view[1] == image.windows[0]:
            return image.whole, size
        return resize_image(image.pixels[y0:y1, x0:x1], self.model.detector.config), size


def open_detector(
    model_dir: Location, config: PredictConfig, *, framework: str, device: str
) -> LoadedDetector:
    """Open a model with the post-processing of its evaluation, except for the score threshold.

    Raises:
        DataError: the model is not complete.
    """
    postprocess = describe_model(model_dir).recipe.evaluate.postprocess
    changed = postprocess.model_copy(update={"score_threshold": config.score})
    return LoadedDetector(
        open_model(model_dir, changed, framework=framework, device=device), config
    )
