"""TXT: one image per line, its path and then `xmin,ymin,xmax,ymax,class` for each object.

The format of MindSpore's SSD. Its documentation puts x first, its code took y first:
`convert.txt_order=yx` reads files written for the code. Classes are numbers from 1.
"""

from collections.abc import Mapping, Sequence

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import choose_numbers, describe_numbers, known_numbers
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
from ssd_core.data.formats.names import check_place, find_images
from ssd_core.data.formats.splits import sniff_files
from ssd_core.data.sources.base import IMAGE_SUFFIXES, Source, read_text

_COLUMNS = {"xy": "xmin,ymin,xmax,ymax,class", "yx": "ymin,xmin,ymax,xmax,class"}


def find_places(source: Source) -> list[str]:
    """Return the text files whose first line names an image, with or without objects."""
    return sniff_files(source, ".txt", _is_listing)


def _is_listing(head: str) -> bool:
    fields = next((line.split() for line in head.split("\n") if _is_content(line)), [])
    path, boxes = _split_line(fields)
    return path.lower().endswith(IMAGE_SUFFIXES) and all("," in box for box in boxes[:1])


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    Class k is the k-th name of `config.classes`; without names all numbers up to the largest one
    are classes, and the number is the name.
    """
    for split, place in places.items():
        check_place(source, place, split, "list")
    parsed = {split: _parse(source, place, config, findings) for split, place in places.items()}
    choice = choose_numbers(count_classes(parsed.values()), config.classes, first=1)
    return assemble_dataset("txt", parsed, choice, findings)


def _is_content(line: str) -> bool:
    return bool(line.strip()) and not line.startswith("#")


def _split_line(fields: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the path, which ends at the first image suffix and may have spaces, and the rest."""
    for end, field in enumerate(fields, start=1):
        if field.lower().endswith(IMAGE_SUFFIXES):
            return " ".join(fields[:end]), fields[end:]
    return " ".join(fields[:1]), fields[1:]


def _parse(source: Source, place: str, config: ConvertConfig, findings: Findings) -> ParsedSplit:
    rows = [
        (number, *_split_line(line.split()))
        for number, line in enumerate(read_text(source, place).split("\n"), start=1)
        if _is_content(line)
    ]
    matches = find_images(source, [path for _, path, _ in rows], place, config.images)
    images = []
    for image_id, ((line, _, fields), match) in enumerate(zip(rows, matches, strict=True), start=1):
        where = f"{place}: line {line}"
        parsed = [
            (f"{where}: object {number}", _parse_box(field, number, config))
            for number, field in enumerate(fields, start=1)
        ]
        boxes = collect_boxes(without_repeats(parsed), match.path, findings)
        if boxes is not None:
            entry = ImageEntry(image_id, match.path, 0, 0, where, problem=match.problem)
            images.append((entry, boxes))
    return ParsedSplit(place=place, num_listed=len(rows), images=images)


def _parse_box(field: str, position: int, config: ConvertConfig) -> LabelledBox | Problem:
    try:
        a, b, c, d, number = (float(part) for part in field.split(","))
    except ValueError:
        return Problem("object_malformed", f"'{field}' is not {_COLUMNS[config.txt_order]}")
    known = known_numbers(config.classes, first=1)
    if not number.is_integer() or int(number) not in known:
        expected = f"{describe_numbers(known)}{'' if number else '; add 1 to each class'}"
        return Problem("class_unknown", f"'{field}': class {number:g}, expected {expected}")
    box = (a, b, c, d) if config.txt_order == "xy" else (b, a, d, c)
    return LabelledBox(box, str(int(number)), position)
