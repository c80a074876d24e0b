"""Pascal VOC: one XML file per image, with ImageSets lists or folders such as train and eval.

Coordinates are taken as they are; `convert.voc_offset=1` subtracts 1 from each, for files whose
first pixel has the number 1. XML and image belong together by their file stem; of
several images with that stem, `<filename>` or the list names one.
"""

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
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
    Problem,
    SourceDataset,
    assemble_dataset,
    collect_boxes,
    count_classes,
)
from ssd_core.data.formats.names import (
    Match,
    Stems,
    check_place,
    files_below,
    first_with,
    folder_prefix,
    path_ends,
)
from ssd_core.data.sources.base import IMAGE_SUFFIXES, Source, read_head, read_text
from ssd_core.errors import DataError, UsageError, unknown_name, unlisted_name

_ANNOTATION_FOLDER = "Annotations"
_IMAGE_FOLDERS = ("JPEGImages", "Images")
_IMAGE_SETS = re.compile(r"(^|/)ImageSets/", re.IGNORECASE)
_XML = (".xml",)
_SNIFFED_FILES = 20
"""The first file may be the damaged one."""
_SNIFFED_LINES = 100
"""The beginning of a long list may end within a line."""
_FLAG = re.compile(r"\s+(-1|0|1)$")
_ENCODING = re.compile(rb"""\s*<\?xml[^>]*encoding=["']([\w.-]+)["']""")
_TRUE = ("1", "true", "yes")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


class _Listed(NamedTuple):
    """An image of a split."""

    stem: str
    """Name without folder prefix and suffix."""
    line: str
    """As a list has it, or ""."""
    place: str
    """Of that line, or ""."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The files of one split."""

    place: str
    listed: Sequence[_Listed]
    xml_prefix: str
    xmls: Stems
    image_prefix: str
    images: Stems


def find_places(source: Source) -> list[str]:
    """Return the possible splits: ImageSets lists, else folders with XML files."""
    xmls = [name for name in source.files if name.lower().endswith(_XML)]
    heads = (read_head(source, name) for name in xmls[:_SNIFFED_FILES])
    if not any("<annotation" in head.replace("\0", "") for head in heads):  # UTF-16
        return []
    texts = (name for name in source.files if name.endswith(".txt"))
    lists = [name for name in texts if _IMAGE_SETS.search(name)]
    main = [name for name in lists if "imagesets/main/" in name.lower()]
    stems = {posixpath.splitext(posixpath.basename(name))[0] for name in xmls}
    splits = [name for name in main or lists if _is_split(read_head(source, name), stems)]
    return splits or main or lists or sorted({_folder_of(name) for name in xmls})


def _is_split(head: str, stems: set[str]) -> bool:
    """Return whether a list, unless it is empty, names annotated images, not all with a flag."""
    lines = list(filter(None, map(str.strip, head.split("\n"))))[:_SNIFFED_LINES]
    names = [posixpath.basename(_FLAG.sub("", line)) for line in lines]
    is_annotated = any({name, posixpath.splitext(name)[0]} & stems for name in names)
    return not lines or (is_annotated and not all(map(_FLAG.search, lines)))


def read(
    source: Source, places: Mapping[SplitName, str], config: ConvertConfig, findings: Findings
) -> SourceDataset:
    """Read the annotations of the splits at `places`; see `ssd_core.data.formats.Reader`.

    A place is an ImageSets list or a folder. Images are in `config.images`, else in JPEGImages or
    Images beside the annotations, else in the folder itself, else anywhere. Classes are those of
    `config.classes`, else all that occur, sorted by name.
    """
    layouts = {
        split: _locate(source, place, split, config.images) for split, place in places.items()
    }
    parsed = {
        split: _parse_split(source, layout, config.voc_offset, findings)
        for split, layout in layouts.items()
    }
    names = set(count_classes(parsed.values()))
    if config.classes is not None:
        names |= _check_wanted(parse_entries(config.classes, names), names)
    choice = choose_classes(dict.fromkeys(sorted(names)), config.classes)
    return assemble_dataset("voc", parsed, choice, findings)


