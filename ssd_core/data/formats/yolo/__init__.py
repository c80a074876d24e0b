"""YOLO: one text file per image, one row per object: class, centre, width and height in [0, 1].

Classes are numbers from 0, named by `data.yaml`, by a file of names, by `--classes`, or not at all.
"""

from collections.abc import Iterator, Mapping, Sequence

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import (
    choose_classes,
    choose_numbers,
    describe_numbers,
    join_names,
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
    count_classes,
    without_repeats,
)
from ssd_core.data.formats.yolo.data_file import ClassTable, find_names
from ssd_core.data.formats.yolo.layout import LabelledImage, find_places, locate
from ssd_core.data.sources.base import Source, read_text
from ssd_core.errors import DataError

__all__ = ["find_places", "read"]

_COLUMNS = "class x y width height"
_ROUNDING = 2e-6
"""With six decimals of centre and size, an edge is uncertain by this much."""


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
    tables: dict[SplitName, ClassTable] = {}
    for split, images in located.items():
        labels = [image.labels.path for image in images if image.labels]
        tables[split] = find_names(source, places[split], labels)
    by_file = {table.place: table for table in tables.values() if table.names}
    for file, table in by_file.items():
        if table.nc not in {None, len(table.names)}:
            detail = f"nc is {table.nc}, but there are {len(table.names)} names"
            findings.add("class_count_differs", file, detail)
    names = join_names({t.place: t.names for t in by_file.values()}, config.classes, findings)
    unnamed = {n: str(n) for n in known_numbers(config.classes, first=0)}
    shared = next((table.names for table in by_file.values()), unnamed)
    parsed = {
        split: _parse_split(source, places[split], images, tables[split].names or shared, findings)
        for split, images in located.items()
    }
    if names:
        choice = choose_classes(names, config.classes)
    else:
        choice = choose_numbers(count_classes(parsed.values()), config.classes, first=0)
    return assemble_dataset("yolo", parsed, choice, findings)


def _parse_split(
    source: Source,
    place: str,
    images: Sequence[LabelledImage],
    names: Mapping[int, str],
    findings: Findings,
) -> ParsedSplit:
    parsed: list[tuple[ImageEntry, list[LabelledBox]]] = []
    source.expect([item.labels.path for item in images if item.labels])
    for image_id, (image, labels, listed) in enumerate(images, start=1):
        where = labels.path if labels else listed or image.path
        problem = image.problem or (labels.problem if labels else None)
        entry = ImageEntry(image_id, image.path, 0, 0, where, listed, problem)
        if labels is None:
            detail = "has no file of labels: an image without objects"
            findings.add("labels_missing", where, detail, image=image.path)
            parsed.append((entry, []))
            continue
        try:
            text = read_text(source, labels.path)
        except DataError as error:
            findings.add("annotations_unreadable", labels.path, str(error), image=image.path)
            continue
        rows = without_repeats(_rows(text, labels.path, names))
        boxes = collect_boxes(rows, image.path, findings)
        if boxes is not None:
            parsed.append((entry, boxes))
    return ParsedSplit(
        place=place,
        num_listed=len(images),
        images=parsed,
        is_normalised=True,
        object_word="line",
    )


def _rows(
    text: str, name: str, names: Mapping[int, str]
) -> Iterator[tuple[str, LabelledBox | Problem]]:
    for number, line in enumerate(text.split("\n"), start=1):
        row = line.split()
        if row and not row[0].startswith("#"):
            yield f"{name}: line {number}", _parse_row(row, number, names)


def _parse_row(row: Sequence[str], line: int, names: Mapping[int, str]) -> LabelledBox | Problem:
    shown = " ".join(row[:6])
    is_outline = len(row) > 5 and len(row) % 2 == 1
    if len(row) != 5 and not is_outline:
        return Problem("object_malformed", f"'{shown}' has {len(row)} columns, expected {_COLUMNS}")
    try:
        number, *values = map(float, row)
    except ValueError:
        return Problem("object_malformed", f"'{shown}' is not {_COLUMNS}")
    if not number.is_integer() or int(number) not in names:
        return Problem("class_unknown", f"class {number:g}, expected {describe_numbers(names)}")
    written = values if is_outline else [*values[:2], *map(abs, values[2:])]
    if not all(0 <= value <= 1 + _ROUNDING for value in written):
        return Problem("object_malformed", f"'{shown}' is not {_COLUMNS} in 0..1 (pixels?)")
    problem = None
    if is_outline:
        xs, ys = values[::2], values[1::2]
        corners = min(xs), min(ys), max(xs), max(ys)
        problem = Problem("box_from_outline", f"'{shown} ...' is an outline, not a box")
    else:
        x, y, width, height = values
        corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    x0, y0, x1, y1 = map(_snap, corners)
    return LabelledBox((x0, y0, x1, y1), names[int(number)], line, problem=problem)


def _snap(value: float) -> float:
    """Move a corner to the edge of the image if only rounding separates them."""
    edge = round(value)
    return float(edge) if abs(value - edge) <= _ROUNDING else value
