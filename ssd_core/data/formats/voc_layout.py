"""Where a Pascal VOC split keeps its files: ImageSets lists, or folders such as train, eval."""

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ssd_core.data.formats.splits import check_place, folder_prefix
from ssd_core.data.sources.base import IMAGE_SUFFIXES, Source, read_head, read_text
from ssd_core.errors import UsageError

_ANNOTATION_FOLDER = "Annotations"
_IMAGE_FOLDERS = ("JPEGImages", "Images", "images")
_XML = (".xml",)
_SNIFFED_FILES = 20
"""The first file may be the damaged one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VocSplit:
    """The files of one split. A stem is a name without folder prefix and suffix."""

    place: str
    stems: Sequence[str]
    """In the order of the list, or sorted."""
    xml_prefix: str
    xmls: Mapping[str, str]
    """Name of the XML file by stem."""
    image_prefix: str
    images: Mapping[str, str]
    """Name of the image file by stem."""


def find_places(source: Source) -> list[str]:
    """Return what could be a split: ImageSets lists, else folders with XML files."""
    xmls = [name for name in source.files if name.lower().endswith(_XML)]
    if not any(_is_annotation(source, name) for name in xmls[:_SNIFFED_FILES]):
        return []
    lists = [name for name in source.files if re.search(r"(^|/)ImageSets/.*\.txt$", name)]
    main = [name for name in lists if "ImageSets/Main/" in name]
    return main or lists or sorted({_folder_of(name) for name in xmls})


def _is_annotation(source: Source, name: str) -> bool:
    head = read_head(source, name).replace("\0", "")  # UTF-16 without byte order mark
    return "<annotation" in head


def locate(source: Source, place: str, split: str, images: str | None) -> VocSplit:
    """Find the files of the split at `place`.

    Args:
        source: the data set.
        place: an ImageSets list, or a folder.
        split: `train` or `val`, for messages.
        images: folder of the images; None takes JPEGImages, Images or images beside the
            annotations, else the folder itself.

    Raises:
        UsageError: the place or the folder is not there.
        DataError: the list is not text.
    """
    has_list = place.lower().endswith(".txt")
    if has_list:
        check_place(source, place, split, "ImageSets list")
        folder = posixpath.dirname(place)
        base = place.partition("ImageSets/")[0] if "ImageSets/" in place else _prefix(folder)
    else:
        base = folder_prefix(source, _folder_of(f"{place}/x.xml"), f"--{split}")
    xml_prefix = f"{base}{_ANNOTATION_FOLDER}/"
    xmls = _files_below(source, xml_prefix, _XML)
    if not xmls:
        xml_prefix, xmls = base, _files_below(source, base, _XML)
    if not xmls and not has_list:
        raise UsageError(f"--{split} {place}: the folder holds no XML file")
    if images is not None:
        image_prefix = folder_prefix(source, images, "image folder")
    else:
        usual = (f"{base}{folder}/" for folder in _IMAGE_FOLDERS)
        image_prefix = next((p for p in usual if _files_below(source, p, IMAGE_SUFFIXES)), base)
    return VocSplit(
        place=place,
        stems=_read_list(source, place, xmls) if has_list else list(xmls),
        xml_prefix=xml_prefix,
        xmls=xmls,
        image_prefix=image_prefix,
        images=_files_below(source, image_prefix, IMAGE_SUFFIXES),
    )


def _prefix(folder: str) -> str:
    return f"{folder}/" if folder else ""


def _folder_of(xml_name: str) -> str:
    """Return the folder that an XML file describes: its own, or the one that holds Annotations."""
    folder = posixpath.dirname(xml_name)
    if posixpath.basename(folder) == _ANNOTATION_FOLDER:
        folder = posixpath.dirname(folder)
    return folder or "."


def _files_below(source: Source, prefix: str, suffixes: tuple[str, ...]) -> dict[str, str]:
    """Return the files below a prefix that end in one of `suffixes`, by stem; of two the first."""
    found: dict[str, str] = {}
    for name in source.files:
        if name.startswith(prefix) and name.lower().endswith(suffixes):
            found.setdefault(posixpath.splitext(name[len(prefix) :])[0], name)
    return found


def _read_list(source: Source, place: str, known: Mapping[str, str]) -> list[str]:
    """Read an ImageSets list; a class list has a flag 1, 0 or -1 behind each name."""
    lines = read_text(source, place).splitlines()
    stems = []
    for line in filter(None, map(str.strip, lines)):
        stem, suffix = posixpath.splitext(line)
        if suffix.lower() not in IMAGE_SUFFIXES:
            stem = line
        stems.append(stem if stem in known else re.sub(r"\s+(-1|0|1)$", "", stem))
    return stems
