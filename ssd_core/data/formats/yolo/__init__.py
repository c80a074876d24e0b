"""YOLO: a text file an image, a row an object: class, then centre, width and height in [0, 1].

Classes are numbers from 0, named by `data.yaml`, by a file of names, by `--classes`, or not at all.
"""

import posixpath
from collections.abc import Collection, Iterator, Mapping, Sequence

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import (
    choose_classes,
    choose_numbers,
    describe_numbers,
    known_numbers,
)
from ssd_core.data.formats.dataset import (
    ImageEntry,
    LabelledBox,
    ParsedSplit,
    Problem,
    SourceDataset,
    assemble_dataset,
    collect_boxes,
)
from ssd_core.data.formats.yolo.data_file import find_names, is_data_file, read_data_file
from ssd_core.data.formats.yolo.layout import LabelledImage, find_places, locate
from ssd_core.data.sources.base import Source, read_text
from ssd_core.errors import DataError

__all__ = ["find_places", "read"]

_NUM_COLUMNS = 5
_ROUNDING = 2e-6
"""Six decimals of a centre and of a size leave an edge uncertain by so much."""


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    A place is `data.yaml:train`, a list of images, or a folder with images or with labels. An image
    without labels has no objects.
    """
    located = {
        split: locate(source, place, split, config.images) for split, place in places.items()
    }
    names = _find_names(source, places, located)
    known = known_numbers(config.classes, first=0) if names is None else names
    parsed = {
        split: _parse_split(source, places[split], images, known, findings)
        for split, images in located.items()
    }
    if names is None:
        seen = (
            box.class_key for part in parsed.values() for _, boxes in part.images for box in boxes
        )
        choice = choose_numbers(seen, config.classes, first=0)
    else:
        choice = choose_classes({n: name for n, name in names.items()}, config.classes)
    return assemble_dataset("yolo", parsed, choice, findings)


def _find_names(
    source: Source,
    places: Mapping[SplitName, str],
    located: Mapping[SplitName, Sequence[LabelledImage]],
) -> Mapping[int, str] | None:
    """Return the names by number, None where there are none.

    Raises:
        DataError: a file cannot be used, or the splits have different names.
    """
    found = [_names_of(source, places[split], images) for split, images in located.items()]
    if found[0] != found[-1]:
        raise DataError(
            f"{source.uri}: the class names of {' and '.join(places.values())} differ; "
            "expected the same for both splits"
        )
    return found[0]


def _names_of(
    source: Source, place: str, images: Sequence[LabelledImage]
) -> Mapping[int, str] | None:
    file = place.partition(":")[0]
    names = None
    if is_data_file(file) and file in source.files:
        names = read_data_file(source, file).names
    first = next((image.labels for image in images if image.labels), file)
    return names or find_names(source, posixpath.dirname(first))


def _parse_split(
    source: Source,
    place: str,
    images: Sequence[LabelledImage],
    known: Collection[int],
    findings: Findings,
) -> ParsedSplit:
    parsed: list[tuple[ImageEntry, list[LabelledBox]]] = []
    source.expect([item.labels for item in images if item.labels])
    for image_id, item in enumerate(images, start=1):
        entry = ImageEntry(image_id, item.image, 0, 0, item.place)
        if item.labels is None:
            detail = "has no file of labels: an image without objects"
            findings.add("labels_missing", item.place, detail, image=item.image)
            parsed.append((entry, []))
            continue
        try:
            text = read_text(source, item.labels)
        except DataError as error:
            findings.add("annotations_unreadable", item.labels, str(error), image=item.image)
            continue
        boxes, is_dropped = collect_boxes(_rows(text, item.labels, known), item.image, findings)
        if not is_dropped:
            parsed.append((entry, boxes))
    return ParsedSplit(place=place, num_listed=len(images), images=parsed, is_normalised=True)


def _rows(
    text: str, name: str, known: Collection[int]
) -> Iterator[tuple[str, LabelledBox | Problem]]:
    for number, line in enumerate(text.split("\n"), start=1):
        row = line.split()
        if row and not row[0].startswith("#"):
            yield f"{name}: line {number}", _parse_row(row, known)


def _parse_row(row: Sequence[str], known: Collection[int]) -> LabelledBox | Problem:
    """Return the object, or what is wrong with it."""
    shown = " ".join(row[:6])
    if len(row) != _NUM_COLUMNS:
        hint = " (an outline, not a box?)" if len(row) > _NUM_COLUMNS and len(row) % 2 else ""
        return Problem(
            "object_malformed", f"'{shown}' has {len(row)} columns, expected {_COLUMNS}{hint}"
        )
    try:
        number, x, y, width, height = map(float, row)
    except ValueError:
        return Problem("object_malformed", f"'{shown}' is not {_COLUMNS}")
    if not number.is_integer() or int(number) not in known:
        return Problem("class_unknown", f"class {number:g}, expected {describe_numbers(known)}")
    if not all(0 <= value <= 1 + _ROUNDING for value in (x, y, width, height)):
        return Problem("object_malformed", f"'{shown}' is not {_COLUMNS} in 0..1 (pixels?)")
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    return LabelledBox(tuple(map(_snap, corners)), int(number))  # type: ignore[arg-type]


_COLUMNS = "class x y width height"


def _snap(value: float) -> float:
    """Put a corner on the edge of the image that rounding has moved it off."""
    edge = round(value)
    return float(edge) if abs(value - edge) <= _ROUNDING else value