def _check_wanted(wanted: Collection[str], names: set[str]) -> set[str]:
    """Return the classes `wanted`: one must occur, and none in other case."""
    folded = {name.casefold() for name in names}
    for name in wanted:
        if name not in names and name.casefold() in folded:
            raise unknown_name("class", name, names)
    if names and names.isdisjoint(wanted):
        raise unlisted_name("class", next(iter(wanted)), sorted(names))
    return set(wanted)


def _locate(source: Source, place: str, split: str, images: str | None) -> _Layout:
    has_list = place.lower().endswith(".txt")
    if has_list:
        check_place(source, place, split, "ImageSets list")
        folder = posixpath.dirname(place)
        own = f"{folder}/" if folder else ""
        above = _IMAGE_SETS.search(place)
        base = own if above is None else place[: above.end(1)]
    else:
        base = folder_prefix(source, _folder_of(f"{place}/x.xml"), f"--{split}")
    xml_prefix, xmls = first_with(source, _XML, [f"{base}{_ANNOTATION_FOLDER}/", base])
    if not xmls and not has_list:
        raise UsageError(f"--{split} {place}: this folder has no XML file")
    if images is not None:
        image_prefix = folder_prefix(source, images, "image folder")
        files = files_below(source, image_prefix, IMAGE_SUFFIXES)
    else:
        usual = [*(f"{base}{folder}/" for folder in _IMAGE_FOLDERS), base]
        image_prefix, files = first_with(source, IMAGE_SUFFIXES, usual)
    own_listed = [_Listed(stem, "", "") for stem in xmls]
    listed = list(_read_list(source, place, xmls)) if has_list else own_listed
    found = Stems(files)
    if images is None and not any(found.find(item.stem) for item in listed):
        found = Stems(_by_base_name(source))
    return _Layout(
        place=place,
        listed=listed,
        xml_prefix=xml_prefix,
        xmls=Stems(xmls),
        image_prefix=image_prefix,
        images=found,
    )


def _by_base_name(source: Source) -> dict[str, list[str]]:
    """Return all images of the source by stem without folders."""
    found: dict[str, list[str]] = {}
    for stem, paths in files_below(source, "", IMAGE_SUFFIXES).items():
        found.setdefault(posixpath.basename(stem), []).extend(paths)
    return found


def _folder_of(xml_name: str) -> str:
    """Return the folder that an XML file describes: its own, or the one above Annotations."""
    folder = posixpath.dirname(xml_name)
    if posixpath.basename(folder).lower() == _ANNOTATION_FOLDER.lower():
        folder = posixpath.dirname(folder)
    return folder or "."


def _read_list(source: Source, place: str, known: Collection[str]) -> Iterator[_Listed]:
    """Read an ImageSets list; a list for one class has a flag 1, 0 or -1 after each name."""
    for number, line in enumerate(read_text(source, place).splitlines(), start=1):
        path = line.strip().replace("\\", "/")
        stem, suffix = posixpath.splitext(path)
        stem = stem if suffix.lower() in IMAGE_SUFFIXES else path
        plain = _FLAG.sub("", stem)
        if plain:
            likely = (name for name in (stem, plain, posixpath.basename(plain)) if name in known)
            yield _Listed(next(likely, plain), path, f"{place}: line {number}")


