"""Pascal VOC: one XML file an image.

Coordinates are taken as they are; `convert.voc_offset=1` subtracts 1 from each, for files whose
first pixel has the number 1. Of image and XML the file stem counts, not the `<filename>` inside.
"""

import posixpath
from collections.abc import Iterable, Mapping
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from ssd_core.config import ConvertConfig, SplitName
from ssd_core.data.findings import Findings
from ssd_core.data.formats.classes import choose_classes, parse_entries
from ssd_core.data.formats.dataset import (
    ImageEntry,
    LabelledBox,
    ParsedSplit,
    SourceDataset,
    assemble_dataset,
)
from ssd_core.data.formats.voc_layout import VocSplit, find_places, locate
from ssd_core.data.sources.base import Source
from ssd_core.errors import DataError, unknown_name

__all__ = ["find_places", "read"]


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    Classes are those of `config.classes`, else all that occur, sorted by name.
    """
    folders = {
        split: locate(source, place, split, config.images) for split, place in places.items()
    }
    parsed = {
        split: _parse_split(source, folder, config.voc_offset, findings)
        for split, folder in folders.items()
    }
    names = {str(box.class_key) for part in parsed.values() for _, b in part.images for box in b}
    if config.classes is not None:
        names |= _check_case(parse_entries(config.classes), names)
    choice = choose_classes({name: name for name in sorted(names)}, config.classes)
    return assemble_dataset("voc", parsed, choice, findings)


def _check_case(wanted: Iterable[str], names: set[str]) -> set[str]:
    """Return the classes `wanted`, of which some may not occur.

    Raises:
        UsageError: one differs from a class that occurs by case alone.
    """
    folded = {name.casefold() for name in names}
    for name in wanted:
        if name not in names and name.casefold() in folded:
            raise unknown_name("class", name, names)
    return set(wanted)


def _parse_split(source: Source, located: VocSplit, offset: int, findings: Findings) -> ParsedSplit:
    """Return the annotations of the images that can be read."""
    parsed = []
    source.expect([located.xmls[stem] for stem in located.stems if stem in located.xmls])
    for image_id, stem in enumerate(located.stems, start=1):
        name = located.xmls.get(stem)
        if name is None:
            detail = f"lists '{stem}', but there is no {located.xml_prefix}{stem}.xml"
            image = located.images.get(stem, "")
            findings.add("annotations_missing", located.place, detail, image=image)
            continue
        root = _parse_xml(source, name, located.images.get(stem, ""), findings)
        if root is None:
            continue
        image_path = _image_path(root, stem, located)
        boxes, is_dropped = _objects(root, name, image_path, findings)
        if is_dropped:
            continue
        width, height = (_whole(root.findtext(f"size/{side}")) for side in ("width", "height"))
        shifted = [_shift(item, offset) for item in boxes] if offset else boxes
        parsed.append((ImageEntry(image_id, image_path, width, height, name), shifted))
    return ParsedSplit(place=located.place, num_listed=len(located.stems), images=parsed)


def _parse_xml(source: Source, name: str, image: str, findings: Findings) -> Any:
    """Return the root element, or None where the file cannot be used."""
    try:
        root = fromstring(source.read(name))
        if root.tag == "annotation":
            return root
        problem = f"the root is <{root.tag}>, expected <annotation>"
    except ParseError as error:
        problem = f"is no XML: {error}"
    except DefusedXmlException as error:
        problem = f"has forbidden XML: {type(error).__name__}"
    except (DataError, LookupError, ValueError) as error:  # unreadable, or an unknown encoding
        problem = str(error)
    findings.add("annotations_unreadable", name, problem, image=image)
    return None


def _image_path(root: Any, stem: str, located: VocSplit) -> str:
    """Return the image with the stem of the XML file, else the one that `<filename>` names."""
    written = (root.findtext("filename") or "").strip()
    for known in (stem, posixpath.splitext(written)[0]):
        if known in located.images:
            return located.images[known]
    return f"{located.image_prefix}{written or f'{stem}.jpg'}"


def _objects(
    root: Any, xml_name: str, image_path: str, findings: Findings
) -> tuple[list[LabelledBox], bool]:
    boxes, is_dropped = [], False
    for number, element in enumerate(root.findall("object"), start=1):
        name = (element.findtext("name") or "").strip()
        box = tuple(_number(element.findtext(f"bndbox/{key}")) for key in _CORNERS)
        if not name or None in box:
            missing = "name" if not name else "bndbox with four numbers"
            detail = f"object {number} '{name}' has no {missing}"
            is_dropped |= findings.add("object_malformed", xml_name, detail, image=image_path)
            continue
        is_difficult = (element.findtext("difficult") or "").strip() == "1"
        boxes.append(LabelledBox(box, name, is_difficult))  # type: ignore[arg-type]
    return boxes, is_dropped


_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _whole(text: str | None) -> int:
    """Return a size in pixels, 0 where the file does not say."""
    value = _number(text)
    return int(value) if value is not None and 0 < value < 2**31 else 0


def _shift(item: LabelledBox, offset: int) -> LabelledBox:
    x0, y0, x1, y1 = item.box
    return item._replace(box=(x0 - offset, y0 - offset, x1 - offset, y1 - offset))