def _parse_split(source: Source, layout: _Layout, offset: int, findings: Findings) -> ParsedSplit:
    parsed = []
    xmls = [layout.xmls.find(listed.stem) for listed in layout.listed]
    source.expect([xml.path for xml in xmls if xml is not None])
    for image_id, (listed, xml) in enumerate(zip(layout.listed, xmls, strict=True), start=1):
        likely = layout.images.find(listed.stem, written=[listed.line]) or Match("")
        if xml is None:
            detail = (
                f"lists '{listed.stem}', but {layout.xml_prefix}{listed.stem}.xml does not exist"
            )
            findings.add("annotations_missing", listed.place, detail, image=likely.path)
            continue
        root = _parse_xml(source, xml.path, likely.path, findings)
        if root is None:
            continue
        match = _find_image(root, listed, layout)
        objects = enumerate(root.findall("object"), start=1)
        rows = [(xml.path, _parse_object(number, item, offset)) for number, item in objects]
        boxes = collect_boxes(rows, match.path, findings)
        if boxes is not None:
            width, height = (_pixels(root.findtext(f"size/{side}")) for side in ("width", "height"))
            problem = xml.problem or match.problem
            entry = ImageEntry(image_id, match.path, width, height, xml.path, listed.place, problem)
            parsed.append((entry, boxes))
    return ParsedSplit(place=layout.place, num_listed=len(layout.listed), images=parsed)


def _parse_xml(source: Source, name: str, image: str, findings: Findings) -> Any:
    """Return the root element, or None if the file cannot be used."""
    try:
        root = _parse_root(source.read(name))
        if root.tag == "annotation":
            return root
        problem = f"the root is <{root.tag}>, expected <annotation>"
    except ParseError as error:
        problem = f"is not XML: {error}"
    except DefusedXmlException as error:
        problem = f"has forbidden XML: {type(error).__name__}"
    except (DataError, LookupError, ValueError) as error:  # unreadable, or an unknown encoding
        problem = str(error)
    findings.add("annotations_unreadable", name, problem, image=image)
    return None


def _parse_root(content: bytes) -> Any:
    declared = _ENCODING.match(content)
    try:
        return fromstring(content)
    except ValueError:
        if declared is None:
            raise
        # the parser has no encodings with several bytes per character, such as GBK
        return fromstring(content.decode(declared[1].decode()))


def _find_image(root: Any, listed: _Listed, layout: _Layout) -> Match:
    """Return the image with the stem of the XML file, else the one that `<filename>` names."""
    written = (root.findtext("filename") or "").strip().replace("\\", "/")
    for stem in (listed.stem, *path_ends(posixpath.splitext(written)[0])):
        found = layout.images.find(stem, written=[written, listed.line])
        if found is not None:
            return found
    name = posixpath.basename(written) or f"{listed.stem}.jpg"
    return Match(f"{layout.image_prefix}{name}")


def _parse_object(number: int, element: Any, offset: int) -> LabelledBox | Problem:
    name = (element.findtext("name") or "").strip()
    corners = [_number(element.findtext(f"bndbox/{key}")) for key in _CORNERS]
    problem = None
    if all(corner is None for corner in corners):
        corners = _outline_corners(element)
        detail = f"object {number} '{name}' has no bndbox, but an outline"
        problem = Problem("box_from_outline", detail)
    known = [corner - offset for corner in corners if corner is not None]
    if not name or len(known) < len(_CORNERS):
        missing = "name" if not name else "bndbox with four numbers"
        return Problem("object_malformed", f"object {number} '{name}' has no {missing}")
    word = (element.findtext("difficult") or "").strip().lower()
    x0, y0, x1, y1 = known
    return LabelledBox((x0, y0, x1, y1), name, number, word in _TRUE, problem)


def _outline_corners(element: Any) -> list[float | None]:
    """Return the corners of the box around `<polygon>`: points, or elements such as x1 and y1."""
    found: dict[str, list[float]] = {"x": [], "y": []}
    for item in element.iterfind("polygon//*"):
        value = _number(item.text)
        if value is not None and item.tag[:1] in found:
            found[item.tag[:1]].append(value)
    return [choose(found[axis], default=None) for choose in (min, max) for axis in "xy"]


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None


def _pixels(text: str | None) -> int:
    """Return a size in pixels, 0 if it is unknown."""
    value = _number(text)
    return int(value) if value is not None and 0 < value < 2**31 else 0
